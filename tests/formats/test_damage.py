"""Damage to lines: never anything but `InputError`, and never the loss of another line."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jisi_cli.errors import InputError
from jisi_cli.formats import rows as csv_rows
from jisi_cli.formats.files import _FOREIGN
from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.record import Record
from jisi_cli.formats.registry import read_records
from jisi_cli.formats.rows import bounded_lines, json_rows
from tests.formats.reading import FIXTURES, read_all

LINES = 8


def jisi_line(number: int) -> bytes:
    return json.dumps(
        {
            "query": f"question {number} é",
            "dataset": "d",
            "index": number,
            "records": {"ada": 1.0, "bob": 0.0},
            "usages": {"ada": {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.1}},
            "raw_output": {"ada": "yes", "bob": "no"},
            "gt": "yes",
        },
        ensure_ascii=False,
    ).encode()


def long_line(number: int) -> bytes:
    row = {"dataset": "d", "index": number, "query": f"question {number} é", "model": "ada", "score": 1}
    return json.dumps(row, ensure_ascii=False).encode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def damaged(draw: st.DrawFn, line: bytes) -> bytes:
    """One line after one accident; it may survive it, and it stays one line."""
    kind = draw(st.sampled_from(["cut", "flip", "insert", "replace", "value", "noise", "nest"]))
    at = draw(st.integers(0, len(line) - 1))
    if kind == "cut":
        line = line[:at]
    elif kind == "flip":
        line = line[:at] + bytes([draw(st.integers(0, 255))]) + line[at + 1 :]
    elif kind == "insert":
        line = line[:at] + draw(st.binary(min_size=1, max_size=4)) + line[at:]
    elif kind == "value":
        row = json.loads(line)
        row[draw(st.sampled_from(sorted(row)))] = draw(values)
        line = json.dumps(row).encode()
    elif kind == "replace":
        line = json.dumps(draw(values)).encode()
    elif kind == "noise":
        line = draw(st.binary(max_size=40))
    else:
        line = b'{"query": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    return line.replace(b"\n", b" ").replace(b"\r", b" ")


@pytest.mark.parametrize(("format", "line"), [("jisi", jisi_line), ("long", long_line)])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_to_some_lines_leaves_all_others_readable(format, line, data: st.DataObject):
    hit = data.draw(st.sets(st.integers(0, LINES - 1), max_size=LINES - 1))
    lines = [data.draw(damaged(line(i))) if i in hit else line(i) for i in range(LINES)]
    # What begins as another kind of file is refused as a whole.
    assume(not lines[0].startswith(tuple(_FOREIGN)))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "answers.jsonl"
        source.write_bytes(b"\n".join(lines) + b"\n")
        problems: list[ImportIssue] = []
        records: list[Record] = []
        try:
            records.extend(read_records(source, format, on_issue=problems.append))
        except InputError as refusal:
            assert "\n" not in str(refusal)
    # A damaged line that claims an intact line's index may be the first to do so, and is then the one that is kept.
    claimed = {problem.line - 1 for problem in problems if problem.line and "already" in problem.message}
    claimed |= {problem.line - 1 for problem in problems if problem.line and "second" in problem.message}
    intact = {str(i) for i in range(LINES) if i not in hit and i not in claimed}
    assert intact <= {record.index for record in records}
    assert all("\n" not in problem.message for problem in problems)
    for record in records:
        assert record.score is None or 0 <= record.score <= 1
        record.query.encode(), (record.response or "").encode(), (record.reference or "").encode()


@pytest.mark.parametrize(
    "fixture",
    [
        *("jisi.jsonl", "long.csv", "llmrouter.jsonl", "embedllm.csv", "routerbench.csv"),
        *("llmrouterbench", "zeroeval", "lm_eval", "jisi_release"),
    ],
)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damage_to_a_file_of_any_format_raises_nothing_but_input_errors(fixture: str, data: st.DataObject):
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / fixture
        if (FIXTURES / fixture).is_dir():
            shutil.copytree(FIXTURES / fixture, source)
        else:
            shutil.copy(FIXTURES / fixture, source)
        files = sorted(path for path in source.rglob("*") if path.is_file()) or [source]
        victim = data.draw(st.sampled_from(files))
        content = victim.read_bytes()
        at, end = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        pieces = [b"", b"null", b"[]", b"{", b'"', b"NaN", b"1e999", b"\xff", b'"\\ud800"', b"\x00"]
        inserted = data.draw(st.sampled_from(pieces) | st.binary(max_size=5))
        victim.write_bytes(content[:at] + inserted + content[data.draw(st.sampled_from([at, end])) :])
        with contextlib.suppress(InputError):
            read_all(source)


def test_every_one_of_a_hundred_kinds_of_damage_is_named_by_its_line(tmp_path: Path):
    source = tmp_path / "answers.jsonl"
    with source.open("wb") as stream:
        for number in range(1, 2001):
            line = jisi_line(number)
            stream.write(line[: number % 100 + 1] if number % 10 == 0 else line)
            stream.write(b"\n")
    records, problems = read_all(source)
    assert [problem.line for problem in problems] == list(range(10, 2001, 10))
    assert {int(record.index) for record in records} == {n for n in range(1, 2001) if n % 10}


def test_a_line_longer_than_the_limit_is_named_and_the_next_is_read(tmp_path: Path):
    source = tmp_path / "lines"
    source.write_bytes(b'{"a": 1}\n' + b"x" * 100 + b"\n" + b'{"a": 3}\n' + b"y" * 100)
    with source.open("rb") as stream:
        lines = list(bounded_lines(stream, longest=20))
    assert [len(line) for line in lines] == [9, 21, 9, 21]
    assert [place.line for place, _ in json_rows(lines[::2], "lines", print)] == [1, 2]


def test_a_row_of_csv_longer_than_the_limit_is_named_and_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv_rows, "LONGEST_LINE", 40)
    source = tmp_path / "answers.csv"
    source.write_bytes(b"query,model,response\nq1,ada,yes\nq2,ada," + b"yes " * 50 + b"\nq3,ada,yes\n")
    records, problems = read_all(source)
    assert [record.query for record in records] == ["q1", "q3"]
    assert [(problem.line, problem.message.partition(":")[0]) for problem in problems] == [(3, "not CSV")]


def test_a_line_longer_than_the_limit_inside_a_cell_costs_that_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(csv_rows, "LONGEST_LINE", 40)
    source = tmp_path / "answers.csv"
    begun = b'query,model,response\nq1,ada,yes\nq2,ada,"yes\n'
    source.write_bytes(begun + b"yes " * 50 + b"\nq3,ada,yes\n")
    records, problems = read_all(source)
    assert [record.query for record in records] == ["q1", "q3"]
    assert [(problem.line, problem.message.partition(":")[0]) for problem in problems] == [(3, "not CSV")]


def test_nesting_and_digits_beyond_what_python_parses_are_problems(tmp_path: Path):
    source = tmp_path / "answers.jsonl"
    deep = b'{"records": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    digits = b'{"query": "q", "index": ' + b"9" * 5000 + b', "records": {"ada": 1}}'
    source.write_bytes(b"\n".join([deep, digits, jisi_line(3)]))
    records, problems = read_all(source)
    assert {record.index for record in records} == {"3"}
    assert [(problem.line, problem.message) for problem in problems] == [
        (1, "JSON nested too deeply"),
        (2, "a number with too many digits"),
    ]


def test_a_name_with_line_breaks_stays_in_the_one_line_of_its_problem(tmp_path: Path):
    source = tmp_path / "answers.jsonl"
    source.write_text('{"query": "q", "index": 1, "records": {"a\\nb": 1}, "new\\nkey": 1}\n' * 2, encoding="utf-8")
    message = "a second answer of a b to answers 1; the first is kept"
    assert [problem.message for problem in read_all(source)[1]] == [message]


def test_a_caller_can_stop_at_the_first_problem(tmp_path: Path):
    source = tmp_path / "answers.jsonl"
    source.write_bytes(b"\n".join([jisi_line(1), b"{", jisi_line(3)]))

    def stop(problem: ImportIssue) -> None:
        raise InputError(str(problem))

    records = read_records(source, on_issue=stop)
    assert next(records).index == "1"
    with pytest.raises(InputError, match=r"answers\.jsonl:2: not JSON"):
        list(records)
