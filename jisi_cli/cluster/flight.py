"""A call that a worker makes, as the driver sees it: what money and which turn it holds, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace

from jisi_cli.cluster.call_messages import Grant, ToWorker
from jisi_cli.errors import BudgetError
from jisi_cli.models.call import Call, Course, Outcome
from jisi_cli.models.limits import Budget, RateLimiter, Reservation
from jisi_cli.types import is_dollars, whole_sum


class Line:
    """The line to one worker: messages that wait to be sent, and the calls that it makes."""

    def __init__(self) -> None:
        self.flights: dict[int, Flight] = {}
        self._mail: list[ToWorker] = []
        self._has_mail = asyncio.Event()

    def send(self, message: ToWorker) -> None:
        """Send a message, with all others that wait by then."""
        self._mail.append(message)
        self._has_mail.set()

    async def mail(self) -> list[ToWorker]:
        """Return what is to be sent, as soon as there is anything."""
        await self._has_mail.wait()
        self._has_mail.clear()
        mail, self._mail = self._mail, []
        return mail


@dataclass(eq=False, slots=True)
class Flight:
    """A call that a worker makes.

    Attributes:
        number: What it is called in messages.
        call: What is sent.
        course: What happened to it, for whoever cuts it off.
        budget: What it may spend from; None for no limit.
        line: To the worker that makes it.
        ended: How it ended: an outcome, an error, or None where the worker died.
    """

    number: int
    call: Call
    course: Course
    budget: Budget | None
    line: Line
    ended: asyncio.Future[Outcome | Exception | None]
    _reservation: Reservation | None = None
    _worst_usd: float | None = None
    _is_out: bool = False
    _turn_ended: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _lost: tuple[int, int] = (0, 0)
    """How many of the attempts, and of what the budget counts for them, were of workers that died."""

    def wants_money(self, usd: float | None) -> None:
        """Set the worst case of an attempt aside, and then tell the worker; what is no price is none."""
        self._begin(self._reserve(usd if is_dollars(usd) else None))

    def wants_turn(self, limiter: RateLimiter) -> None:
        """Wait for a turn, tell the worker, and hold it until the attempt has ended."""
        self._begin(self._take_turn(limiter))

    def turn_ended(self) -> None:
        """Give back the turn."""
        self._turn_ended.set()

    def settle(self, usd: float | None) -> None:
        """Book what an attempt cost; None, or what no call can cost, counts as its worst case."""
        if self._reservation is None:
            return
        usd = usd if is_dollars(usd) else None
        # What never went out costs nothing, whatever becomes of its worker.
        self._reservation.settle(usd if self._is_out else 0.0)
        if self._is_out:
            self.course.costs[-1] = usd
            self.course.counted.append(self._worst_usd if usd is None else usd)
        self._reservation, self._is_out = None, False

    def let_go(self) -> None:
        """Give back what it holds, its attempt at the worst case: its worker is dead, or nobody waits any more."""
        for task in list(self._tasks):
            task.cancel()
        self.settle(None)

    def end(self, ended: Outcome | Exception) -> None:
        """Take note of how it ended; whatever its worker did not settle counts as spent, and is not waited for."""
        self.let_go()
        self.ended.set_result(ended)

    def lose(self) -> None:
        """Take note that its worker died."""
        self.let_go()
        self._lost = len(self.course.costs), len(self.course.counted)
        if not self.ended.done():
            self.ended.set_result(None)

    def outcome(self, last: Outcome) -> Outcome:
        """Return how it ended, with the attempts of workers that died."""
        attempts, counted = self._lost
        if not attempts:
            return last
        most = None if self.budget is None else whole_sum([*self.course.counted[:counted], last.most_cost_usd])
        cost = whole_sum([*self.course.costs[:attempts], last.cost_usd])
        return replace(last, attempts=attempts + last.attempts, cost_usd=cost, most_cost_usd=most)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reserve(self, usd: float | None) -> None:
        assert self.budget is not None
        try:
            self._reservation = await self.budget.reserve(self.call.entry.name, usd)
        except BudgetError as error:
            self.line.send(Grant(self.number, error))
            return
        self.course.until_booked.append(self._reservation.booked)
        self._worst_usd = usd
        self.line.send(Grant(self.number))

    async def _take_turn(self, limiter: RateLimiter) -> None:
        async with limiter.turn(self.call.entry.name):
            try:
                if self.budget is not None:
                    self.budget.check()
            except BudgetError as error:
                self.line.send(Grant(self.number, error))
                return
            # From here on the request may be out, whatever becomes of the worker.
            self.course.begin_attempt()
            self._is_out = True
            self._turn_ended.clear()
            self.line.send(Grant(self.number))
            await self._turn_ended.wait()
