"""Mean dollars of a call per model, from what was recorded on train rows or from list prices."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.config import Price
from jisi_cli.errors import InputError
from jisi_cli.files import read_plain
from jisi_cli.types import is_price

_MOST_BYTES = 64 * 2**20


def row_dollars(bank: Bank, models: Sequence[str], prices: Mapping[str, Price]) -> NDArray[np.float64]:
    """Return dollars of every answer on the train rows (N, M); NaN where neither dollars nor a price are known.

    Args:
        bank: The bank.
        models: M of its models.
        prices: List prices, for models without any recorded dollars.
    """
    found = []
    for model in models:
        columns = bank.answers(model)
        recorded = columns.cost_usd[bank.train_rows]
        price = prices.get(model)
        if np.isnan(recorded).all() and price is not None:
            prompt, completion = columns.prompt_tokens[bank.train_rows], columns.completion_tokens[bank.train_rows]
            recorded = (prompt * price.input + completion * price.output) / 1e6
        found.append(recorded)
    return np.stack(found, axis=1)


def mean_costs(dollars: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mean dollars of a call (M,) from those of single answers (N, M); NaN where none is known."""
    costs = []
    for column in dollars.T:
        known = column[~np.isnan(column)]
        costs.append(math.fsum(known.tolist()) / len(known) if len(known) else math.nan)
    return np.array(costs)


def read_prices(path: Path) -> dict[str, Price]:
    """Read list prices: `{"model": {"input": USD, "output": USD}}` per million tokens, null for unknown.

    Raises:
        InputError: The file is not of that shape.
    """
    try:
        data = json.loads(read_plain(path, _MOST_BYTES).decode("utf-8"))
        found = {str(model): price for model, price in data.items() if price is not None}
        return {model: Price(_dollars(price["input"]), _dollars(price["output"])) for model, price in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f'{path}: cannot be read as prices ({reason}); write {{"model": {{"input": 1.0, "output": 2.0}}}} '
            "in USD per million tokens"
        ) from error


def _dollars(value: object) -> float:
    if not is_price(value):
        raise ValueError(f"{value!r} is not a number of dollars")
    return float(value)
