"""Evidence is kept with a result and read back from its file, and nothing else is read for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.errors import InputError
from jisi_cli.evaluation.results import Result, ResultFile, read_results
from jisi_cli.methods.decision import Evidence

EVIDENCE = Evidence(("ada", "bob"), (0.75, 0.25), None, 0.5, (("d", "7", 0.9, None), ("d", "8", 0.8, True)))


def line(**changes: Any) -> str:
    data = {"models": ["ada"], "coarse": [0.5], "fine": None, "margin": None, "neighbours": [], **changes}
    return json.dumps({"key": "k", "dataset": "d", "index": "1", "method": "m", "status": "scored", "evidence": data})


def test_evidence_survives_the_file(tmp_path: Path):
    result = Result("k", "d", "1", "jisi-router", "scored", 1.0, "ada", evidence=EVIDENCE)
    with ResultFile(tmp_path / "results.jsonl") as file:
        file.write(result)
    assert list(read_results(tmp_path / "results.jsonl")) == [result]


def test_the_last_stage_promises():
    assert EVIDENCE.promised("bob") == 0.25
    assert EVIDENCE.promised("nobody") is None
    assert Evidence(("ada",), (0.2,), (0.9,), None, ()).promised("ada") == 0.9


@pytest.mark.parametrize(
    "changes",
    [
        {"coarse": [0.5, 0.5]},
        {"coarse": ["0.5"]},
        {"coarse": [float("nan")]},
        {"fine": [True]},
        {"margin": float("inf")},
        {"models": [1]},
        {"models": "ada"},
        {"neighbours": [["d", "1", 0.5]]},
        {"neighbours": [["d", "1", 0.5, "yes"]]},
        {"neighbours": [7]},
    ],
)
def test_what_is_no_evidence_makes_the_file_none_of_ours(tmp_path: Path, changes: dict[str, Any]):
    path = tmp_path / "results.jsonl"
    path.write_text(line() + "\n" + line(**changes) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=":2: not a result"):
        list(read_results(path))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "9" * 400])
def test_a_score_that_nobody_can_reckon_with_is_refused(tmp_path: Path, value: str):
    path = tmp_path / "results.jsonl"
    path.write_text(line()[:-1] + f', "score": {value}}}\n', encoding="utf-8")
    with pytest.raises(InputError, match=":1: not a result"):
        list(read_results(path))
