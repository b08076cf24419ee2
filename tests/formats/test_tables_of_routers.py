"""The table formats of other routers: llmrouter, embedllm, routerbench."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from jisi_cli.errors import InputError
from jisi_cli.formats.record import Record
from tests.formats.reading import FIXTURES, by_answer, read_all


def test_llmrouter_rows_become_records():
    records, problems = read_all(FIXTURES / "llmrouter.jsonl")
    assert problems == []
    assert by_answer(records)["facts", "0", "ada"] == Record(
        dataset="facts",
        index="0",
        query="Is snow white?",
        model="ada",
        reference="yes",
        response="Yes, it is.",
        prompt_tokens=10,
        completion_tokens=3,
        score=0.4,
        status="ok",
        order=0,
    )


def test_an_llmrouter_response_that_starts_with_error_failed_and_its_zeros_are_unknown():
    failed = by_answer(read_all(FIXTURES / "llmrouter.jsonl")[0])["facts", "0", "bob"]
    assert failed.status == "failed"
    assert (failed.response, failed.score, failed.prompt_tokens, failed.completion_tokens) == (None,) * 4


def test_an_llmrouter_task_id_is_the_index_where_there_is_one():
    record = by_answer(read_all(FIXTURES / "llmrouter.jsonl")[0])["choice", "arc_7", "bob"]
    assert (record.score, record.order) == (0.0, None)


def test_embedllm_has_scores_and_no_responses():
    records, problems = read_all(FIXTURES / "embedllm.csv")
    assert by_answer(records)["facts", "10", "org/bob"] == Record(
        dataset="facts", index="10", query="Is snow white?", model="org/bob", score=0.0, status="ok", order=10
    )
    assert by_answer(records)["sums", "11", "org/ada"].query == "What is 6 times 7?\nA. 42\nB. 41"
    assert by_answer(records)["sums", "11", "org/bob"].status == "missing"
    assert [(problem.note, problem.message) for problem in problems] == [
        (True, "this format records no responses and no tokens")
    ]


def test_a_routerbench_row_gives_a_record_per_model_column():
    records, problems = read_all(FIXTURES / "routerbench.csv")
    assert by_answer(records)["sums", "sums.val.2", "ada/chat"] == Record(
        dataset="sums",
        index="sums.val.2",
        query="What is 6 times 7?\nPrint only a number.",
        model="ada/chat",
        response="42",
        cost_usd=0.00074,
        score=1.0,
        status="ok",
    )
    assert [(problem.line, problem.message) for problem in problems] == [
        (4, "score 2.5 is not between 0 and 1; such answers are unscored: 1; `jisi bank grade` grades them")
    ]


def test_routerbench_lists_of_turns_become_text_and_other_brackets_stay():
    answers = by_answer(read_all(FIXTURES / "routerbench.csv")[0])
    assert answers["sums", "sums.val.2", "bob-v1"].response == "It's 41"
    assert answers["sums", "sums.dev.10", "ada/chat"].query == "What is 9 minus 4?\n\nAre you sure?"
    assert answers["sums", "sums.dev.10", "ada/chat"].response == "5\n\nYes"
    assert answers["chat", "chat.1", "bob-v1"].response == "[hi]"


def test_routerbench_nan_and_empty_cells_are_unknown():
    missing = by_answer(read_all(FIXTURES / "routerbench.csv")[0])["sums", "sums.dev.10", "bob-v1"]
    assert (missing.status, missing.score, missing.cost_usd) == ("missing", None, None)


def test_routerbench_dollars_are_taken_as_they_are_recorded():
    # 71 prompt tokens and 1 completion token at the 10 and 30 USD per million of gpt-4-1106-preview.
    assert (
        pytest.approx(by_answer(read_all(FIXTURES / "routerbench.csv")[0])["sums", "sums.val.2", "ada/chat"].cost_usd)
        == 71 * 10e-6 + 1 * 30e-6
    )


def test_routerbench_parquet_may_keep_real_lists(tmp_path: Path):
    table = pa.table(
        {
            "sample_id": ["a.1"],
            "prompt": [["first", "second"]],
            "eval_name": ["a"],
            "ada": [1.0],
            "ada|model_response": [["yes", "no"]],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "routerbench.parquet")
    record = read_all(tmp_path / "routerbench.parquet")[0][0]
    assert (record.query, record.response) == ("first\n\nsecond", "yes\n\nno")


def test_a_routerbench_table_without_model_columns_is_refused(tmp_path: Path):
    (tmp_path / "t.csv").write_text("sample_id,prompt,eval_name,ada\n1,q,e,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column ends in"):
        read_all(tmp_path / "t.csv")
