"""What one's own calls may cost in a day and in a month: limits over all runs, kept with the ledger.

The smallest limit counts of what the pool file in force and the user's own one (in the configuration folder) say: a
limit a day is about a person, so that no file in a project's folder can raise it. Days and months begin at midnight in
the time zone of this machine. What is known of past calls is summed when a run begins, and when the day turns while it
goes on; runs at the same time do not see each other's calls meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from jisi_cli import days
from jisi_cli.config import Config, load_config
from jisi_cli.errors import InputError
from jisi_cli.models.ledger import Ledger, Spent
from jisi_cli.paths import config_folder
from jisi_cli.types import format_dollars, is_dollars

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
    """

    key: str
    limit_usd: float
    where: str | None
    spent: Spent
    promised_usd: float = 0.0

    @property
    def left_usd(self) -> float:
        """Dollars that are left."""
        return max(0.0, self.limit_usd - self.spent.usd - self.promised_usd)

    @property
    def setting(self) -> str:
        """What asks for it, for messages."""
        return f"{self.key} in {self.where}" if self.where else f"--{self.key.replace('_', '-')}"

    def __str__(self) -> str:
        """Say what was spent, of what, and what to do."""
        spent, number = self.spent, self.spent.unknown
        unsure = f", up to {format_dollars(spent.unsure_usd)} of it by calls of which only the most is known"
        more = unsure if spent.unsure_usd else ""
        more += f", and {number:,} call{'' if number == 1 else 's'} of unknown cost" if number else ""
        if self.promised_usd:
            more += f", and batches under way may cost {format_dollars(self.promised_usd)}"
        end = "tomorrow" if self.key == "max_cost_per_day" else "next month"
        return (
            f"{format_dollars(spent.usd)} of {format_dollars(self.limit_usd)} are spent {PERIODS[self.key]}{more} "
            f"(jisi cost --since {_since(self.key)}); raise {self.setting}, or go on {end}"
        )


def allowances(
    config: Config,
    ledger: Ledger,
    per_day: float | None = None,
    promised: Callable[[datetime], float] = lambda start: 0.0,
) -> list[Allowance]:
    """Return the limits a day and a month that are in force, with what was spent of them.

    Args:
        config: The pool file in force.
        ledger: The calls that were made.
        per_day: What the command was told of a day, in dollars; None for nothing. It raises no file's limit.
        promised: Returns the dollars that batches which began since a moment may still cost.

    Raises:
        InputError: A limit is no number from 0, or the ledger or the user's own file cannot be read.
    """
    found = []
    now = days.now()
    told = {} if per_day is None else {"max_cost_per_day": per_day}
    files = [config, *_own(config)]
    for key in PERIODS:
        limits = [(_limit(file, key), str(file.path)) for file in files if key in file.budget]
        limits += [(told[key], "")] if key in told else []
        if limits:
            smallest, where = min(limits)
            start = days.start_of_day(now) if key == "max_cost_per_day" else days.start_of_month(now)
            found.append(Allowance(key, smallest, where or None, ledger.spent_since(start), promised(start)))
    return found


def smallest(found: Iterable[Allowance]) -> Allowance | None:
    """Return the limit of which least is left; None for none."""
    return min(found, key=lambda allowance: allowance.left_usd, default=None)


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


def _since(key: str) -> str:
    return "today" if key == "max_cost_per_day" else days.start_of_month(days.now()).date().isoformat()
