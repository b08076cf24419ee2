"""A call that a worker makes: its money and its turn stay with the driver, whatever becomes of the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jisi_cli.cluster.call_messages import Grant
from jisi_cli.cluster.flight import Flight, Line
from jisi_cli.config import ModelEntry
from jisi_cli.errors import BudgetError
from jisi_cli.models.call import Asker, Call, Course, Outcome
from jisi_cli.models.limits import Budget, Limits, RateLimiter
from jisi_cli.types import Request

ENTRY = ModelEntry("ada", "openai/ada")
ANSWERED = Outcome(None, None, attempts=1, cost_usd=0.25, most_cost_usd=0.25, seconds=1.0)


def in_flight(
    check: Callable[[Flight, RateLimiter, Budget], Awaitable[None]], budget: Budget, limits: Limits | None = None
) -> None:
    async def fly() -> None:
        call = Call(ENTRY, [], {}, Request("ada", [], "expert"), "key", Asker(lambda event: None, None))
        ended = asyncio.get_running_loop().create_future()
        flight = Flight(1, call, Course(), budget, Line(), ended)
        await check(flight, RateLimiter(limits or Limits(), [ENTRY]), budget)

    asyncio.run(fly())


async def granted(flight: Flight) -> Grant:
    (grant,) = await flight.line.mail()
    assert isinstance(grant, Grant) and grant.number == 1
    return grant


def test_a_worker_that_dies_with_a_request_out_has_spent_its_worst_case() -> None:
    async def check(flight: Flight, limiter: RateLimiter, budget: Budget) -> None:
        flight.wants_money(1.0)
        await granted(flight)
        assert budget.left_usd == 2.0 and budget.spent_usd == 0.0
        flight.wants_turn(limiter)
        await granted(flight)
        flight.lose()
        assert budget.spent_usd == 1.0 and flight.ended.result() is None
        ended = flight.outcome(ANSWERED)
        assert (ended.attempts, ended.cost_usd, ended.most_cost_usd) == (2, None, 1.25)

    in_flight(check, Budget(3.0))


def test_a_worker_that_dies_before_its_request_is_out_has_spent_nothing() -> None:
    async def check(flight: Flight, limiter: RateLimiter, budget: Budget) -> None:
        flight.wants_money(1.0)
        await granted(flight)
        flight.lose()
        assert budget.spent_usd == 0.0 and budget.left_usd == 3.0
        assert flight.outcome(ANSWERED) == ANSWERED

    in_flight(check, Budget(3.0))


def test_a_worker_that_dies_gives_its_turn_back() -> None:
    async def check(flight: Flight, limiter: RateLimiter, budget: Budget) -> None:
        flight.wants_turn(limiter)
        await granted(flight)
        other = asyncio.create_task(limiter.turn("ada").__aenter__())
        await asyncio.sleep(0)
        assert not other.done()
        flight.lose()
        await other

    in_flight(check, Budget(3.0), Limits(concurrency=1))


def test_an_attempt_is_booked_at_what_it_cost() -> None:
    async def check(flight: Flight, limiter: RateLimiter, budget: Budget) -> None:
        flight.wants_money(1.0)
        await granted(flight)
        flight.wants_turn(limiter)
        await granted(flight)
        flight.turn_ended()
        flight.settle(0.25)
        assert budget.spent_usd == 0.25 and flight.course.costs == [0.25]
        flight.lose()  # after the attempt, before its answer was told: paid, and not kept
        ended = flight.outcome(ANSWERED)
        assert (ended.attempts, ended.cost_usd, ended.most_cost_usd) == (2, 0.5, 0.5)

    in_flight(check, Budget(3.0))


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf"), "0"])
def test_what_no_call_can_cost_neither_makes_nor_frees_money(usd: Any) -> None:
    async def check(flight: Flight, limiter: RateLimiter, budget: Budget) -> None:
        flight.wants_money(usd)
        assert "needs a price" in str((await granted(flight)).refused)
        flight.wants_money(1.0)
        await granted(flight)
        flight.wants_turn(limiter)
        await granted(flight)
        flight.settle(usd)
        assert budget.spent_usd == 1.0 and flight.course.costs == [None]

    in_flight(check, Budget(3.0))


def test_a_call_that_ends_without_a_word_of_its_money_and_its_turn_holds_neither() -> None:
    async def check(flight: Flight, limiter: RateLimiter, budget: Budget) -> None:
        flight.wants_money(1.0)
        await granted(flight)
        flight.wants_turn(limiter)
        await granted(flight)
        flight.end(ANSWERED)
        assert budget.spent_usd == 1.0 and budget.left_usd == 2.0 and flight.ended.result() is ANSWERED
        async with asyncio.timeout(60), limiter.turn("ada"):
            pass

    in_flight(check, Budget(3.0), Limits(concurrency=1))


def test_what_does_not_fit_is_refused_by_the_driver() -> None:
    async def check(flight: Flight, limiter: RateLimiter, budget: Budget) -> None:
        flight.wants_money(5.0)
        assert isinstance((await granted(flight)).refused, BudgetError)
        assert budget.left_usd == 3.0
        budget.overrun = "a call cost more than it could"
        flight.wants_turn(limiter)
        assert "more than it could" in str((await granted(flight)).refused)
        assert not flight.course.may_have_cost

    in_flight(check, Budget(3.0))


def test_messages_that_wait_travel_together() -> None:
    async def check() -> None:
        line = Line()
        line.send(Grant(1))
        line.send(Grant(2))
        assert await line.mail() == [Grant(1), Grant(2)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.mail(), 0.01)

    asyncio.run(check())
