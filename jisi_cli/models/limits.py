"""The limits of a run: the dollars of all calls, how many are out at one time, and how fast they follow each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from jisi_cli import days
from jisi_cli.config import ModelEntry
from jisi_cli.errors import BudgetError, JisiError
from jisi_cli.types import format_dollars

if TYPE_CHECKING:
    from jisi_cli.models.outstanding import Mark, Out

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Limit:
    """What a run may spend in all, as things stand today.

    Attributes:
        usd: The most, in dollars, from the beginning of the run.
        setting: What asks for it, for messages.
        about: What to say when it is used up, remedy included; None for a limit of the run alone.
    """

    usd: float
    setting: str = "--max-cost"
    about: str | None = None


TodaysLimit = Callable[[float, "Sequence[Out]"], Limit]
"""Gives the limit from now on, told what the run has spent so far, in dollars, and what other runs have out."""


class Reservation:
    """Money set aside for one call until it is known what the call cost."""

    def __init__(self, budget: Budget, model: str, usd: float, mark: Mark | None) -> None:
        self._budget = budget
        self._model = model
        self._usd: float | None = usd
        self._out_usd, self._mark = usd, mark
        self.above: Reservation | None = None
        """The same money set aside in the budget above."""

    def settle(self, actual_usd: float | None) -> None:
        """Replace the reservation by what the call cost.

        Args:
            actual_usd: Dollars; 0 when the call cost nothing. None when that is unknown: the worst case then
                counts as spent, because the limit must hold. More than the worst case ends the run.

        Until it is in the ledger, too, `booked` says so, the worst case counts as out.
        """
        if self._usd is None:
            return
        if self.above is not None:
            self.above.settle(actual_usd)
        self._budget.settle(self._model, self._usd, self._usd if actual_usd is None else actual_usd)
        self._usd = None
        if actual_usd == 0.0:
            self._release()

    def booked(self) -> None:
        """Note that what the call cost, or may yet, is written down elsewhere: it is no longer out.

        Where the ledger has failed, it is not, and stays out, for other runs to count.
        """
        if self._budget.is_booking:
            self._release()

    def _release(self) -> None:
        if self.above is not None:
            self.above._release()
        if self._mark is not None:
            self._mark.release(self._out_usd)
            self._mark = None


class Budget:
    """What a run may spend; shared by the calls of an event loop and by the threads that embed.

    Args:
        limit_usd: The most, in dollars.
        setting: What asks for the limit, for messages.
        about: What to say when it is used up, remedy included; None for a limit of the run alone.
        todays: Gives the limit anew whenever a day has turned, and whenever more is to go out than `mark` covers; None
            where no day changes it.
        mark: Where it is written down what the run has out; None for nowhere. With it and `todays`, a limit of a day
            holds for runs at the same time, too.
        above: A budget that this one is a part of: what is spent here is spent there.

    Attributes:
        spent_usd: Dollars that are spent, calls of unknown cost at their worst case.
        overrun: Why no call starts any more: which one cost more than its worst case, or that calls cannot be booked;
            None as long as they may.
    """

    def __init__(
        self,
        limit_usd: float,
        setting: str = "--max-cost",
        about: str | None = None,
        todays: TodaysLimit | None = None,
        above: Budget | None = None,
        mark: Mark | None = None,
    ) -> None:
        self.limit_usd, self.setting = limit_usd, setting
        self._about, self._todays = about, todays
        self._day: date | None = days.now().date()
        self._above, self._mark = above, mark
        self._granted_usd = 0.0
        """What the run may come to, spent and set aside, before it has to ask again what others have out."""
        self.spent_usd = 0.0
        self.overrun: str | None = None
        self._reserved_usd = 0.0
        self._reservations = 0
        self._held_usd = 0.0
        self._is_booking = True
        self._waiting: list[Future[None]] = []
        self._lock = threading.RLock() if mark is None else mark.lock

    @property
    def left_usd(self) -> float:
        """Dollars that are neither spent nor set aside."""
        return self.limit_usd - self.spent_usd - self._held_usd - self._reserved_usd

    async def reserve(self, model: str, worst_case_usd: float | None) -> Reservation:
        """Set aside the worst case of one call.

        A call that would fit but for the reservations of calls still out waits for them: most cost less
        than their worst case.

        Args:
            model: The pool's name of the model, for messages.
            worst_case_usd: The most the call can cost; None when there is no price.

        Raises:
            BudgetError: There is no price, the worst case is more than the run has left, or a call before it cost
                more than its own.
        """
        while isinstance(found := self._reserve(model, worst_case_usd), Future):
            await asyncio.wrap_future(found)
        if self._above is not None:
            try:
                found.above = await self._above.reserve(model, worst_case_usd)
            except BaseException:
                found.settle(0.0)
                raise
        return found

    def reserve_in_thread(self, model: str, worst_case_usd: float | None) -> Reservation:
        """Do the same from a thread other than the one that settles the calls that are out; for the run's own budget.

        Raises:
            BudgetError: As `reserve` says.
        """
        while isinstance(found := self._reserve(model, worst_case_usd), Future):
            found.result()
        return found

    def reserve_now(self, model: str, usd: float) -> Reservation | None:
        """Set money aside if it is there, without waiting; None where it is not.

        Raises:
            BudgetError: A call before it cost more than its worst case, or what may be spent today is not known.
        """
        with self._lock:
            self._renew(usd)
            self.check()
            return self._set_aside(model, usd) if self._fits(usd) else None

    def require(self, model: str, usd: float) -> None:
        """Refuse a call that does not fit, even once all calls that are out have been settled.

        Raises:
            BudgetError: It does not.
        """
        with self._lock:
            self._renew(usd)
            self.check()
            self._require(model, usd)

    def take_over(self, model: str, usd: float) -> Reservation:
        """Set aside what an earlier run has promised to a provider already, whatever is left.

        A limit of the day, which counted that as another run's, is found anew.
        """
        with self._lock:
            self._day = None
            return self._set_aside(model, usd, is_known=True)

    def hold_back(self, usd: float) -> None:
        """Keep money for a later part of the run; calls before that part cannot use it."""
        with self._lock:
            self._held_usd += usd

    def release_held(self) -> None:
        """Let what was held back be spent: its time has come."""
        with self._lock:
            self._held_usd = 0.0
            self._wake()

    def stop_booking(self, why: str) -> None:
        """Let no call start any more, since nothing can be booked; what is out stays written down as that.

        So other runs count it as spent, though it is in no ledger.

        Args:
            why: What is wrong, remedy included.
        """
        with self._lock:
            self._is_booking = False
            self.overrun = self.overrun or why
            self._wake()

    @property
    def is_booking(self) -> bool:
        """Whether calls that have ended are in the ledger."""
        return self._is_booking and (self._above is None or self._above.is_booking)

    def check(self) -> None:
        """End a run in which no call may start any more, once everything that came in is kept.

        Raises:
            BudgetError: A call cost more than its worst case, or calls cannot be booked.
        """
        if self._above is not None:
            self._above.check()
        if self.overrun is not None:
            raise BudgetError(self.overrun)

    def settle(self, model: str, reserved_usd: float, actual_usd: float) -> None:
        """Book what a call cost in place of what was set aside for it (called by its `Reservation`)."""
        with self._lock:
            if actual_usd > reserved_usd * (1 + _ROUNDING) + _ROUNDING and self.overrun is None:
                self.overrun = (
                    f"a call to `{model}` cost {format_dollars(actual_usd)} by what was reported, and "
                    f"{format_dollars(reserved_usd)} was the most that it could cost; no other call goes out, and "
                    "every answer is kept. Look at the model's `price` and `params` in the pool file, or leave "
                    f"{self.setting} out"
                )
            self._reservations -= 1
            # Without a call under way nothing is set aside: rounding must leave no rest.
            self._reserved_usd = self._reserved_usd - reserved_usd if self._reservations else 0.0
            self.spent_usd += actual_usd
            self._wake()

    def _reserve(self, model: str, worst_case_usd: float | None) -> Reservation | Future[None]:
        """Set money aside, or return what is done once another call has been settled."""
        if worst_case_usd is None:
            raise BudgetError(
                f"{self.setting} needs a price for `{model}`, and none is known; "
                "add `price = { input = …, output = … }` to it in the pool file"
            )
        with self._lock:
            self._renew(worst_case_usd)
            self.check()
            if self._fits(worst_case_usd):
                return self._set_aside(model, worst_case_usd)
            self._require(model, worst_case_usd)
            waiting: Future[None] = Future()
            self._waiting.append(waiting)
            return waiting

    def _fits(self, usd: float) -> bool:
        """Whether so much is left: a sum of many worst cases is not more because of how it was rounded."""
        return usd <= self.left_usd + _ROUNDING * usd

    def _set_aside(self, model: str, usd: float, *, is_known: bool = False) -> Reservation:
        """Set money aside.

        Args:
            model: The pool's name of the model.
            usd: How much.
            is_known: Whether it is written down already that it may be spent.
        """
        self._reserved_usd += usd
        self._reservations += 1
        mark = None if is_known else self._mark
        if mark is not None:
            mark.add(usd)
        return Reservation(self, model, usd, mark)

    @property
    def _unspent_usd(self) -> float:
        return self.limit_usd - self.spent_usd - self._held_usd

    def _require(self, model: str, usd: float) -> None:
        if usd > self._unspent_usd:
            left = self._left(self._unspent_usd)
            raise BudgetError(f"a call to `{model}` may cost {format_dollars(usd)}, and {left}")

    def _renew(self, usd: float) -> None:
        """Take the limit of today, where the last one was another day's, or what other runs spend changes it.

        A server outlives many days; calls that are still out count for the new one. What other runs spend is looked at
        before more goes out than was agreed upon, and before a call is refused for good.

        Args:
            usd: What is to be set aside.

        Raises:
            BudgetError: What was spent cannot be read, so that no limit would hold.
        """
        if self._todays is None:
            return
        today = days.now().date()
        if today == self._day and not (self._mark is not None and self._has_to_ask(self._mark, usd)):
            return
        try:
            if self._mark is None:
                self._take(self._todays(self.spent_usd, ()))
            else:
                self._mark.claim(partial(self._agree, self._todays, self._mark, usd))
        except JisiError as error:
            raise BudgetError(f"what may be spent today is not known: {error}") from error
        self._day = today

    def _has_to_ask(self, mark: Mark, usd: float) -> bool:
        if self._fits(usd):
            return self.spent_usd + self._reserved_usd + usd > self._granted_usd or not mark.covers(usd)
        return usd > self._unspent_usd

    def _agree(self, todays: TodaysLimit, mark: Mark, usd: float, others: Sequence[Out]) -> float:
        """Take the limit that what other runs have out leaves; return what this one may have out beyond what it has.

        That is twice of what is out then, so that the next calls need not ask, but no more than half of what is left.
        """
        self._take(todays(self.spent_usd, others))
        self._granted_usd = self.spent_usd + self._reserved_usd
        if not self._fits(usd):
            return 0.0
        more = usd + max(0.0, min(mark.out_usd + usd, (self.left_usd - usd) / 2))
        self._granted_usd += more
        return more

    def _take(self, limit: Limit) -> None:
        self.limit_usd, self.setting, self._about = limit.usd, limit.setting, limit.about

    def _left(self, usd: float) -> str:
        """Say what is left, and what helps."""
        left = format_dollars(max(0.0, usd))
        if self._about is not None:
            return f"{left} are left: {self._about}"
        return f"{left} of {format_dollars(self.limit_usd)} are left; raise {self.setting} or lower `max_tokens`"

    def _wake(self) -> None:
        """Let those that wait look again; one that was cancelled meanwhile no longer wants to."""
        for waiting in self._waiting:
            if waiting.set_running_or_notify_cancel():
                waiting.set_result(None)
        self._waiting.clear()


question_budget: ContextVar[Budget | None] = ContextVar("question_budget", default=None)
"""What the question that a call belongs to may cost; None for what the run may. A pool is shared by many questions."""


@dataclass(frozen=True, slots=True)
class PerMinute:
    """What a provider allows one model in a minute; None for no limit."""

    requests: float | None = None
    tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a pool.

    Attributes:
        concurrency: Calls out at one time, over all models.
        per_model: The same for each model whose pool entry sets no `concurrency`; None for no limit.
        per_minute: What the models may do in a minute, by the pool's name of the model.
    """

    concurrency: int = 16
    per_model: int | None = None
    per_minute: Mapping[str, PerMinute] = field(default_factory=dict)


class RateLimiter:
    """Lets calls through up to the limits; a model that says "later" is left alone until then."""

    def __init__(self, limits: Limits, entries: Iterable[ModelEntry]) -> None:
        self._all = asyncio.Semaphore(limits.concurrency)
        self._models = {
            entry.name: asyncio.Semaphore(most)
            for entry in entries
            if (most := entry.concurrency or limits.per_model) is not None
        }
        self._per_minute = limits.per_minute
        self._closed_until: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, model: str) -> AsyncIterator[None]:
        """Wait for a turn with a model and hold it."""
        # The model's own turn comes first: a call that waits for a busy model must not block the others.
        async with self._models.get(model) or nullcontext():
            await self._enter(model)
            try:
                yield
            finally:
                self._all.release()

    def close_for(self, model: str, seconds: float) -> None:
        """Start no call to a model for some seconds: it said when to come back."""
        self._closed_until[model] = max(_now() + seconds, self._closed_until.get(model, 0.0))

    def count_tokens(self, model: str, tokens: int) -> None:
        """Let a model rest for as long as these tokens take at its rate."""
        rate = self._per_minute.get(model, PerMinute())
        if rate.tokens is not None:
            self._closed_until[model] = max(_now(), self._closed_until.get(model, 0.0)) + 60 * tokens / rate.tokens

    async def _enter(self, model: str) -> None:
        """Take one of the turns over all models, at a moment when this model may be called."""
        await self._all.acquire()
        while (wait := self._closed_until.get(model, 0.0) - _now()) > 0:
            self._all.release()
            await asyncio.sleep(wait)
            await self._all.acquire()
        rate = self._per_minute.get(model, PerMinute())
        if rate.requests is not None:
            # Evenly spaced: a provider may count any sixty seconds, or fewer.
            self.close_for(model, 60 / rate.requests)


def _now() -> float:
    return asyncio.get_running_loop().time()
