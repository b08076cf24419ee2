"""A format that another package adds: one module with `matches` and `read`, named by an entry point."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jisi_cli.errors import InputError
from jisi_cli.formats.registry import built_in, detect
from tests.cli.commands import jisi
from tests.formats.reading import FIXTURES, read_all

TAPS = '''"""taps: a text file with `model | question | score | answer` on each line."""

from jisi_cli.formats.issues import Location, UnusableError, usable
from jisi_cli.formats.record import Record


def matches(preview):
    return preview.path.suffix == ".taps"


def read(source, on_issue):
    lines = source.read_text(encoding="utf-8").splitlines()
    numbered = ((Location(str(source), number), line) for number, line in enumerate(lines, start=1))
    return usable(numbered, lambda line, _: record_of(line, source.stem), on_issue)


def record_of(line, dataset):
    parts = line.split(" | ")
    if len(parts) != 4:
        raise UnusableError("not four parts with ` | ` between them")
    model, question, score, answer = parts
    return Record(dataset, question, question, model, response=answer, score=float(score))
'''


SUMS = [
    {"dataset": "sums", "index": n, "query": f"What is {n} + {n}?", "gt": str(2 * n), "model": model}
    | {"response": str(2 * n), "score": int(model == "ada")}
    for n in range(9)
    for model in ("ada", "bob")
]


def bank_of_sums(folder: Path) -> Path:
    """Build a bank of nine sums and two models, with references."""
    source = folder / "sums.jsonl"
    source.write_text("\n".join(map(json.dumps, SUMS)), encoding="utf-8")
    done = jisi("bank", "build", source, "--output", folder / "bank", "--embedder", "hashing")
    assert done.exit_code == 0, done.stderr
    return folder / "bank"


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    source = tmp_path / "sums.taps"
    answers = [
        f"{model} | What is {n} + {n}? | {int(model == 'ada')} | {2 * n}" for n in range(9) for model in ("ada", "bob")
    ]
    source.write_text("\n".join(answers), encoding="utf-8")
    return source


def test_its_files_are_detected_and_built_into_a_bank(
    install_package: Callable[..., None], tmp_path: Path, sums: Path
) -> None:
    install_package("jisi_taps", TAPS, formats={"taps": "jisi_taps"})
    assert detect(sums) == "taps"
    for flags in ([], ["--format", "taps"]):
        done = jisi("bank", "build", sums, "--output", tmp_path / "bank", "--embedder", "hashing", "--force", *flags)
        assert done.exit_code == 0, done.stderr
    records, issues = read_all(sums)
    assert ([record.score for record in records[:2]], len(records), issues) == ([1.0, 0.0], 18, [])


def test_without_the_package_its_name_is_unknown(sums: Path) -> None:
    with pytest.raises(InputError, match=r"no format called `taps`; --format takes embedllm, "):
        read_all(sums, "taps")


def test_it_takes_no_rows_that_a_specific_format_of_jisis_own_knows(install_package: Callable[..., None]) -> None:
    source = (
        'def matches(preview):\n    return preview.has("query")\n\n\ndef read(source, on_issue):\n    return iter(())\n'
    )
    install_package("greedy", source, formats={"greedy": "greedy"})
    assert detect(FIXTURES / "jisi.jsonl") == "jisi"
    assert detect(FIXTURES / "long.csv") == "greedy"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import not_there\n", "the format `taps` of the package jisi_taps 1.0 cannot be loaded"),
        ("read = None\n", "the format `taps` of an installed package has no functions `matches` and `read`"),
    ],
)
def test_a_broken_one_is_one_line_and_other_formats_can_be_named(
    install_package: Callable[..., None], tmp_path: Path, sums: Path, source: str, says: str
) -> None:
    install_package("jisi_taps", source, formats={"taps": "jisi_taps"})
    done = jisi("bank", "build", sums, "--output", tmp_path / "bank", "--embedder", "hashing")
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert read_all(FIXTURES / "long.csv", "long")[0]


def test_a_name_of_jisis_own_is_refused(install_package: Callable[..., None], sums: Path) -> None:
    install_package("jisi_taps", TAPS, formats={"long": "jisi_taps"})
    with pytest.raises(InputError, match="adds the format `long`, a name of jisi's own"):
        detect(sums)


def test_the_most_specific_of_jisis_own_are_asked_first() -> None:
    names = list(built_in())
    assert names.index("jisi-release") < names.index("lm-eval") < names.index("inspect") < names.index("jisi")
    assert names[-1] == "long"
