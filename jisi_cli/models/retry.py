"""A call with its retries: a place in the queue, money set aside, an attempt, and perhaps another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from jisi_cli.config import ModelEntry
from jisi_cli.errors import BudgetError
from jisi_cli.models.call import Call, CallEvent, Course, Outcome
from jisi_cli.models.completion import Completion
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.limits import question_budget
from jisi_cli.models.litellm_client import litellm_loaded
from jisi_cli.models.pricing import cost_of, needs_litellm_to_price, price_of_call
from jisi_cli.models.provider import Provider
from jisi_cli.models.worst_case import most_spent, needs_litellm, worst_case_known_now, worst_case_of
from jisi_cli.types import format_dollars

if TYPE_CHECKING:
    import random

    from jisi_cli.models.failure import ProviderFailure


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Attributes:
        max_retries: Attempts after the first.
        base: Upper bound of the first wait, in seconds; it doubles with every retry.
        cap: Upper bound of any wait that jisi chooses, in seconds.
        retry_after_cap: The longest `Retry-After` that is waited for, in seconds.
    """

    max_retries: int = 3
    base: float = 0.5
    cap: float = 30.0
    retry_after_cap: float = 120.0

    def allows_another(self, attempts: int, failure: ProviderFailure) -> bool:
        """Whether a call that failed is tried again, after so many attempts."""
        most = self.max_retries if failure.most_retries is None else min(self.max_retries, failure.most_retries)
        return failure.retryable and attempts <= most

    def delay(self, retry: int, retry_after: float | None, rng: random.Random) -> float:
        """Return the seconds to wait before a retry.

        A provider that says when to come back is believed up to `retry_after_cap`; a little jitter keeps
        the calls it turned away from coming back all at once. Otherwise the wait is uniform in
        [0, min(cap, base * 2^(retry - 1))).

        Args:
            retry: Which retry this is, from 1.
            retry_after: What the provider asked for, in seconds; None when it did not.
            rng: Source of the jitter.
        """
        jitter = rng.random()
        # Beyond a thousand retries the power is no longer a number.
        bound = min(self.cap, self.base * 2.0 ** min(retry - 1, 64))
        if retry_after is None:
            return jitter * bound
        return min(retry_after, self.retry_after_cap) + jitter * min(bound, 1.0)


class Reserved(Protocol):
    """Money set aside for one attempt."""

    def booked(self) -> None:
        """Note that what the attempt cost is in the ledger."""
        ...

    def settle(self, actual_usd: float | None) -> None:
        """Say what the attempt cost; None where that is unknown."""
        ...


class Money(Protocol):
    """What attempts may cost: the run's `Budget`, or one that is kept in another process."""

    @property
    def setting(self) -> str:
        """What asks for the limit, for messages."""
        ...

    async def reserve(self, model: str, worst_case_usd: float | None) -> Reserved:
        """Set aside the worst case of one attempt; see `Budget.reserve`."""
        ...

    def check(self) -> None:
        """End a run that cost more than could be foreseen; see `Budget.check`."""
        ...


class Turns(Protocol):
    """When attempts may be made: the run's `RateLimiter`, or one that is kept in another process."""

    def turn(self, model: str) -> AbstractAsyncContextManager[None]:
        """Wait for a turn with a model and hold it."""
        ...

    def close_for(self, model: str, seconds: float) -> None:
        """Start no call to a model for some seconds."""
        ...

    def count_tokens(self, model: str, tokens: int) -> None:
        """Let a model rest for as long as these tokens take at its rate."""
        ...


_AGREEMENT = 3.0
"""A reported cost within this factor of the list price agrees with it: lists are rounded, and change."""


class Caller:
    """Makes calls within the limits, the budget and the retry policy.

    Args:
        provider: Makes one attempt.
        limiter: Limits the calls that are out.
        budget: Limits what they may cost; None for no limit.
        policy: When to try again.
        rng: Source of the jitter between attempts.
        warn: Told, once for each model, what does not agree in a provider's figures; None to ignore it.
    """

    def __init__(
        self,
        provider: Provider,
        limiter: Turns,
        budget: Money | None,
        policy: RetryPolicy,
        rng: random.Random,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._provider = provider
        self._limiter = limiter
        self._budget = budget
        self._policy = policy
        self._rng = rng
        self._warn = warn or _ignore
        self._doubted: set[str] = set()

    async def close(self) -> None:
        """Close the connections."""
        await self._provider.close()

    async def call(self, call: Call, course: Course) -> Outcome:
        """Call a model until it answers, fails for good, or has been tried often enough.

        Args:
            call: What is sent, and to whom.
            course: A new one, which tells what has happened also where this is cancelled.

        Raises:
            BudgetError: The first attempt does not fit what is left of the budget.
            InputError: A parameter makes it unknowable what the call can cost.
        """
        budget: Money | None = question_budget.get() or self._budget
        await self._provider.prepare(call.entry, call.messages, call.parameters, call.asker.on_text)
        worst = None
        if budget is not None:
            if needs_litellm(call.entry, call.parameters):
                await litellm_loaded()
            worst = await worst_case_of(call.entry, call.messages, call.parameters)
        while True:
            try:
                result = await self._attempt(call, budget, worst, course)
            except BudgetError:
                if course.failure is None:
                    raise
                # The failure before says more than that another attempt is too dear, but not why none was made.
                setting = "--max-cost" if budget is None else budget.setting
                course.failure.reason += f"; {setting} leaves too little for another attempt"
                return course.outcome(None, is_cut_short=question_budget.get() is not None)
            if isinstance(result, Completion):
                return course.outcome(result)
            course.failure = result
            if not self._policy.allows_another(len(course.costs), result):
                return course.outcome(None)
            await self._pause(call, result, len(course.costs))

    async def _attempt(
        self, call: Call, budget: Money | None, worst_usd: float | None, course: Course
    ) -> Completion | ProviderFailure:
        name = call.entry.name
        reservation = None if budget is None else await budget.reserve(name, worst_usd)
        if reservation is not None:
            course.until_booked.append(reservation.booked)
        cost: float | None = 0.0
        try:
            async with self._limiter.turn(name):
                if budget is not None:
                    # Another call may have ended the run while this one waited for its turn.
                    budget.check()
                if not course.costs:
                    call.asker.tell(CallEvent("started", name, call.request.role))
                # From here on the request is out; cut off by Ctrl-C, it may have cost anything.
                course.begin_attempt()
                cost = None
                try:
                    adapted = partial(self._tell_adapted, call)
                    completion = await self._provider.complete(
                        call.entry, call.messages, call.parameters, call.asker.on_text, adapted
                    )
                    if not call.request.wanted.tools:
                        # Some models call tools that they were never told of; it is no answer.
                        completion = replace(completion, tool_calls=())
                except ProviderFailure as failure:
                    if failure.spent is not None:
                        cost = self._book(call.entry, failure.spent, worst_usd, course)
                    else:
                        cost = course.costs[-1] = None if failure.billable else 0.0
                    return failure
                course.ended = time.perf_counter()
                if needs_litellm_to_price(call.entry, completion):
                    await litellm_loaded()
                cost = self._book(call.entry, completion, worst_usd, course)
                return completion
        finally:
            if reservation is not None:
                reservation.settle(cost)
            if cost is None and budget is None:
                # No limit needed it, but the limit of a day may, in a later run.
                worst_usd = worst_case_known_now(call.entry, call.messages, call.parameters)
            course.counted.append(worst_usd if cost is None else cost)

    def _book(self, entry: ModelEntry, completion: Completion, worst_usd: float | None, course: Course) -> float | None:
        """Note what an attempt took; return the dollars that the budget counts for it."""
        self._limiter.count_tokens(entry.name, completion.prompt_tokens + completion.completion_tokens)
        bill = cost_of(entry, completion).usd
        course.costs[-1] = bill
        self._tell_doubts(entry, completion)
        return bill if worst_usd is None else most_spent(entry, completion, bill, worst_usd)

    def _tell_doubts(self, entry: ModelEntry, completion: Completion) -> None:
        doubt = doubt_about(entry, completion)
        if doubt is not None and entry.name not in self._doubted:
            self._doubted.add(entry.name)
            self._warn(f"{entry.name} {doubt}")

    def _tell_adapted(self, call: Call, words: str, of_the_pool_file: bool) -> None:
        name = call.entry.name
        call.asker.tell(CallEvent("adapted", name, call.request.role, reason=words))
        if of_the_pool_file:
            self._warn(f"{name}: {words}")

    async def _pause(self, call: Call, failure: ProviderFailure, attempts: int) -> None:
        wait = self._policy.delay(attempts, failure.retry_after, self._rng)
        call.asker.tell(CallEvent("retry", call.entry.name, call.request.role, attempts, failure.reason, wait))
        if failure.retry_after is not None:
            self._limiter.close_for(call.entry.name, min(wait, failure.retry_after))
        await asyncio.sleep(wait)


def doubt_about(entry: ModelEntry, completion: Completion) -> str | None:
    """Return what does not agree in a provider's figures; None when all does."""
    usage = completion.usage
    if usage is None or usage.doubt is not None:
        return None if usage is None else usage.doubt
    listed = price_of_call(entry, completion.prompt_tokens, completion.completion_tokens, parts=completion.parts)
    if usage.cost is None or listed.usd is None:
        return None
    low, high = sorted((usage.cost, listed.usd))
    if high <= _AGREEMENT * low:
        return None
    return (
        f"says that a call cost {format_dollars(usage.cost)}, but its tokens cost {format_dollars(listed.usd)} at the "
        f"price from {listed.source}; the bill goes by what it says, --max-cost by the larger"
    )


def _ignore(event: object) -> None:
    """Take no notice."""
