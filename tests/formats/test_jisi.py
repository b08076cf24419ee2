from __future__ import annotations

from jisi_cli.formats.record import Record
from tests.formats.reading import FIXTURES, by_answer, read_all


def test_a_line_gives_one_record_per_model_with_everything_the_line_says():
    records, problems = read_all(FIXTURES / "jisi.jsonl")
    assert problems == []
    assert by_answer(records)["sums", "10", "ada"] == Record(
        dataset="sums",
        index="10",
        query="What is 6 times 7?",
        model="ada",
        reference="42",
        response="The answer is 42.",
        prompt_tokens=9,
        completion_tokens=4,
        cost_usd=0.00002,
        score=1.0,
        status="ok",
        split="train",
        order=10,
    )


def test_models_come_in_the_key_order_of_raw_output():
    records, _ = read_all(FIXTURES / "jisi.jsonl")
    assert [record.model for record in records][:2] == ["bob", "ada"]


def test_an_empty_response_that_was_scored_stays_an_answer():
    record = by_answer(read_all(FIXTURES / "jisi.jsonl")[0])["sums", "10", "bob"]
    assert (record.status, record.response, record.score, record.completion_tokens) == ("ok", "", 0.0, 0)


def test_unknown_is_none_and_never_zero():
    answers = by_answer(read_all(FIXTURES / "jisi.jsonl")[0])
    unscored, missing, unpriced = (answers["sums", "9", model] for model in ("bob", "cy", "ada"))
    assert (unscored.status, unscored.score, unscored.completion_tokens) == ("unscored", None, None)
    assert (missing.status, missing.response) == ("missing", None)
    assert unpriced.cost_usd is None and unpriced.prompt_tokens == 8


def test_scores_may_be_truth_values_or_text_and_nan_is_unknown():
    answers = by_answer(read_all(FIXTURES / "jisi.jsonl")[0])
    assert answers["sums", "9", "ada"].score == 1.0
    assert answers["open", "prime-1", "ada"].score == 0.5
    assert answers["open", "prime-1", "bob"].score is None


def test_order_is_the_index_when_it_is_an_integer_and_unknown_otherwise():
    answers = by_answer(read_all(FIXTURES / "jisi.jsonl")[0])
    assert answers["sums", "9", "ada"].order == 9
    assert answers["open", "prime-1", "ada"].order is None


def test_a_split_other_than_train_and_test_is_a_benchmark_s_own_and_is_dropped():
    assert by_answer(read_all(FIXTURES / "jisi.jsonl")[0])["open", "prime-1", "ada"].split is None


def test_avengers_pro_lines_have_scores_without_responses():
    records, problems = read_all(FIXTURES / "avengers_pro.jsonl")
    assert problems == [] and len(records) == 4
    assert {record.status for record in records} == {"ok"}
    assert {record.response for record in records} == {None}
    assert {record.split for record in records} == {None}


def test_every_damaged_line_is_named_and_the_rest_is_read():
    records, problems = read_all(FIXTURES / "jisi_damaged.jsonl")
    assert [(record.index, record.model) for record in records] == [
        ("1", "ada"),
        ("7", "ada"),
        ("7", "bob"),
        ("1", "bob"),
        ("11", "ada"),
        ("12", "ada"),
        ("13", "ada"),
    ]
    assert [record.score for record in records] == [1.0, None, 1.0, 0.0, 1.0, None, 1.0]
    assert [(problem.line, problem.message) for problem in problems] == [
        (2, "not JSON: Expecting ',' delimiter (column 66)"),
        (3, "not a JSON object ({…})"),
        (5, "not UTF-8 (byte 13)"),
        (6, "no question"),
        (8, "`records` must be an object with a key per model, not `[1]`"),
        (9, "another question already has the index 1 in d"),
        (10, "a second answer of ada to d 1; the first is kept"),
        (7, "score 1.5 is not between 0 and 1; such answers are unscored: 2; `jisi bank grade` grades them"),
        (11, "completion_tokens -3 is not a count of tokens; such counts of tokens are unknown: 1"),
    ]
    assert [problem.line for problem in problems if problem.doubt] == [7, 11]


def test_a_line_without_dataset_and_index_takes_the_file_s_name_and_its_own_number():
    record = read_all(FIXTURES / "jisi_damaged.jsonl")[0][-1]
    assert (record.dataset, record.index, record.order) == ("jisi_damaged", "13", 13)


def test_half_a_surrogate_pair_becomes_a_replacement_character():
    assert read_all(FIXTURES / "jisi_damaged.jsonl")[0][-1].query == "q13 \ufffd"
