"""Single answers become questions with answers, whatever their order."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.bank.sources import Selection, stage_records
from tests.bank.making import MODELS, record, records


def test_questions_are_in_order_of_dataset_and_recorded_index() -> None:
    answers = [record(index, dataset=dataset) for dataset in ("zoo", "abc") for index in (10, 9, 100)]
    keys = [question.key for question in stage_records(answers).questions]
    assert keys == [(dataset, index) for dataset in ("abc", "zoo") for index in ("9", "10", "100")]


def test_models_are_in_code_point_order() -> None:
    answers = [record(1, model) for model in ("b", "ä", "Z", "a", "10", "9")]
    assert list(stage_records(answers).answers) == ["10", "9", "Z", "a", "b", "ä"]


@given(st.randoms(), st.integers(1, 9))
def test_the_order_of_answers_changes_nothing(chance: random.Random, limit: int) -> None:
    answers = records(12)
    sparse = [answer for answer in answers if chance.random() < 0.8] or answers
    expected = stage_records(sparse, Selection(limit=limit))
    chance.shuffle(sparse)
    found = stage_records(sparse, Selection(limit=limit))
    assert found == expected
    assert list(found.answers) == list(expected.answers)


def test_what_one_answer_lacks_another_fills_in() -> None:
    bare = replace(record(3), reference=None, grader=None, order=None, split=None)
    rich = replace(record(3, "bob/7b"), reference="24", grader="numeric", order=3, split="test")
    for answers in ([bare, rich], [rich, bare]):
        (question,) = stage_records(answers).questions
        assert (question.reference, question.grader, question.order, question.split) == ("24", "numeric", 3, "test")


def test_a_reference_may_be_an_empty_text() -> None:
    (question,) = stage_records([replace(record(3), reference="")]).questions
    assert question.reference == ""


def test_a_second_answer_and_an_answer_to_another_text_are_left_out_and_told() -> None:
    again = replace(record(1), response="on second thought")
    other = replace(record(1, "bob/7b"), query="Something else?")
    staging = stage_records([record(1), again, other, record(2, "bob/7b")])
    assert staging.conflicts == [
        "words/1: ada answered twice; the first answer counts",
        "words/1: bob/7b was asked another text than the models before it",
    ]
    assert staging.answers["ada"]["words", "1"].response == record(1).response
    assert list(staging.answers["bob/7b"]) == [("sums", "2")]
    assert staging.records == 2


def test_models_datasets_and_a_limit_per_dataset_can_be_chosen() -> None:
    answers = records(12)
    random.Random(0).shuffle(answers)
    chosen = Selection(frozenset({"ada"}), frozenset({"sums"}), 2)
    staging = stage_records(answers, chosen)
    assert [question.key for question in staging.questions] == [("sums", "0"), ("sums", "2")]
    assert list(staging.answers) == ["ada"]
    assert list(stage_records(answers, Selection(limit=2)).answers) == list(MODELS)
    assert len(stage_records(answers, Selection(limit=2)).questions) == 4


def test_a_model_whose_answers_are_all_beyond_the_limit_is_no_model_of_the_bank() -> None:
    staging = stage_records([record(0, "ada"), record(2, "ada"), record(4, "late")], Selection(limit=2))
    assert list(staging.answers) == ["ada"]


def test_nothing_gathers_to_nothing() -> None:
    staging = stage_records([])
    assert (staging.questions, staging.answers, staging.conflicts, staging.records) == ([], {}, [], 0)
