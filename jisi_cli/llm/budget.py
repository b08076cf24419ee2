"""A hard limit on the dollars of one run: no call starts unless its worst case fits what is left."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from jisi_cli.errors import BudgetError

_ROUNDING = 1e-9


class Reservation:
    """Money set aside for one call until it is known what the call cost."""

    def __init__(self, budget: Budget, model: str, usd: float) -> None:
        self._budget = budget
        self._model = model
        self._usd: float | None = usd

    def settle(self, actual_usd: float | None) -> None:
        """Replace the reservation by what the call cost.

        Args:
            actual_usd: Dollars; 0 when the call cost nothing. None when that is unknown: the worst case then
                counts as spent, because the limit must hold. More than the worst case ends the run.
        """
        if self._usd is None:
            return
        self._budget.settle(self._model, self._usd, self._usd if actual_usd is None else actual_usd)
        self._usd = None


class Budget:
    """What a run may spend; shared by the calls of an event loop and by the threads that embed.

    Args:
        limit_usd: The most, in dollars.

    Attributes:
        spent_usd: Dollars that are spent, calls of unknown cost at their worst case.
        overrun: Which call cost more than its worst case; None as long as none did. No call starts after it.
    """

    def __init__(self, limit_usd: float) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = 0.0
        self.overrun: str | None = None
        self._reserved_usd = 0.0
        self._reservations = 0
        self._held_usd = 0.0
        self._waiting: list[Future[None]] = []
        self._lock = threading.Lock()

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
        return found

    def reserve_in_thread(self, model: str, worst_case_usd: float | None) -> Reservation:
        """Do the same from a thread other than the one that settles the calls that are out.

        Raises:
            BudgetError: As `reserve` says.
        """
        while isinstance(found := self._reserve(model, worst_case_usd), Future):
            found.result()
        return found

    def hold_back(self, usd: float) -> None:
        """Keep money for a later part of the run; to the calls until then it is as good as spent."""
        with self._lock:
            self._held_usd += usd

    def release_held(self) -> None:
        """Let what was held back be spent: its time has come."""
        with self._lock:
            self._held_usd = 0.0
            self._wake()

    def check(self) -> None:
        """End a run that cost more than could be foreseen, once everything that came in is kept.

        Raises:
            BudgetError: A call cost more than its worst case.
        """
        if self.overrun is not None:
            raise BudgetError(self.overrun)

    def settle(self, model: str, reserved_usd: float, actual_usd: float) -> None:
        """Book what a call cost in place of what was set aside for it (called by its `Reservation`)."""
        with self._lock:
            if actual_usd > reserved_usd * (1 + _ROUNDING) + _ROUNDING and self.overrun is None:
                self.overrun = (
                    f"a call to `{model}` cost ${actual_usd:.6f} by what was reported, and ${reserved_usd:.6f} was the "
                    "most that it could cost; no other call goes out, and every answer is kept. Look at the model's "
                    "`price` and `params` in the pool file, or leave --max-cost out"
                )
            self._reservations -= 1
            # With nothing out there is nobody to wait for, so no rest of rounding may seem to be set aside.
            self._reserved_usd = self._reserved_usd - reserved_usd if self._reservations else 0.0
            self.spent_usd += actual_usd
            self._wake()

    def _reserve(self, model: str, worst_case_usd: float | None) -> Reservation | Future[None]:
        """Set money aside, or return what is done once another call has been settled."""
        if worst_case_usd is None:
            raise BudgetError(
                f"--max-cost needs a price for `{model}`, and nobody knows one; "
                "add `price = { input = …, output = … }` to it in the pool file"
            )
        with self._lock:
            self.check()
            if worst_case_usd <= self.left_usd:
                self._reserved_usd += worst_case_usd
                self._reservations += 1
                return Reservation(self, model, worst_case_usd)
            unspent = self.limit_usd - self.spent_usd - self._held_usd
            if worst_case_usd > unspent:
                raise BudgetError(
                    f"a call to `{model}` may cost ${worst_case_usd:.6f}, and ${max(0.0, unspent):.6f} of "
                    f"${self.limit_usd:g} are left; raise --max-cost or lower `max_tokens`"
                )
            waiting: Future[None] = Future()
            self._waiting.append(waiting)
            return waiting

    def _wake(self) -> None:
        """Let those that wait look again; one that was cancelled meanwhile no longer wants to."""
        for waiting in self._waiting:
            if waiting.set_running_or_notify_cancel():
                waiting.set_result(None)
        self._waiting.clear()
