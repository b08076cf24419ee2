"""A hard limit on the dollars of one run: no call starts unless its worst case fits what is left."""

from __future__ import annotations

import asyncio

from jisi_cli.errors import BudgetError


class Reservation:
    """Money set aside for one call until it is known what the call cost."""

    def __init__(self, budget: Budget, usd: float) -> None:
        self._budget = budget
        self._usd: float | None = usd

    def settle(self, actual_usd: float | None) -> None:
        """Replace the reservation by what the call cost.

        Args:
            actual_usd: Dollars; 0 when the call cost nothing. None when that is unknown: the worst case then
                counts as spent, because the limit must hold.
        """
        if self._usd is None:
            return
        self._budget.settle(self._usd, self._usd if actual_usd is None else actual_usd)
        self._usd = None


class Budget:
    """What a run may spend; for one event loop.

    Args:
        limit_usd: The most, in dollars.
    """

    def __init__(self, limit_usd: float) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = 0.0
        self._reserved_usd = 0.0
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def left_usd(self) -> float:
        """Dollars that are neither spent nor set aside."""
        return self.limit_usd - self.spent_usd - self._reserved_usd

    async def reserve(self, model: str, worst_case_usd: float | None) -> Reservation:
        """Set aside the worst case of one call.

        A call that would fit but for the reservations of calls still out waits for them: most cost less
        than their worst case.

        Args:
            model: The pool's name of the model, for messages.
            worst_case_usd: The most the call can cost; None when there is no price.

        Raises:
            BudgetError: There is no price, or the worst case is more than the run has left.
        """
        if worst_case_usd is None:
            raise BudgetError(
                f"--max-cost needs a price for `{model}`, and nobody knows one; "
                "add `price = { input = …, output = … }` to the model in the pool file"
            )
        while worst_case_usd > self.left_usd:
            unspent = self.limit_usd - self.spent_usd
            if worst_case_usd > unspent:
                raise BudgetError(
                    f"a call to `{model}` may cost ${worst_case_usd:.6f}, and ${unspent:.6f} of "
                    f"${self.limit_usd:g} are left; raise --max-cost or lower `max_tokens`"
                )
            await self._settlement()
        self._reserved_usd += worst_case_usd
        return Reservation(self, worst_case_usd)

    def settle(self, reserved_usd: float, actual_usd: float) -> None:
        """Book what a call cost in place of what was set aside for it (called by its `Reservation`)."""
        self._reserved_usd -= reserved_usd
        self.spent_usd += actual_usd
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def _settlement(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
