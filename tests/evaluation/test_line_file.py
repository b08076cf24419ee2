"""The files behind `--out`, whose lines anybody may have written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.asking import _KIND, Answered, SaidAnswer
from jisi_cli.errors import InputError
from jisi_cli.evaluation.line_file import LineFile

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
FIELDS = ["key", "query", "dataset", "index", "answer", "answers", "missing", "calls", "cost_usd", "unlike", "model"]
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner), max_leaves=12
)
WHOLE = {"key": "k", "query": "q", "dataset": "d", "index": "1"}
ANSWERED = Answered(
    **WHOLE,
    answer="nine \ud800 ü",
    answers=(SaidAnswer("ada", text="nine", score=0.5, agrees=True), SaidAnswer("bob", error="gone")),
    missing=("the embedder was away",),
    cost_usd=0.25,
    seconds=1.5,
)


@given(JSON, st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_a_line_is_read_or_refused_whatever_it_says(anything: object, changes: dict[str, object]) -> None:
    for data in (anything, {**WHOLE, **changes}):
        try:
            found = _KIND.read(json.dumps(data).encode(), Path("a.jsonl"), 1)
        except InputError:
            continue
        assert isinstance(found.query, str) and all(isinstance(said.model, str) for said in found.answers)


def test_a_line_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with LineFile(_KIND, path) as file:
        file.write(ANSWERED)
        file.write(ANSWERED)  # known already
    with LineFile(_KIND, path) as file:
        assert file.known == {"k": ANSWERED}
    assert len(path.read_bytes().splitlines()) == 1


@pytest.mark.parametrize("changed", [{"cost_usd": -1}, {"answers": ["ada"]}, {"calls": True}, {"missing": [1]}])
def test_a_value_of_another_kind_makes_the_line_another_s(changed: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl:3: not a result of `jisi ask`"):
        _KIND.read(json.dumps({**WHOLE, **changed}).encode(), Path("a.jsonl"), 3)


def test_a_file_that_is_refused_is_let_go_of_although_the_error_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "thesis.jsonl"
    path.write_bytes(b"my thesis\n")
    with pytest.raises(InputError, match="not a result") as kept:
        LineFile(_KIND, path)
    path.write_bytes(b"")
    with LineFile(_KIND, path) as file:
        assert file.known == {}
    assert kept.tb is not None  # and so, all the while, the frame that opened the file
