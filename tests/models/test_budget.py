"""A run's limit in dollars holds, whatever is out at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli import days
from jisi_cli.config import ModelEntry, Price
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.models.limits import Budget, Limit, Limits, question_budget
from jisi_cli.models.worst_case import sends_limit
from jisi_cli.types import Answer, Sampling
from tests.loopback import Fault, Loopback
from tests.models.asking import ask, ask_once, cache_in, entry, ledger_in, pool

DEAR = Price(0, 1000)
"""A tenth of a cent per token of the response; prompts are free."""


def test_the_limit_is_never_exceeded_with_32_calls_at_once(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", text="five words and no more", delay=0.01)
    budget = Budget(0.50)
    asked = pool(entry(loopback, price=DEAR), budget=budget, limits=Limits(concurrency=32), ledger=ledger_in(tmp_path))

    async def spend() -> list[Answer | BaseException]:
        async with asked:
            calls = [ask(asked, f"question {n}", sampling=Sampling(max_tokens=20)) for n in range(200)]
            return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(spend())
    answered = [result for result in results if isinstance(result, Answer)]
    assert {type(result) for result in results} == {Answer, BudgetError}
    assert loopback.count() == len(answered)
    assert 0.005 * loopback.count() <= 0.50
    # It stops because another worst case (2 cents) does not fit, not long before.
    assert budget.spent_usd == pytest.approx(0.005 * len(answered))
    assert 0.48 < budget.spent_usd <= 0.50
    assert budget.left_usd == pytest.approx(0.50 - budget.spent_usd)
    assert sum(row.cost_usd or 0 for row in ledger_in(tmp_path).rows()) == pytest.approx(budget.spent_usd)


def test_a_call_that_cannot_fit_is_not_made_and_says_what_is_left(loopback: Loopback) -> None:
    loopback.script("a")
    asked = pool(entry(loopback, price=DEAR), budget=Budget(0.01))
    with pytest.raises(BudgetError, match=r"`a` may cost \$0\.0200, and \$0\.0100 of \$0\.0100 are left"):
        ask_once(asked, sampling=Sampling(max_tokens=20))
    assert loopback.count() == 0


def test_a_model_without_a_price_is_refused_with_the_remedy(loopback: Loopback) -> None:
    loopback.script("a")
    asked = pool(entry(loopback, price=None), budget=Budget(1.0))
    with pytest.raises(BudgetError, match=r"needs a price for `a`.*add `price = "):
        ask_once(asked, sampling=Sampling(max_tokens=20))
    assert loopback.count() == 0


@pytest.mark.parametrize(
    "params", [{}, *({"max_tokens": limit} for limit in (-1, 0, "many", [100], float("inf"), True))], ids=str
)
def test_a_model_without_a_longest_answer_is_refused_with_the_remedy(
    loopback: Loopback, params: dict[str, object]
) -> None:
    loopback.script("a")
    with pytest.raises(BudgetError, match=r"how long an answer of `a` may get.*max_tokens"):
        ask_once(pool(entry(loopback, params=params), budget=Budget(1.0)))
    assert loopback.count() == 0


def test_a_limit_that_litellm_does_not_send_is_none(loopback: Loopback) -> None:
    # LiteLLM's word, which other releases may change.
    untold_at = next(
        (name for name in ("v0", "langgraph", "langflow") if not sends_limit(ModelEntry("a", f"{name}/a"))), None
    )
    if untold_at is None:
        pytest.skip("this LiteLLM sends a limit to every provider that is known here")
    untold = replace(entry(loopback, price=DEAR, params={"max_tokens": 10}), litellm=f"{untold_at}/a")
    with pytest.raises(BudgetError, match=r"how long an answer of `a` may get; LiteLLM sends its provider no"):
        ask_once(pool(untold, budget=Budget(1000.0)))
    assert loopback.count() == 0


@pytest.mark.slow
def test_a_limit_is_trusted_where_litellm_sends_it_or_cannot_say() -> None:
    assert [sends_limit(ModelEntry("a", name)) for name in ("openai/a", "nobody/a", "scaledown/a", "local:a")] == [
        True
    ] * 4


def test_of_two_limits_of_an_answers_length_the_larger_is_the_worst_case(loopback: Loopback) -> None:
    loopback.script("a")
    params = {"max_tokens": 10, "max_completion_tokens": 20}
    with pytest.raises(BudgetError, match=r"may cost \$0\.0200"):
        ask_once(pool(entry(loopback, price=DEAR, params=params), budget=Budget(0.015)))


def test_the_longest_answer_comes_from_litellms_map_where_nobody_sets_it(loopback: Loopback) -> None:
    loopback.script("gpt-4o")
    known = entry(loopback, "gpt-4o", price=DEAR)
    with pytest.raises(BudgetError, match=r"may cost \$16\.38,"):
        ask_once(pool(known, budget=Budget(1.0)))


def test_a_cached_answer_needs_no_budget(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a")
    cache = cache_in(tmp_path)
    ask_once(pool(entry(loopback), cache=cache))
    assert ask_once(pool(entry(loopback), cache=cache, budget=Budget(0.0))).cached


def test_a_refused_call_costs_nothing_and_its_money_can_be_spent(loopback: Loopback) -> None:
    loopback.script("a", text="five words and no more", faults=[Fault("status", status=503)] * 2)
    budget = Budget(0.02)
    asked = pool(entry(loopback, price=DEAR), budget=budget)
    answer = ask_once(asked, sampling=Sampling(max_tokens=20))
    assert answer.cost_usd == budget.spent_usd == pytest.approx(0.005)


def test_a_call_cut_off_in_mid_answer_counts_as_the_worst_case(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", faults=[Fault("reset")] * 9)
    budget = Budget(0.05)
    asked = pool(entry(loopback, price=DEAR), budget=budget, max_retries=9, ledger=ledger_in(tmp_path))
    answer = ask_once(asked, sampling=Sampling(max_tokens=20))
    assert answer.error is not None
    assert answer.cost_usd is None
    # Two may have cost two cents each; a third would not fit in five.
    assert loopback.count() == 2
    assert budget.spent_usd == pytest.approx(0.04)
    assert booked_as(budget, tmp_path) == [None]


def test_cancelled_calls_leave_nothing_set_aside(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", faults=[Fault("hang")] * 2)
    budget = Budget(0.10)
    limits = Limits(concurrency=1)
    asked = pool(entry(loopback, price=DEAR), budget=budget, limits=limits, ledger=ledger_in(tmp_path))

    async def cut_off() -> None:
        async with asked:
            calls = [asyncio.create_task(ask(asked, f"{n}", sampling=Sampling(max_tokens=20))) for n in range(3)]
            while loopback.count() == 0:
                await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(cut_off())
    # One request was out, and may have cost its worst case; the others were never sent.
    assert loopback.count() == 1
    assert budget.spent_usd == pytest.approx(0.02)
    assert budget.left_usd == pytest.approx(0.08)
    assert booked_as(budget, tmp_path) == [None]


@pytest.mark.parametrize(
    "how",
    [
        {"usage": None},
        {"usage": {"prompt_tokens": 3, "completion_tokens": 5, "cost": 0.001}},
        {"faults": [Fault("reset"), None, Fault("malformed")]},
        {"faults": [Fault("status", status=503), Fault("malformed")]},
    ],
    ids=["no usage", "another price", "lost, then answered", "refused, then malformed"],
)
def test_a_day_counts_what_the_run_counted(loopback: Loopback, tmp_path: Path, how: dict[str, Any]) -> None:
    loopback.script("a", text="five words and no more", **how)
    budget = Budget(1.0)
    asked = pool(entry(loopback, price=DEAR), budget=budget, ledger=ledger_in(tmp_path), max_retries=1)

    async def two() -> None:
        async with asked:
            for question in ("first", "second"):
                await ask(asked, question, sampling=Sampling(max_tokens=20))

    asyncio.run(two())
    booked_as(budget, tmp_path)


def booked_as(budget: Budget, folder: Path) -> list[float | None]:
    """Check that the next run of the day takes as much for spent as this one did; return what is known of the calls."""
    ledger = ledger_in(folder)
    spent = ledger.spent_since(datetime.now(UTC) - timedelta(hours=1))
    assert (spent.usd, spent.unknown) == (pytest.approx(budget.spent_usd), 0)
    costs = [row.cost_usd for row in ledger.rows()]
    assert spent.unsure_usd == pytest.approx(spent.usd - sum(cost or 0.0 for cost in costs))
    return costs


def test_what_a_question_may_cost_holds_within_what_the_run_may(loopback: Loopback) -> None:
    loopback.script("a", text="five words and no more")
    run = Budget(0.10)
    asked = pool(entry(loopback, price=DEAR), budget=run)

    async def one(limit: float, texts: list[str]) -> Budget:
        question = Budget(limit, "max_cost", above=run)
        question_budget.set(question)  # in a task of its own, as each question is
        for text in texts:
            await ask(asked, text, sampling=Sampling(max_tokens=20))
        return question

    async def both() -> None:
        async with asked:
            with pytest.raises(BudgetError, match=r"\$0\.0150 of \$0\.0200 are left; raise max_cost"):
                await asyncio.create_task(one(0.02, ["first", "second"]))
            unlimited = await asyncio.create_task(one(5.0, ["third", "fourth"]))
            assert unlimited.spent_usd == pytest.approx(0.01)
            with pytest.raises(BudgetError, match=r"of \$0\.100 are left; raise --max-cost"):
                await asyncio.create_task(one(5.0, [str(number) for number in range(50)]))

    asyncio.run(both())
    assert run.spent_usd == pytest.approx(0.005 * loopback.count()) and run.spent_usd <= 0.10
    assert run.left_usd == pytest.approx(0.10 - run.spent_usd)  # nothing is set aside for calls that were not made


def test_a_question_may_be_limited_where_the_run_is_not(loopback: Loopback) -> None:
    loopback.script("a", text="five words and no more")
    asked = pool(entry(loopback, price=DEAR))

    async def one() -> None:
        async with asked:
            question_budget.set(Budget(0.01, "max_cost"))
            await ask(asked, "a question", sampling=Sampling(max_tokens=20))

    with pytest.raises(BudgetError, match=r"`a` may cost \$0\.0200"):
        asyncio.run(one())
    assert loopback.count() == 0


def test_a_question_that_may_spend_little_does_not_fail_another_that_waits_for_the_same_call(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("a", text="five words and no more", delay=0.2, faults=[Fault("malformed")])
    run = Budget(1.0)
    asked = pool(entry(loopback, price=DEAR), budget=run, ledger=ledger_in(tmp_path))

    async def one(limit: float | None) -> Answer:
        if limit is not None:
            question_budget.set(Budget(limit, "max_cost", above=run))
        return await ask(asked, "the same", sampling=Sampling(max_tokens=20))

    async def both() -> list[Answer]:
        async with asked:
            poor = asyncio.create_task(one(0.03))
            await asyncio.sleep(0.05)
            return await asyncio.gather(poor, asyncio.create_task(one(None)))

    poor, other = asyncio.run(both())
    assert "max_cost leaves too little for another attempt" in (poor.error or "")
    assert other.ok and other.text == "five words and no more"
    assert loopback.count() == 2 and other.cost_usd == pytest.approx(0.005)
    assert [row.cost_usd for row in ledger_in(tmp_path).rows()] == [None, pytest.approx(0.005)]


@given(
    limit=st.floats(0.1, 5),
    calls=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30),
)
def test_spent_and_set_aside_never_pass_the_limit(limit: float, calls: list[tuple[float, float]]) -> None:
    async def spend() -> None:
        budget = Budget(limit)

        async def one(worst: float, share: float) -> None:
            try:
                reservation = await budget.reserve("a", worst)
            except BudgetError:
                assert worst > limit - budget.spent_usd
                return
            assert budget.left_usd >= -1e-9
            await asyncio.sleep(0)
            reservation.settle(worst * share)
            reservation.settle(worst)  # A second time changes nothing.

        await asyncio.gather(*(one(worst, share) for worst, share in calls))
        assert budget.spent_usd <= limit + 1e-9
        assert budget.left_usd == pytest.approx(limit - budget.spent_usd)

    asyncio.run(spend())


def turned(monkeypatch: pytest.MonkeyPatch, day: int) -> None:
    monkeypatch.setattr(days, "now", lambda: datetime(2026, 5, day, 0, 0, 1).astimezone())


async def spend(budget: Budget, usd: float) -> None:
    (await budget.reserve("a", usd)).settle(usd)


def test_the_limit_is_taken_anew_when_the_day_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turned(monkeypatch, 1)
    told: list[float] = []

    def todays(spent: float, others: object) -> Limit:
        told.append(spent)
        return Limit(spent + 1.0, "max_cost_per_day", "$0 of $1.00 are spent today")

    budget = Budget(0.5, "max_cost_per_day", "$0.50 of $1.00 are spent today", todays)
    asyncio.run(spend(budget, 0.5))
    with pytest.raises(BudgetError, match=r"\$0 are left: \$0.50 of \$1.00 are spent today"):
        asyncio.run(spend(budget, 0.1))
    assert told == []
    turned(monkeypatch, 2)
    asyncio.run(spend(budget, 0.75))
    asyncio.run(spend(budget, 0.25))
    assert told == [0.5]
    with pytest.raises(BudgetError, match="left: "):
        asyncio.run(spend(budget, 0.01))
    assert (budget.limit_usd, budget.spent_usd) == (1.5, 1.5)


def test_a_call_that_is_out_when_the_day_turns_counts_for_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    turned(monkeypatch, 1)
    budget = Budget(1.0, todays=lambda spent, others: Limit(spent + 1.0))

    async def over_midnight() -> None:
        out = await budget.reserve("a", 0.4)
        turned(monkeypatch, 2)
        (await budget.reserve("a", 0.6)).settle(0.6)
        assert budget.left_usd == pytest.approx(0.0)
        out.settle(0.4)

    asyncio.run(over_midnight())
    assert budget.left_usd == pytest.approx(0.0)


def test_where_what_was_spent_cannot_be_read_on_the_new_day_no_call_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    turned(monkeypatch, 1)
    readable = False

    def todays(spent: float, others: object) -> Limit:
        if not readable:
            raise InputError("calls.sqlite cannot be read as a ledger; move it away")
        return Limit(spent + 1.0)

    budget = Budget(1.0, todays=todays)
    turned(monkeypatch, 2)
    with pytest.raises(BudgetError, match=r"what may be spent today is not known: calls\.sqlite cannot be"):
        asyncio.run(spend(budget, 0.1))
    readable = True
    asyncio.run(spend(budget, 0.1))
    assert budget.spent_usd == 0.1
