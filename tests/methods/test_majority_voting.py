"""The vote: against a slow version on random data, its ties, its abstentions, its fallbacks."""

from __future__ import annotations

import asyncio
from collections import Counter

import numpy as np
import pytest

from jisi_cli.errors import BudgetError, InputError, NoAnswerError
from jisi_cli.methods.protocol import Outcome, Silent
from jisi_cli.methods.rankings import best_first
from jisi_cli.methods.registry import make_method
from jisi_cli.types import Answer, Request
from tests.methods.synthetic import Respond, Setting, ToldPool, setting

EYE = np.eye(16, dtype=np.float32)


def says(text: str, direction: int = 0) -> Respond:
    return lambda call: Answer(call.model, text, vector=EYE[direction])


def fails(call: Request) -> Answer:
    return Answer(call.model, "", error="out of order")


def is_too_dear(call: Request) -> Answer:
    raise BudgetError("it may cost more than is left; raise --max-cost")


def ranked(given: Setting) -> tuple[str, ...]:
    """Models of a setting, best on train first."""
    return best_first(given.context.bank, given.context.datasets)


def answer(name: str, pool: ToldPool, given: Setting | None = None) -> Outcome:
    given = given or setting()
    method, query = make_method(name, given.context), given.tests.queries[0]
    (plan,) = method.plan([query])
    return asyncio.run(method.answer(query, plan, pool, Silent()))


def slow_vote(finals: list[int]) -> int:
    """Place of the winner among final answers in the order of the ranking."""
    counts = Counter(finals)
    most = max(counts.values())
    for place, final in enumerate(finals):
        if counts[final] == most:
            return place
    raise AssertionError


@pytest.mark.parametrize(("name", "size"), [("majority-voting", 6), ("majority-voting-3", 3)])
def test_votes_are_counted_as_by_a_slow_version(name: str, size: int) -> None:
    rng = np.random.default_rng(5)
    for seed in range(60):
        given = setting(seed, models="abcdef", rows=12, tests=1)
        panel = ranked(given)[:size]
        finals = [int(final) for final in rng.integers(3, size=size)]
        told = ToldPool(
            {model: says(f"{model} finds: the answer is {final}") for model, final in zip(panel, finals, strict=True)}
        )
        outcome = answer(name, told, given)
        assert outcome.answer.model == panel[slow_vote(finals)]
        assert [call.model for call in told.asked] == list(panel)
        assert outcome.reason == f"{finals.count(finals[slow_vote(finals)])} of {size} responses agree"


def test_a_response_without_a_final_answer_has_no_vote() -> None:
    first, second, third, fourth = ranked(setting())
    told = ToldPool({first: says("Who knows?"), second: says("the answer is 2"), third: says("?"), fourth: says("??")})
    outcome = answer("majority-voting", told)
    assert (outcome.mode, outcome.answer.model) == ("consensus", second)


def test_where_no_response_has_a_final_answer_the_most_typical_one_wins() -> None:
    first, *others = ranked(setting())
    told = ToldPool({first: says("red", 0), **{model: says("blue", 1) for model in others}})
    outcome = answer("majority-voting", told)
    assert (outcome.mode, outcome.answer.model) == ("consensus", others[0])
    assert "no response has a final answer" in outcome.reason


def test_a_model_that_fails_has_no_vote_and_a_failed_panel_has_stand_ins() -> None:
    first, second, third, fourth = ranked(setting())
    right, wrong = says("the answer is 1"), says("the answer is 2")
    told = ToldPool({first: fails, second: wrong, third: right, fourth: right})
    assert answer("majority-voting", told).answer.model == third
    assert answer("majority-voting-3", told).answer.model == second
    outcome = answer("majority-voting-3", ToldPool({first: fails, second: fails, third: fails, fourth: right}))
    assert (outcome.mode, outcome.answer.model) == ("fallback", fourth)
    with pytest.raises(NoAnswerError, match="out of order"):
        answer("majority-voting", ToldPool(dict.fromkeys((first, second, third, fourth), fails)))


def test_a_budget_that_ends_leaves_the_vote_to_those_who_answered() -> None:
    first, *others = ranked(setting())
    outcome = answer("majority-voting", ToldPool({first: says("1"), **dict.fromkeys(others, is_too_dear)}))
    assert outcome.answer.model == first and outcome.stopped_by_budget
    everybody = ToldPool(dict.fromkeys((first, *others), is_too_dear))
    with pytest.raises(BudgetError):
        answer("majority-voting-3", everybody)
    assert len(everybody.asked) == 3


def test_who_votes_can_be_said_behind_the_name() -> None:
    told = ToldPool(dict.fromkeys("abcd", says("the answer is 1")))
    answer("majority-voting:top=2", told)
    assert [call.model for call in told.asked] == list(ranked(setting())[:2])
    for wrong, words in (
        ("top=0", "a whole number from 1"),
        ("top=two", "a whole number from 1"),
        ("voters=2", "settings are top=0"),
        ("top", "no setting `top`"),
    ):
        with pytest.raises(InputError, match=words):
            make_method(f"majority-voting:{wrong}", setting().context)
    with pytest.raises(InputError, match="no method is called `best-single:models=2`"):
        make_method("best-single:models=2", setting().context)
