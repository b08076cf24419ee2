from __future__ import annotations

from pathlib import Path

from jisi_cli.formats.record import Record
from tests.formats.reading import FIXTURES, by_answer, read_all

BENCH = FIXTURES / "llmrouterbench" / "results" / "bench"
ADA = "ada-7b-20240101"


def test_a_record_of_the_benchmark_becomes_a_record():
    assert by_answer(read_all(BENCH)[0])["sums", "1", ADA] == Record(
        dataset="sums",
        index="1",
        query="What is 6 times 7?",
        model=ADA,
        reference="42",
        response="\\boxed{42}",
        prompt_tokens=20,
        completion_tokens=6,
        cost_usd=5e-5,
        score=1.0,
        status="ok",
        order=1,
    )


def test_the_latest_run_counts_and_demo_runs_are_passed_over():
    records, problems = read_all(BENCH)
    assert [record.response for record in records if record.model == ADA and record.index == "1"] == ["\\boxed{42}"]
    assert [problem.message for problem in problems if problem.note] == [
        "4 of 6 files are read: the latest run of each dataset, split and model that is whole and no demo"
    ]


def test_a_null_score_is_unscored_and_a_structured_ground_truth_becomes_json():
    record = by_answer(read_all(BENCH)[0])["sums", "3", ADA]
    assert (record.status, record.score, record.reference) == ("unscored", None, '["2", "3"]')


def test_a_recorded_error_is_a_failed_answer_without_score_or_tokens():
    answers = by_answer(read_all(BENCH)[0])
    for index in ("1", "2"):
        failed = answers["sums", index, "bob"]
        assert failed.status == "failed"
        assert (failed.response, failed.score, failed.completion_tokens, failed.cost_usd) == (None,) * 4


def test_an_empty_response_that_was_scored_stays_an_answer_and_a_blank_query_falls_back_to_the_prompt():
    record = by_answer(read_all(BENCH)[0])["sums", "3", "bob"]
    assert (record.status, record.response, record.score) == ("ok", "", 0.0)
    assert record.query == "Name two primes below 6."


def test_splits_of_one_dataset_are_kept_apart_because_their_indices_collide():
    answers = by_answer(read_all(BENCH)[0])
    assert answers["letters/hard", "1", "bob"].reference == "D"
    assert answers["letters/test", "1", "bob"].reference == "R"


def test_one_file_is_read_alone():
    source = BENCH / "letters" / "test" / "bob" / "letters-test-bob-20260101_140000.json"
    assert [(record.dataset, record.score) for record in read_all(source)[0]] == [("letters", 0.5)]


def test_a_damaged_latest_file_is_named_and_the_run_before_it_is_read(tmp_path: Path):
    folder = tmp_path / "sums" / "test" / "bob"
    folder.mkdir(parents=True)
    (folder / "sums-test-bob-20260101_120000.json").write_text(
        '{"model_name": "bob", "dataset_name": "sums", "records": [7, {"origin_query": "q", "score": 1}]}',
        encoding="utf-8",
    )
    (folder / "sums-test-bob-20260102_120000.json").write_text('{"model_name": "bob", ', encoding="utf-8")
    records, problems = read_all(tmp_path, "llmrouterbench")
    assert [(record.index, record.score) for record in records] == [("2", 1.0)]
    assert [(problem.line, problem.message[:20]) for problem in problems] == [
        (None, "not JSON: Expecting "),
        (1, "not a JSON object ({"),
        (None, "1 of 2 files are rea"),
    ]
