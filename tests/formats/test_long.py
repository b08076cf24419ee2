from __future__ import annotations

import json
import os
import tracemalloc
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from jisi_cli.errors import InputError
from jisi_cli.formats.record import Record
from jisi_cli.formats.registry import read_records
from tests.formats.reading import FIXTURES, by_answer, read_all

SHARED = Path(os.environ.get("JISI_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
ZEROEVAL = SHARED / "zeroeval-open10.parquet"


def test_a_csv_row_gives_a_record_with_everything_it_says():
    records, _ = read_all(FIXTURES / "long.csv")
    assert by_answer(records)["sums", "10", "ada"] == Record(
        dataset="sums",
        index="10",
        query="What is 6 times 7?",
        model="ada",
        reference="42",
        response='It is, of course, "42".\nYes.',
        prompt_tokens=9,
        completion_tokens=12,
        cost_usd=0.0001,
        score=1.0,
        status="ok",
        order=10,
    )


def test_columns_that_are_not_read_are_named_once_in_a_note_without_a_line():
    _, problems = read_all(FIXTURES / "long.csv")
    assert [(problem.line, problem.message, problem.note) for problem in problems] == [
        (None, "columns that are not read: `temperature`", True)
    ]


def test_an_empty_csv_response_is_empty_when_it_was_scored_and_unknown_when_not():
    answers = by_answer(read_all(FIXTURES / "long.csv")[0])
    scored, unscored, missing = (
        answers["sums", index, model] for index, model in (("10", "bob"), ("9", "bob"), ("9", "cy"))
    )
    assert (scored.status, scored.response, scored.score) == ("ok", "", 0.0)
    assert (unscored.status, unscored.response, unscored.score) == ("unscored", "6", None)
    assert (missing.status, missing.response, missing.completion_tokens) == ("missing", None, None)


def test_a_csv_file_becomes_the_same_records_as_parquet(tmp_path: Path):
    table = pyarrow.csv.read_csv(FIXTURES / "long.csv", parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    assert table.schema.field("score").type != pa.null()
    pyarrow.parquet.write_table(table, tmp_path / "long.parquet")
    from_csv = by_answer(read_all(FIXTURES / "long.csv")[0])
    from_parquet = by_answer(read_all(tmp_path / "long.parquet")[0])
    assert from_parquet.keys() == from_csv.keys()
    assert from_parquet["sums", "10", "ada"] == from_csv["sums", "10", "ada"]


def test_questions_without_an_index_are_not_kept_in_memory(tmp_path: Path):
    source = tmp_path / "long.jsonl"
    rows = ({"query": f"{number} " + "word " * 4000, "model": "ada", "score": 1} for number in range(500))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_records(source, on_issue=print)) == 500
        assert tracemalloc.get_traced_memory()[1] < source.stat().st_size / 4
    finally:
        tracemalloc.stop()


def test_without_an_index_all_models_share_the_line_of_the_question_s_first_row():
    records, problems = read_all(FIXTURES / "long.jsonl")
    assert [(record.index, record.order, record.model) for record in records] == [
        ("1", 7, "ada"),
        ("1", 7, "bob"),
        ("3", 3, "ada"),
        ("3", 3, "bob"),
    ]
    assert problems[0].line == 5
    assert problems[0].message == "status `timeout` is none of ok, missing, failed, unscored"


def test_a_stated_failure_is_kept():
    assert by_answer(read_all(FIXTURES / "long.jsonl")[0])["long", "3", "ada"].status == "failed"


def test_a_csv_row_of_the_wrong_width_or_encoding_is_named_by_its_first_line(tmp_path: Path):
    source = tmp_path / "damaged.csv"
    source.write_bytes(
        b"\xef\xbb\xbfindex,query,model,score\r\n"
        b'1,"two\nlines",ada,1\r\n'
        b"2,too,many,1,cells\r\n"
        b"3,b\xffd,ada,1\r\n"
        b"4,good,ada,1\r\n"
        b'5,"never closed,ada,1\r\n'
    )
    records, problems = read_all(source)
    assert [record.query for record in records] == ["two\nlines", "good"]
    assert [(problem.line, problem.message) for problem in problems] == [
        (4, "5 cells under 4 column names"),
        (5, "not UTF-8"),
        (7, "2 cells under 4 column names"),
    ]


def test_a_response_longer_than_the_csv_reader_s_default_limit_is_read(tmp_path: Path):
    source = tmp_path / "long_answer.csv"
    source.write_text("index,query,model,score,response\n1,q,ada,1," + "x" * 200_000 + "\n", encoding="utf-8")
    assert len(read_all(source)[0][0].response or "") == 200_000


def test_parquet_text_that_is_not_utf8_costs_its_row_alone(tmp_path: Path):
    def column(*values: bytes) -> pa.Array:
        return pa.array(values, pa.binary()).view(pa.string())

    table = pa.table(
        {
            "index": pa.array([1.0, 2.0, 3.0]),
            "query": column(b"one", b"tw\xff", b"three"),
            "model": column(b"ada", b"ada", b"ada"),
            "score": pa.array([1, 0, 1]),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "bytes.parquet")
    records, problems = read_all(tmp_path / "bytes.parquet")
    assert [(record.index, record.order) for record in records] == [("1", 1), ("3", 3)]
    assert [(problem.line, problem.message) for problem in problems] == [(2, "not UTF-8")]


def test_a_truncated_parquet_file_is_refused_in_one_line(tmp_path: Path):
    whole = tmp_path / "whole.parquet"
    pyarrow.parquet.write_table(pa.table({"query": ["q"], "model": ["ada"], "score": [1]}), whole)
    part = tmp_path / "part.parquet"
    part.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"part\.parquet: cannot be read as Parquet: .+") as refusal:
        read_all(part)
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_the_recorded_zeroeval_answers_are_all_read():
    if not ZEROEVAL.exists():
        pytest.skip(f"no {ZEROEVAL}; JISI_SHARED_DATA names the folder that holds it")
    records, problems = read_all(ZEROEVAL)
    assert len(records) == 28_400
    assert Counter(record.dataset for record in records) == {"gsm": 13_190, "math-l5": 7_210, "crux": 8_000}
    assert {record.status for record in records} == {"ok"}
    assert [problem.note for problem in problems] == [True]
    for dataset, size in (("gsm", 1319), ("math-l5", 721), ("crux", 800)):
        orders = {record.order for record in records if record.dataset == dataset}
        assert orders == set(range(size))
