"""Which answers of a pool agree, and how sure an answer is, in plain words."""

from __future__ import annotations

import pytest

from jisi_cli.methods.answers import agreement_words, in_plain_words, promise_of
from jisi_cli.methods.decision import Belief, Decision
from jisi_cli.methods.protocol import Outcome
from jisi_cli.types import Answer, Role
from tests.report.test_decision_page import COARSE, FINE, MODELS


def said(model: str, text: str, role: Role = "probe", error: str | None = None) -> Answer:
    return Answer(model, text=text, role=role, error=error)


def outcome(*calls: Answer, answer: int = 0, decision: Decision | None = None) -> Outcome:
    return Outcome(calls[answer], "route", "because", calls, decision)


NINE, NINE_TOO, TEN = (
    said("ada", "The answer is 9."),
    said("bob", "So it is \\boxed{9}."),
    said("cyd", "The answer is 10."),
)
OPEN, OPEN_TOO = said("ada", "It depends on the weather."), said("bob", "Nobody can say, I think.")


def test_equal_final_answers_agree_however_they_are_written():
    found = outcome(NINE, NINE_TOO, TEN).answers
    assert [(answer.call.model, answer.final_answer, answer.agrees) for answer in found] == [
        ("ada", "9", True),
        ("bob", "9", True),
        ("cyd", "10", False),
    ]
    assert agreement_words(found) == "2 of 3 agree"


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ((NINE, NINE_TOO), "2 of 2 agree"),
        ((NINE, TEN), "1 of 2 says so"),
        ((NINE, NINE_TOO, OPEN), "2 of 3 agree"),  # the third says nothing that can be compared
        ((NINE, OPEN_TOO), None),  # one alone
        ((OPEN, OPEN_TOO), None),
        ((said("ada", "Paris"), said("bob", "**paris.**"), OPEN), "2 of 3 agree"),
        ((said("ada", "C++"), said("bob", "C")), "1 of 2 says so"),
        ((said("ada", "Paris"), said("bob", "The answer is Paris."), said("cyd", "Lyon")), "2 of 3 agree"),
        ((said("ada", "<"), said("bob", ">")), None),
        ((OPEN, NINE, NINE_TOO), None),  # the answer itself is open
        ((NINE,), None),
        ((NINE, said("bob", "", error="HTTP 500")), None),
        ((NINE, NINE_TOO, said("cyd", "", error="HTTP 500")), "2 of 2 agree"),
        ((said("ada", "The answer is 7.", "aggregator"), NINE, TEN), "none of 2 says so"),
    ],
)
def test_agreement_is_told_only_where_answers_can_be_compared(calls: tuple[Answer, ...], words: str | None):
    assert agreement_words(outcome(*calls).answers) == words


def test_equal_answers_of_one_model_count_as_often_as_they_were_given():
    assert agreement_words(outcome(NINE, NINE, TEN).answers) == "2 of 3 agree"


def test_only_a_method_that_knows_how_sure_it_is_says_so():
    answers = outcome(NINE, NINE_TOO).answers
    assert in_plain_words(None, answers) == "2 of 2 agree"
    assert in_plain_words(0.879, answers) == "87 % sure: 2 of 2 agree"
    assert in_plain_words(0.879, outcome(NINE).answers) == "87 % sure: one model asked"
    assert in_plain_words(None, outcome(OPEN, OPEN_TOO).answers) is None
    assert in_plain_words(0.5, outcome(OPEN, OPEN_TOO).answers) == "50 % sure"


def test_answers_come_in_the_order_of_the_last_stage_with_what_it_promised():
    first, second = Decision(MODELS, COARSE), Decision(MODELS, COARSE, FINE)
    assert [a.call.model for a in outcome(NINE, NINE_TOO, decision=first).answers] == ["bob", "ada"]
    found = outcome(NINE_TOO, NINE, TEN, decision=second).answers
    assert [(a.call.model, pytest.approx(a.score)) for a in found] == [("ada", 1.0), ("bob", 0.9), ("cyd", 0.0)]
    assert found[1].facts() == ["agrees", "promised 90 %"]


def test_a_promise_is_about_a_model_s_own_answer():
    second = Decision(MODELS, COARSE, FINE)
    assert promise_of(outcome(NINE_TOO, decision=second)) == pytest.approx(0.9)
    assert promise_of(outcome(said("bob", "9", "aggregator"), NINE, decision=second)) is None
    assert promise_of(outcome(NINE)) is None


def test_what_was_only_probed_is_compared_with_what_is_to_be_expected():
    def agreeing(decision: Decision) -> list[str]:
        return [answer.call.model for answer in decision.answers if answer.agrees]

    calls = (TEN, said("bob", "The answer is 10."), said("ada", "The answer is 9."))
    assert agreeing(Decision(MODELS, COARSE, FINE, calls=calls, aggregatees=("ada", "bob"))) == ["bob", "cyd"]
    assert agreeing(Decision(MODELS, COARSE, FINE, calls=calls, aggregatees=("ada",))) == ["ada"]
    belief = Belief((("ada",), ("bob", "cyd")), (0.5, 0.3), 0.2)
    assert agreeing(Decision(MODELS, COARSE, calls=calls, aggregatees=("ada",), belief=belief)) == ["ada"]
    differing = (NINE, said("bob", "The answer is 8."), TEN)
    assert agreeing(Decision(MODELS, COARSE, calls=differing)) == ["bob"]  # the best of three that differ


def test_plain_data_has_the_whole_answer():
    (found,) = outcome(NINE, decision=Decision(MODELS, COARSE)).answers
    assert found.to_json() == {
        "model": "ada",
        "role": "probe",
        "text": "The answer is 9.",
        "score": pytest.approx(0.6),
        "final_answer": "9",
        "agrees": True,
        "cut_off": None,
        "error": None,
    }
