"""The sparse mixture, call by call, through LiteLLM on the loopback server."""

from __future__ import annotations

from jisi_cli.models.limits import Budget
from tests.loopback import Fault, Loopback
from tests.methods.live import FIRST, FOURTH, SECOND, THIRD, answer, fenced, script_all, system_of, user_of

DEAD = Fault("status", status=500)


def script_best(server: Loopback, judges: list[str], moderates: list[str]) -> None:
    """Let the best model propose, judge and moderate as told; the others say their name and a number."""

    def reply(messages: list[dict[str, object]]) -> str:
        system = str(messages[0]["content"])
        if "Decision: stop" in system:
            return moderates.pop(0)
        if "responses to one question" in system:
            return judges.pop(0)
        if "references" in system:
            return f"{FIRST} has read {len(fenced(system))}"
        return f"{FIRST} says 1"

    server.script(FIRST, text=reply)
    script_all(server)


def roles(outcome: object) -> list[str]:
    return [call.role for call in outcome.calls]  # type: ignore[attr-defined]


def test_the_judges_choice_alone_reaches_the_aggregator_when_the_moderator_stops(loopback: Loopback) -> None:
    script_best(loopback, ["Choices: 4, 2"], ["They agree.\nDecision: stop"])
    outcome = answer(loopback, "smoa")
    assert roles(outcome) == ["expert"] * 4 + ["judge", "judge", "aggregator"]
    judge, moderator, last = loopback.requests[4:]
    assert [judge.model, moderator.model, last.model] == [FIRST] * 3
    assert fenced(user_of(judge)) == [f"{model} says 1" for model in (FIRST, SECOND, THIRD, FOURTH)]
    assert fenced(user_of(moderator)) == fenced(system_of(last)) == [f"{FOURTH} says 1", f"{SECOND} says 1"]
    assert (outcome.mode, outcome.answer.text) == ("aggregate", f"{FIRST} has read 2")
    assert outcome.references == (FOURTH, SECOND)


def test_a_layer_sees_what_the_judge_kept_until_the_layers_are_used_up(loopback: Loopback) -> None:
    script_best(loopback, ["Choices: 4, 2", "Choices: 2, 3", "Choices: 3, 4"], ["Decision: go on"] * 2)
    outcome = answer(loopback, "smoa")
    assert roles(outcome) == (["expert"] * 4 + ["judge", "judge"]) * 2 + ["expert"] * 4 + ["judge", "aggregator"]
    for request in loopback.requests[6:10]:
        assert fenced(system_of(request)) == [f"{FOURTH} says 1", f"{SECOND} says 1"]
    assert fenced(system_of(loopback.requests[-1])) == [f"{THIRD} says 3", f"{FOURTH} says 3"]


def test_a_judge_that_talks_nonsense_passes_on_the_best_models(loopback: Loopback) -> None:
    script_best(loopback, ["All of them!"], ["Hm.", "Decision: stop"])
    outcome = answer(loopback, "smoa:layers=1")
    assert roles(outcome) == ["expert"] * 4 + ["judge", "aggregator"]
    assert fenced(system_of(loopback.requests[-1])) == [f"{FIRST} says 1", f"{SECOND} says 1"]


def test_a_judge_that_names_too_few_is_filled_up(loopback: Loopback) -> None:
    script_best(loopback, ["Choices: 3"], [])
    answer(loopback, "smoa:layers=1")
    assert fenced(system_of(loopback.requests[-1])) == [f"{THIRD} says 1", f"{FIRST} says 1"]


def test_a_moderator_that_talks_nonsense_lets_it_go_on(loopback: Loopback) -> None:
    script_best(loopback, ["Choices: 1, 2"] * 2, ["Who knows?"])
    outcome = answer(loopback, "smoa:layers=2")
    assert roles(outcome).count("expert") == 8


def test_as_few_responses_as_are_kept_need_no_judge(loopback: Loopback) -> None:
    script_best(loopback, [], ["Decision: stop"])
    for model in (SECOND, THIRD):
        loopback.script(model, faults=(DEAD,))
    outcome = answer(loopback, "smoa")
    assert fenced(system_of(loopback.requests[-1])) == [f"{FIRST} says 1", f"{FOURTH} says 1"]
    assert roles(outcome) == ["expert"] * 4 + ["judge", "aggregator"]


def test_a_dead_best_model_costs_judgement_but_not_the_answer(loopback: Loopback) -> None:
    loopback.script(FIRST, faults=(DEAD,) * 9)
    script_all(loopback)
    outcome = answer(loopback, "smoa:layers=2")
    assert (outcome.mode, outcome.answer.model) == ("aggregate", SECOND)
    assert fenced(system_of(loopback.requests[-1])) == [f"{SECOND} says 2", f"{THIRD} says 2"]


def test_a_budget_that_ends_leaves_the_best_proposal(loopback: Loopback) -> None:
    for model in (FIRST, SECOND, THIRD, FOURTH):
        loopback.script(model, text="word " * 400)
    outcome = answer(loopback, "smoa", budget=Budget(0.004), max_tokens=450)
    assert (outcome.mode, outcome.answer.model) == ("fallback", FIRST)
    assert outcome.stopped_by_budget
