"""The reference model of a comparison: its price, and what a bank recorded of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jisi_cli.accounting.saving import RecordedUse, Reference
from jisi_cli.bank.bank import Bank
from jisi_cli.config import ModelEntry, Price
from jisi_cli.errors import InputError
from jisi_cli.llm.live import query_hash
from jisi_cli.pricing import price_of_call


def read_reference(
    name: str, pool: Sequence[ModelEntry], prices: Mapping[str, Price], bank: Bank | None, where: Path | None
) -> Reference:
    """Return a model to compare with.

    Args:
        name: A model of the pool or of the bank, or LiteLLM's name of one.
        pool: The pool's models, with their prices.
        prices: List prices by model; they win.
        bank: Where its recorded answers are looked up; None for nowhere.
        where: The pool file, for messages.

    Raises:
        InputError: Neither a price nor a recorded answer of the model is known.
        BankError: The bank cannot be read.
    """
    found = next((entry for entry in pool if entry.name == name), ModelEntry(name, name))
    entry = ModelEntry(name, found.litellm, price=prices.get(name, found.price))
    recorded = recorded_use(bank, name) if bank is not None and name in bank.models else {}
    if not recorded and price_of_call(entry, 1, 1).usd is None:
        raise InputError(
            f"--against: nobody knows a price of `{name}`, and no bank has answers of it; add it with its price to "
            f"{where or 'a pool file (--config)'}, name a file with --prices, or a bank that holds it with --bank"
        )
    return Reference(name, lambda prompt, completion: price_of_call(entry, prompt, completion).usd, recorded)


def recorded_use(bank: Bank, model: str) -> dict[str, RecordedUse]:
    """Return what a model took for each question of a bank that it answered, by SHA-256 of the question."""
    columns = bank.answers(model)
    found: dict[str, RecordedUse] = {}
    answered = np.isin(columns.status, ("ok", "unscored"))
    for row in np.flatnonzero(answered).tolist():
        use = RecordedUse(
            _whole(columns.prompt_tokens[row]), _whole(columns.completion_tokens[row]), _known(columns.cost_usd[row])
        )
        if use.cost_usd is not None or (use.prompt_tokens is not None and use.completion_tokens is not None):
            found.setdefault(query_hash(bank.questions[row].query), use)
    return found


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _whole(value: float) -> int | None:
    return None if np.isnan(value) else int(value)
