"""What the requests of a run can cost by batch, and which of them the budget allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from jisi_cli.config import ModelEntry
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.models.batch.terms import batch_share
from jisi_cli.models.call import Call
from jisi_cli.models.limits import Budget, Reservation
from jisi_cli.models.worst_case import worst_case_of


class Funds:
    """Prices requests at their most, and sets money aside; it never waits for money.

    Others wait, while requests are submitted, to take in what would set it free.

    Args:
        budget: What calls may cost; None for no limit.
        warn: Told where the price of a batch is not known.
    """

    def __init__(self, budget: Budget | None, warn: Callable[[str], None]) -> None:
        self._budget, self._warn = budget, warn
        self._shares: dict[str, float] = {}
        self._worst: dict[str, float | None] = {}

    def share(self, entry: ModelEntry) -> float:
        """Return what a batch costs of a model's list price; where that is not known, as much."""
        if entry.name not in self._shares:
            share = batch_share(entry)
            if share is None:
                self._warn(
                    f"{entry.name}: the price of a batch there is not known, so list price is assumed; "
                    "`price = { …, batch = 0.5 }` in the pool file says that it is half"
                )
            self._shares[entry.name] = 1.0 if share is None else share
        return self._shares[entry.name]

    def worst(self, key: str) -> float | None:
        """Return the most that a priced request can cost, in dollars; None where unknown."""
        return self._worst.get(key)

    async def price(self, call: Call) -> None:
        """Find out what a call can cost at most, by batch.

        Without a limit of this run it is noted all the same, since the limits of other runs count what is under way.

        Raises:
            BudgetError: There is a limit, and the price is not known.
            InputError: There is a limit, and a parameter makes it unknowable.
        """
        if call.key in self._worst:
            return
        listed = None
        try:
            listed = await worst_case_of(call.entry, call.messages, call.parameters)
            if listed is None and self._budget is not None:
                await self._budget.reserve(call.entry.name, None)  # which says what is missing
        except (BudgetError, InputError):
            if self._budget is not None:
                raise
        self._worst[call.key] = None if listed is None else listed * self.share(call.entry)

    def affordable(self, calls: Sequence[Call]) -> tuple[list[Call], list[Call]]:
        """Return those of priced calls that fit what is left of the budget, and the others."""
        if self._budget is None:
            return list(calls), []
        room = self._budget.left_usd
        fitting, rest = list[Call](), list[Call]()
        for call in calls:
            worst = self._worst[call.key] or 0.0
            if worst <= room:
                room -= worst
                fitting.append(call)
            else:
                rest.append(call)
        return fitting, rest

    @property
    def has_limit(self) -> bool:
        """Whether there is a budget."""
        return self._budget is not None

    def set_aside(self, entry: ModelEntry, worst: Iterable[float | None]) -> Reservation | None:
        """Set money aside for requests; None where others of this run have taken it, or there is no limit.

        Raises:
            BudgetError: There is not enough, and will not be.
        """
        return None if self._budget is None else self._budget.reserve_now(entry.name, _sum(worst))

    def take_over(self, entry: ModelEntry, worst: Iterable[float | None]) -> Reservation | None:
        """Count what another run has submitted as this one's; None without a limit."""
        return None if self._budget is None else self._budget.take_over(entry.name, _sum(worst))

    def require(self, call: Call) -> None:
        """Do nothing where a call fits what will be left when other calls of this run have ended.

        Raises:
            BudgetError: It does not.
        """
        if self._budget is not None:
            self._budget.require(call.entry.name, self._worst.get(call.key) or 0.0)


def _sum(worst: Iterable[float | None]) -> float:
    return math.fsum(usd or 0.0 for usd in worst)
