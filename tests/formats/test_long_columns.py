"""A plain block that is read by column says what its rows say one by one: the same records, the same complaints."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jisi_cli.bank.sources import read_sources
from jisi_cli.errors import InputError
from jisi_cli.formats import blocks, long, table_blocks
from jisi_cli.formats import rows as rows_of_text
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.long import read
from jisi_cli.formats.long_rows import RowReader
from jisi_cli.formats.registry import read_records

WORDS = (
    "",
    " ",
    "ada",
    "q1",
    "ä\u2028b",
    "nan",
    "NA",
    "null",
    "true",
    "0",
    "1",
    "0.5",
    "007",
    "1.0",
    "-1",
    "1e400",
    "2",
)
STATUSES = ("", "ok", "OK ", "failed", "missing", "unscored", "timeout")
NUMBERS = (None, 0, 1, 3, 2.0, 0.5, -0.0, -1, float("nan"), float("inf"), 10**30, True, "4", "0.5", "x", "NaN", [1])
TEXTS = st.sampled_from(["what?", "who?", "bob", 'say "it",\nnow', "\ufeff", *WORDS]) | st.text(max_size=4)

CELLS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("dataset", "task", "index", "query", "question", "prompt", "model", "response"), TEXTS),
    **dict.fromkeys(("ground_truth", "gt", "answer", "target", "label", "grader", "note", "choices", "A", "B"), TEXTS),
    **dict.fromkeys(("score", "correct", "prompt_tokens", "input_tokens", "cost", "rank"), st.sampled_from(NUMBERS)),
    "status": st.sampled_from(STATUSES),
    "split": st.sampled_from(("train", "test", "dev", "")),
}
USUAL = ("query", "model", "response", "score")


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows that mostly share what they say, as those of a real table do, with an oddity here and there."""
    names = [*USUAL, *draw(st.sets(st.sampled_from(sorted(CELLS.keys() - set(USUAL))), max_size=6))]
    plain = {name: draw(CELLS[name]) for name in names} | {"query": "what?", "model": "ada", "score": 1.0}
    rows = []
    for number in range(draw(st.integers(1, 9))):
        odd = draw(st.sets(st.sampled_from(names), max_size=2))
        rows.append(plain | {"model": f"m{number % 4}"} | {name: draw(st.none() | CELLS[name]) for name in odd})
    return rows


def told(source: Path, columns: ColumnMap | None = None) -> tuple[str, list[ImportIssue], str]:
    """Return the records of a file with their places, the issues in their order, and what ended the reading."""
    issues: list[ImportIssue] = []
    found = []
    try:
        for located in read(source, issues.append, columns):
            found.append((located, len(issues)))
    except InputError as error:
        return repr(found), issues, str(error)
    return repr(found), issues, ""


def assert_alike(source: Path, columns: ColumnMap | None = None) -> None:
    """By column and row by row, in blocks of few rows and in one, parsed as a whole by either parser and row by row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long, "_is_plain", lambda block: False)
        patch.setattr(table_blocks, "csv_columns", lambda *_: None)
        patch.setattr(table_blocks, "json_block", lambda *_: None)
        expected = told(source, columns)
    for rows, piece, large in ((2, 60, 0), (512, 1 << 18, 1 << 24)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blocks, "_ROWS", rows)
            patch.setattr(rows_of_text, "_PIECE", piece)
            patch.setattr(table_blocks, "_LARGE", large)
            assert told(source, columns) == expected


def write_csv(path: Path, rows: Sequence[dict[str, Any]], ending: str, quoting: int) -> Path:
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(rows)
    return path


DAMAGE = st.binary() | st.sampled_from(
    [b'"', b'""', b'"x"y', b' "a"', b'\n"', b"\r", b"\n\n", b"\r\n\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b","]
)
ODD_LINES = (
    "",
    '{"query": "q", "query": "r", "model": "m"}',
    '{"query" : "q", "model": "m"}',
    "{}{}",
    "[1]",
    "\ufeff{}",
    "NaN",
)
BRIEF = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.slow
@BRIEF
@given(tables(), st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), DAMAGE)
def test_csv(tmp_path: Path, rows: list[dict[str, Any]], ending: str, quoting: int, damage: bytes) -> None:
    source = write_csv(tmp_path / "a.csv", rows, ending, quoting)
    assert_alike(source)
    data = source.read_bytes()
    source.write_bytes(data[:-20] + damage + data[-20:])
    assert_alike(source)


@pytest.mark.slow
@BRIEF
@given(tables(), st.booleans(), st.sampled_from(ODD_LINES) | st.text(max_size=3))
def test_jsonl(tmp_path: Path, rows: list[dict[str, Any]], are_gaps_left_out: bool, damage: str) -> None:
    source = tmp_path / "a.jsonl"
    if are_gaps_left_out:
        rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
    lines = [json.dumps(row) for row in rows]
    lines.insert(len(lines) // 2, damage)
    source.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    assert_alike(source)
    assert_alike(source, ColumnMap({"query": "question", "gt": "answer"}))


@pytest.mark.slow
@BRIEF
@given(tables())
def test_parquet(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
            columns[name] = pa.array([None if value is None else ascii(value) for value in values])
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=4)
    assert_alike(tmp_path / "a.parquet")


def test_only_rows_that_need_it_are_read_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the fast lane could be closed without any test noticing."""
    careful: list[int | None] = []
    record = RowReader.record

    def counted(reader: Any, row: Any, location: Any) -> Any:
        careful.append(location.line)
        return record(reader, row, location)

    monkeypatch.setattr(RowReader, "record", counted)
    rows = [{"index": str(n), "query": f"q{n}", "model": "ada", "response": "r", "score": n % 2} for n in range(2_000)]
    rows[700]["score"], rows[1500]["model"] = 7, ""
    for source in (tmp_path / "a.csv", tmp_path / "a.jsonl", tmp_path / "a.parquet"):
        careful.clear()
        if source.suffix == ".csv":
            write_csv(source, rows, "\n", csv.QUOTE_MINIMAL)
        elif source.suffix == ".jsonl":
            source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            pyarrow.parquet.write_table(pa.Table.from_pylist(rows), source)
        issues: list[ImportIssue] = []
        assert len(list(read_records(source, on_issue=issues.append))) == 1_999
        first = 2 if source.suffix == ".csv" else 1
        assert careful == [700 + first, 1500 + first]
        assert [issue.line for issue in issues] == [1500 + first, 700 + first]
        assert read_sources([source], on_issue=issues.append).plain == [1_999]


def test_packed_lines_code_in_a_response_and_mapped_columns_stay_on_the_fast_lane(tmp_path: Path) -> None:
    said = 'a quote in a text: {"score": 1, "is": "right"}'
    rows = [
        {"set": "d", "id": str(n), "frage": f"q{n}", "llm": "ada", "said": said, "points": n % 2} for n in range(900)
    ]
    columns = ColumnMap.parse(["dataset=set,index=id,query=frage,model=llm,response=said,score=points"])
    lines = "".join(json.dumps(row) + "\r\n" for row in rows).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for source in (tmp_path / "a.jsonl.gz", tmp_path / "a.parquet", write_csv(tmp_path / "a.csv", rows, "\n", 0)):
        found = read_sources([source], columns=columns, on_issue=lambda issue: None)
        assert found.plain == [900]
        answer = found.staging.answers["ada"]["d", "7"]
        assert (answer.response, answer.score) == (said, 1.0)


def test_lines_before_damage_in_a_packed_file_are_read_and_complained_of_before_it_ends(tmp_path: Path) -> None:
    lines = [json.dumps({"index": n, "query": f"q{n}", "model": "ada", "score": n % 2}) for n in range(40_000)]
    lines[3] = "{"
    packed = gzip.compress("\n".join(lines).encode(), mtime=0)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    found, issues, error = told(tmp_path / "a.jsonl.gz")
    assert [issue.line for issue in issues] == [4]
    assert "index='9999'" in found
    assert "cannot be unpacked" in error
