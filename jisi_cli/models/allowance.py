"""What one's own calls may cost in a day and in a month: limits over all runs, kept with the ledger.

The smallest limit counts of what the pool file in force and the user's own one (in the configuration folder) say: a
limit a day is about a person, so that no file in a project's folder can raise it. Days and months begin at midnight in
the time zone of this machine. What other runs have spent, and have out, is looked at before more goes out than was
agreed upon (see `outstanding`), so that the limits hold for runs at the same time, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from jisi_cli import days
from jisi_cli.config import Config, load_config
from jisi_cli.errors import InputError
from jisi_cli.models.ledger import Ledger, Spent
from jisi_cli.paths import config_folder
from jisi_cli.types import format_dollars, is_dollars

if TYPE_CHECKING:
    from jisi_cli.models.limits import Limit
    from jisi_cli.models.outstanding import Out

PERIODS = {"max_cost_per_day": "today", "max_cost_per_month": "this month"}
"""Keys of [budget], and what each is about."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit over all runs of a day or a month.

    Attributes:
        key: Its key in [budget].
        limit_usd: The most, in dollars.
        where: The file that says so; None for an option of the command.
        spent: What calls have cost so far.
        promised_usd: Dollars that batches under way may still cost.
        out_usd: Dollars that calls of other runs may cost, which are under way or were cut off with their run.
    """

    key: str
    limit_usd: float
    where: str | None
    spent: Spent
    promised_usd: float = 0.0
    out_usd: float = 0.0

    @property
    def left_usd(self) -> float:
        """Dollars that are left."""
        return max(0.0, self.limit_usd - self.spent.usd - self.promised_usd - self.out_usd)

    @property
    def setting(self) -> str:
        """What asks for it, for messages."""
        return _setting(self.key, self.where)

    def __str__(self) -> str:
        """Say what was spent, of what, and what to do."""
        spent, number = self.spent, self.spent.unknown
        unsure = f", up to {format_dollars(spent.unsure_usd)} of it by calls of which only the most is known"
        more = unsure if spent.unsure_usd else ""
        more += f", and {number:,} call{'' if number == 1 else 's'} of unknown cost" if number else ""
        if self.promised_usd:
            more += f", and batches under way may cost {format_dollars(self.promised_usd)}"
        if self.out_usd:
            more += f", and calls of other runs, under way or cut off, may cost {format_dollars(self.out_usd)}"
        end = "tomorrow" if self.key == "max_cost_per_day" else "next month"
        return (
            f"{format_dollars(spent.usd)} of {format_dollars(self.limit_usd)} are spent {PERIODS[self.key]}{more} "
            f"(jisi cost --since {_since(self.key)}); raise {self.setting}, or go on {end}"
        )


class RunLimit:
    """What one run may spend: what it was told itself, and what other runs leave of a day and a month.

    Args:
        config: The pool file in force.
        ledger: The calls that were made.
        run: The run, whose own spending is not looked for there.
        own_usd: What the run itself may spend, in dollars; infinite for no limit.
        per_day: What the command was told of a day, in dollars; None for nothing. It raises no file's limit.
        promised: Returns the dollars that batches which began since a moment may still cost.

    Raises:
        InputError: A limit is no number from 0, or the user's own file cannot be read.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        run: str,
        own_usd: float = math.inf,
        per_day: float | None = None,
        promised: Callable[[datetime], float] = lambda start: 0.0,
    ) -> None:
        self._ledger, self._run, self._own_usd, self._promised = ledger, run, own_usd, promised
        self._limits = period_limits(config, per_day)
        self._before: dict[datetime, float] = {}
        """What the run had spent when a day or a month began."""

    @property
    def changes(self) -> bool:
        """Whether other runs, or another day, change it."""
        return bool(self._limits)

    def require_ledger(self) -> None:
        """Refuse a ledger that cannot be written: what this run spends would count for no other run.

        Raises:
            InputError: A day or a month has a limit, and the ledger cannot be written.
        """
        why = self._ledger.why_unwritable() if self.changes else None
        if why is not None:
            raise InputError(
                f"the ledger at {self._ledger.path} cannot be written ({why}), so {self._settings} cannot hold: make "
                "room, allow it, or move away what is in its place; or take the limit out"
            )

    def broken(self, why: str) -> str:
        """Say that the ledger has failed, so that no call may follow.

        Args:
            why: What was wrong.
        """
        return (
            f"the ledger at {self._ledger.path} cannot be written any more ({why}), so {self._settings} cannot hold: "
            "no other call goes out, and every answer is kept; make room or allow it, and start again"
        )

    @property
    def _settings(self) -> str:
        return " and ".join(_setting(key, where) for key, (_, where) in self._limits.items())

    def now(self, spent_usd: float, others: Sequence[Out]) -> Limit:
        """Return what the run may spend in all, as things stand.

        Args:
            spent_usd: What it has spent so far, in dollars.
            others: What other runs have out.

        Raises:
            InputError: The ledger, or the journal of batches, cannot be read.
        """
        from jisi_cli.models.limits import Limit

        found = [self._allowance(key, spent_usd, others) for key in self._limits]
        least = min(found, key=lambda allowance: allowance.left_usd, default=None)
        if least is not None and spent_usd + least.left_usd < self._own_usd:
            return Limit(spent_usd + least.left_usd, least.setting, str(least))
        return Limit(self._own_usd)

    def _allowance(self, key: str, spent_usd: float, others: Sequence[Out]) -> Allowance:
        from jisi_cli.models.outstanding import out_since

        moment = days.now()
        start = days.start_of_day(moment) if key == "max_cost_per_day" else days.start_of_month(moment)
        spent = self._ledger.spent_since(start, self._run)
        # What the run itself has spent it knows best: part of it may not be in the ledger yet.
        own = spent_usd - self._before.setdefault(start, spent_usd)
        limit_usd, where = self._limits[key]
        spent = spent._replace(usd=spent.usd + own)
        return Allowance(key, limit_usd, where or None, spent, self._promised(start), out_since(others, start))


def period_limits(config: Config, per_day: float | None = None) -> dict[str, tuple[float, str]]:
    """Return the smallest limit of a day and of a month, and where it stands; empty for an option of the command.

    Args:
        config: The pool file in force; the user's own one counts, too.
        per_day: What the command was told of a day, in dollars; None for nothing.

    Raises:
        InputError: A limit is no number from 0, or the user's own file cannot be read.
    """
    files = [config, *_own(config)]
    found = {}
    for key in PERIODS:
        limits = [(_limit(file, key), str(file.path)) for file in files if key in file.budget]
        limits += [(per_day, "")] if key == "max_cost_per_day" and per_day is not None else []
        if limits:
            found[key] = min(limits)
    return found


def _own(config: Config) -> list[Config]:
    """Return the user's own pool file, unless it is the one in force or there is none."""
    path = config_folder() / "jisi.toml"
    if not path.is_file() or (config.path is not None and config.path.resolve() == path.resolve()):
        return []
    return [load_config(path)]


def _limit(file: Config, key: str) -> float:
    value = file.budget[key]
    if not is_dollars(value) or value is None:
        raise InputError(f"{file.path}: [budget] {key} must be a number of dollars from 0, not {value!r}")
    return float(value)


def _setting(key: str, where: str | None) -> str:
    """Return what asks for a limit, for messages."""
    return f"{key} in {where}" if where else f"--{key.replace('_', '-')}"


def _since(key: str) -> str:
    return "today" if key == "max_cost_per_day" else days.start_of_month(days.now()).date().isoformat()
