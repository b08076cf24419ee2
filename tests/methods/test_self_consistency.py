"""Samples of one model, counted or chosen among, through LiteLLM on the loopback server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jisi_cli.errors import NoAnswerError
from jisi_cli.methods.prompts import read_choices
from jisi_cli.methods.protocol import Query
from jisi_cli.models.limits import Budget
from jisi_cli.models.replay import ReplayPool
from tests.loopback import Fault, Loopback
from tests.methods.live import (
    FIRST,
    QUESTION,
    SECOND,
    answer,
    fenced,
    models_of,
    script_all,
    system_of,
    user_of,
)
from tests.methods.synthetic import setting
from tests.methods.test_contract import evaluated

DEAD = Fault("status", status=500)


def script_samples(server: Loopback, *finals: object, chooses: str = "Choice: 1") -> None:
    """Let the best model give these final answers, whichever call comes first, and choose when it is asked to."""
    left = list(finals)

    def reply(messages: list[dict[str, object]]) -> str:
        if "responses to one question" in str(messages[0]["content"]):
            return chooses
        return f"I think the answer is {left.pop(0)}"

    server.script(FIRST, text=reply)


def test_the_best_model_is_asked_four_times_and_its_most_frequent_answer_wins(loopback: Loopback) -> None:
    script_samples(loopback, 6, 8, 8, 7)
    outcome = answer(loopback, "self-consistency")
    assert models_of(loopback.requests) == [FIRST] * 4
    assert [request.body["temperature"] for request in loopback.requests] == [0.7] * 4
    assert (outcome.mode, outcome.answer.text) == ("consensus", "I think the answer is 8")
    assert outcome.reason == "2 of 4 responses agree"
    assert [call.role for call in outcome.calls] == ["expert"] * 4


def test_samples_that_fail_have_no_vote_and_other_models_stand_in_for_a_dead_one(loopback: Loopback) -> None:
    loopback.script(FIRST, text="the answer is {number}", faults=(DEAD, None, DEAD, DEAD))
    script_all(loopback)
    outcome = answer(loopback, "self-consistency")
    assert (outcome.mode, outcome.answer.text) == ("consensus", "the answer is 2")
    loopback.script(FIRST, faults=(DEAD,) * 4)
    outcome = answer(loopback, "self-consistency")
    assert (outcome.mode, outcome.answer.model) == ("fallback", SECOND)
    with pytest.raises(NoAnswerError, match=f"{FIRST}: "):
        loopback.scripts.clear()
        answer(loopback, "self-consistency:samples=2")


def test_a_replay_has_one_sample_and_invents_no_others() -> None:
    for name in ("self-consistency", "universal-self-consistency", "self-moa", "moa", "smoa", "smacs", "symbolic-moe"):
        results = evaluated(name, setting())
        assert {result.status for result in results} == {"needs-live"}, name
        assert {result.score for result in results} == {None}
    assert ReplayPool.NOT_RECORDED == "not recorded"


def test_one_more_call_chooses_the_most_consistent_of_eight(loopback: Loopback) -> None:
    script_samples(loopback, *range(1, 9), chooses="They mostly say so.\nChoice: 3")
    outcome = answer(loopback, "universal-self-consistency")
    *samples, last = loopback.requests
    assert models_of(loopback.requests) == [FIRST] * 9
    assert all(request.body["messages"] == [{"role": "user", "content": QUESTION}] for request in samples)
    listed = fenced(user_of(last))
    assert sorted(listed) == [f"I think the answer is {number}" for number in range(1, 9)]
    assert "Choice: N" in system_of(last) and QUESTION in user_of(last)
    assert (outcome.mode, outcome.answer.text) == ("consensus", listed[2])
    assert [call.role for call in outcome.calls] == ["expert"] * 8 + ["judge"]
    assert last.body["temperature"] == 0.2


@pytest.mark.parametrize("chooses", ["They are all fine.", "Choice: 12", "Choice: the third"])
def test_a_choice_that_names_no_response_leaves_the_first(loopback: Loopback, chooses: str) -> None:
    script_samples(loopback, 5, 5, chooses=chooses)
    outcome = answer(loopback, "universal-self-consistency:samples=2")
    assert (outcome.mode, outcome.reason) == ("fallback", "the choice named no response; this is the first")


def test_a_dead_selector_leaves_the_first_and_one_response_needs_none(loopback: Loopback) -> None:
    loopback.script(FIRST, text="sample {number}", faults=(None, None, DEAD))
    outcome = answer(loopback, "universal-self-consistency:samples=2")
    assert (outcome.mode, loopback.count()) == ("fallback", 3)
    loopback.script(FIRST, text="sample {number}", faults=(DEAD,))
    outcome = answer(loopback, "universal-self-consistency:samples=2")
    assert (outcome.answer.text, loopback.count()) == ("sample 2", 5)
    assert outcome.reason == "it is the only response, so there was nothing to choose"


def test_the_users_instructions_are_quoted_to_the_selector(loopback: Loopback) -> None:
    script_samples(loopback, 1, 1)
    query = Query(QUESTION, setting().tests.queries[0].vector, system="Answer in Welsh.")
    answer(loopback, "universal-self-consistency:samples=2", query=query)
    *samples, last = loopback.requests
    assert [system_of(request) for request in samples] == ["Answer in Welsh."] * 2
    assert "Answer in Welsh." in user_of(last) and "Answer in Welsh." not in system_of(last)


def test_a_budget_that_ends_leaves_the_samples_that_came(loopback: Loopback) -> None:
    loopback.script(FIRST, text="word " * 400)
    outcome = answer(loopback, "universal-self-consistency:samples=3", budget=Budget(0.003), max_tokens=450)
    assert outcome.stopped_by_budget and outcome.mode == "fallback"
    assert outcome.reason == "the budget left no room for a choice; this is the first"
    given = setting()
    graded = replace(given.tests.queries[0], text=QUESTION)
    outcome = answer(loopback, "self-consistency", query=graded, budget=Budget(0.0015), max_tokens=450)
    assert outcome.stopped_by_budget and outcome.mode == "consensus"


@pytest.mark.parametrize(
    ("reply", "chosen"),
    [
        ("Choice: 2", [1]),
        ("**Choice:** 2.", [1]),
        ("choice - 1\nNo: the second is better.\nChoice: 2", [1]),
        ("Of 3 responses 2 agree.\nChoices: 3, 1", [2, 0]),
        ("Choices: 3 and 1", [2, 0]),
        ("Choices: 3, 3, 9, 0, 1", [2, 0]),
        ("2", [1]),
        ("(2).", [1]),
        ("2 of them agree", []),
        ("Choice: two", []),
        ("Choice: 4", []),
        ("", []),
        ("choice " * 20_000 + "9" * 20_000, []),
    ],
)
def test_a_choice_is_read_from_the_last_line_that_says_so(reply: str, chosen: list[int]) -> None:
    assert read_choices(reply, 3) == chosen
