"""What a file holds counts, not what it is called: packed, nested, listed, or something else altogether."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jisi_cli.errors import InputError
from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.questions import read_questions
from jisi_cli.formats.registry import detect
from tests.formats.reading import read_all

QUESTION = {"dataset": "d", "index": "1", "query": "What is 6*7?", "gt": "42"}
LONG = {**QUESTION, "model": "m", "response": "42", "score": 1.0}
JISI = {
    **QUESTION,
    "records": {"m": 1.0, "n": 0.0},
    "raw_output": {"m": "42", "n": "41"},
    "usages": {"m": {"completion_tokens": 3}},
}


def line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def table(row: dict[str, Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([row]), sink)
    return sink.getvalue().to_pybytes()


CSV = b"dataset,index,query,gt,model,response,score\nd,1,What is 6*7?,42,m,42,1.0\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl.gz", gzip.compress(line(LONG), mtime=0)),
        ("a.jsonl", gzip.compress(line(LONG), mtime=0)),
        ("a.csv.gz", gzip.compress(CSV, mtime=0)),
        ("a.tsv.gz", gzip.compress(CSV.replace(b",", b"\t"), mtime=0)),
        ("a.jsonl", table(LONG)),
        ("a.csv", table(LONG)),
        ("a.csv", line(LONG)),
        ("a.parquet", line(LONG)),
        ("a.json", json.dumps([LONG], indent=1).encode()),
        ("a.jsonl", b"\xef\xbb\xbf" + json.dumps([LONG]).encode()),
    ],
)
def test_a_table_is_read_whatever_it_is_called(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert detect(tmp_path / name) == "long"
    (record,), problems = read_all(tmp_path / name)
    assert (record.query, record.model, record.response, record.score) == ("What is 6*7?", "m", "42", 1.0)
    assert problems == []


@pytest.mark.parametrize(
    "data", [table(JISI), line(JISI), json.dumps([JISI]).encode(), gzip.compress(line(JISI), mtime=0)]
)
def test_a_nested_table_is_read_like_lines(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(data)
    assert detect(tmp_path / "a.parquet") == "jisi"
    records, problems = read_all(tmp_path / "a.parquet")
    assert [(record.model, record.response, record.score, record.completion_tokens) for record in records] == [
        ("m", "42", 1.0, 3),
        ("n", "41", 0.0, None),
    ]
    assert problems == []


def test_what_parquet_has_for_models_that_a_row_lacks_is_no_answer_and_no_failure(tmp_path: Path) -> None:
    other = {"query": "b?", "index": "2", "raw_output": {"n": "7"}, "errors": {"m": "HTTP 503"}}
    pq.write_table(pa.Table.from_pylist([{**JISI, "errors": None}, other]), tmp_path / "a.parquet")
    found = {(record.index, record.model): record.status for record in read_all(tmp_path / "a.parquet")[0]}
    assert found == {("1", "m"): "ok", ("1", "n"): "ok", ("2", "m"): "failed", ("2", "n"): "unscored"}


def test_maps_of_parquet_and_objects_in_cells_of_csv_are_read(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.float64())
    columns = {"query": pa.array(["q"]), "records": pa.array([[("m", 0.5), ("n", 1.0)]], kind)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert [record.score for record in read_all(tmp_path / "a.parquet")[0]] == [0.5, 1.0]
    (tmp_path / "a.csv").write_text('query,records,raw_output\nq,"{""m"": 1.0}","{""m"": ""x""}"\n', encoding="utf-8")
    (record,) = read_all(tmp_path / "a.csv")[0]
    assert (record.model, record.response, record.score) == ("m", "x", 1.0)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b"BZh91AY", "is packed with bzip2; unpack it first"),
        ("a.jsonl", b"\xfd7zXZ\x00..", "is packed with xz"),
        ("a.jsonl.zst", b"\x28\xb5\x2f\xfd..", "is packed with zstd"),
        ("a.csv", b"PK\x03\x04....", "is a zip archive or a spreadsheet"),
        ("a.jsonl", b"SQLite format 3\x00", "is an SQLite database"),
        ("a.jsonl", b"\x80\x04\x95....", "is a pickle"),
        ("a.csv", "query,model\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("a.jsonl.gz", gzip.compress(line(LONG), mtime=0)[:-12], "cannot be unpacked"),
        ("a.jsonl.gz", gzip.compress(line(LONG), mtime=0)[:12] + b"\xff" * 30, "cannot be unpacked"),
        ("a.csv", b"query,model,score,score\nq,m,1,0\n", "the column 'score' is there more than once"),
        ("a.csv", b"query,model,score, score\nq,m,1,0\n", "the column 'score' is there more than once"),
    ],
)
def test_what_is_something_else_is_refused_in_one_line(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    for read in (detect, lambda path: read_all(path, "long"), lambda path: list(read_questions(path, print))):
        with pytest.raises(InputError, match=words) as refused:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(refused.value)


def test_a_packed_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jisi_cli.formats.files._MOST_UNPACKED", 1 << 20)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(bytes(8 << 20)))
    with pytest.raises(InputError, match="unpacks to more than 200 times its size"):
        list(read_questions(tmp_path / "a.jsonl.gz", print))


def test_a_repeated_column_of_parquet_is_refused_by_name(tmp_path: Path) -> None:
    columns = pa.array(["q"]), pa.array(["m"]), pa.array([1.0]), pa.array([0.0])
    repeated = pa.Table.from_arrays(list(columns), names=["query", "model", "score", "score"])
    pq.write_table(repeated, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="the column 'score' is there more than once"):
        read_all(tmp_path / "a.parquet", "long")


def test_columns_without_a_name_may_repeat(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("query,model,score,,\nq,m,1,,\n", encoding="utf-8")
    assert [record.score for record in read_all(tmp_path / "a.csv")[0]] == [1.0]


def test_an_object_with_a_key_twice_is_skipped_and_named(tmp_path: Path) -> None:
    lines = [b'{"query": "a", "model": "m", "score": 1, "score": 0}\n', line(LONG)]
    lines.append(b'{"query": "b", "records": {"m": 1, "m": 0}}\n')
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    records, problems = read_all(tmp_path / "a.jsonl", "long")
    assert [record.query for record in records] == ["What is 6*7?"]
    assert [(problem.line, problem.message) for problem in problems] == [
        (1, "the key `score` is there more than once"),
        (3, "the key `m` is there more than once"),
    ]


def test_questions_in_one_json_list_are_read_and_what_is_no_object_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([QUESTION, 5], indent=2), encoding="utf-8")
    problems: list[ImportIssue] = []
    assert [question.query for question in read_questions(tmp_path / "a.json", problems.append)] == ["What is 6*7?"]
    assert [(problem.line, problem.message) for problem in problems] == [(2, "not a JSON object ({…})")]
