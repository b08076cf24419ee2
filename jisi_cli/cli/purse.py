"""What the calls of one run share: its name in the ledger, and the money that it may spend."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jisi_cli.cli.output import Output
from jisi_cli.config import Config, ModelEntry
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.errors import InputError
from jisi_cli.models.address import environment_addresses

if TYPE_CHECKING:
    from jisi_cli.embed.account import EmbeddingAccount
    from jisi_cli.models.ledger import Ledger
    from jisi_cli.models.limits import Budget
    from jisi_cli.models.live import Run

_ENDPOINT = "litellm:"
_LARGEST = sys.float_info.max
"""A whole number in a pool file may be larger than any that is reckoned with."""


@dataclass(frozen=True, slots=True)
class Purse:
    """One run's money and books, for models and for the embedder alike.

    Attributes:
        run: What the ledger says about where calls come from.
        ledger: Where they are booked.
        budget: What they may cost together; None for no limit.
    """

    run: Run
    ledger: Ledger
    budget: Budget | None

    @property
    def overrun(self) -> str | None:
        """Which call cost more than its worst case; None where none did, or where nothing limits the cost."""
        return None if self.budget is None else self.budget.overrun

    def check(self) -> None:
        """End a run that cost more than could be foreseen, once everything that came in is kept and shown.

        Raises:
            BudgetError: A call cost more than its worst case.
        """
        if self.budget is not None:
            self.budget.check()

    def embedding_account(self, entry: ModelEntry) -> EmbeddingAccount:
        """Return what pays for the requests of an embedder that is an endpoint."""
        from jisi_cli.embed.account import EmbeddingAccount

        return EmbeddingAccount(entry, self.run, self.ledger, self.budget)


def endpoint_entry(spec: EmbedderSpec, config: Config) -> ModelEntry | None:
    """Return an embedder that is an endpoint as a pool would name it; None for one that works on this machine."""
    if not spec.name.startswith(_ENDPOINT):
        return None
    model, endpoint = spec.name.removeprefix(_ENDPOINT), config.endpoint
    return ModelEntry(
        spec.name, model, api_base=endpoint.api_base, api_key_env=endpoint.api_key_env, price=endpoint.price
    )


def endpoint_address(entry: ModelEntry) -> dict[str, str]:
    """Return what says where an embedder that is an endpoint answers, beyond its name."""
    named = {} if entry.api_base is None else {"api_base": entry.api_base}
    return {**named, **environment_addresses(entry.litellm, entry.api_base)}


def open_purse(config: Config, command: str, max_cost: float | None, out: Output) -> Purse:
    """Return the purse of a run.

    Args:
        config: Its [budget] names the limit where the command line does not.
        command: What the ledger calls the run.
        max_cost: The limit of the command line, in dollars.
        out: Where a ledger that cannot be written is reported.

    Raises:
        InputError: The limit makes no sense.
    """
    from jisi_cli.models.ledger import Ledger, ledger_path
    from jisi_cli.models.limits import Budget
    from jisi_cli.models.live import Run

    limit = budget_limit(max_cost, config, "max_cost")
    return Purse(
        run=Run(id=secrets.token_hex(8), command=command),
        ledger=Ledger(ledger_path(), warn=out.warn),
        budget=Budget(limit) if limit is not None else None,
    )


def budget_limit(flag: float | None, config: Config, key: str) -> float | None:
    """Return a limit of the command line, else of the configuration's [budget]; None where neither names one.

    Raises:
        InputError: It is not a number from 0.
    """
    if flag is not None:
        return amount(flag, f"--{key.replace('_', '-')}")
    if key in config.budget:
        return amount(config.budget[key], f"{config.path}: [budget] {key}")
    return None


def amount(value: object, what: str) -> float:
    """Return a setting that is a number from 0.

    Raises:
        InputError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise InputError(f"{what} must be a number from 0, not {value!r}")
    return float(value)
