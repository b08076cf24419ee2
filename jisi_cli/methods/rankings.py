"""Rankings of the models by train data alone: the best first, the best of each dataset, the cheapest first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jisi_cli.errors import InputError
from jisi_cli.scoring import BankArrays, Floats, rank

Ranking = tuple[str, ...]
"""Models by name, best first."""


def best_first(bank: BankArrays, datasets: Sequence[str]) -> Ranking:
    """Rank models by their mean score over datasets with equal weight; ties by overall mean, then name."""
    scores = _scores_by_dataset(bank, datasets)
    means = [math.fsum(column) / len(column) for column in zip(*scores.values(), strict=True)]
    return _ranking(bank, means)


def best_per_dataset(bank: BankArrays, datasets: Sequence[str]) -> dict[str, Ranking]:
    """Rank models by their mean score within each dataset; ties as in `best_first`."""
    return {name: _ranking(bank, means) for name, means in _scores_by_dataset(bank, datasets).items()}


def best_overall(bank: BankArrays) -> Ranking:
    """Rank models by their mean score on the train rows that they answered, whatever the dataset; ties by name."""
    no_scores = np.zeros(len(bank.model_names))
    return tuple(bank.model_names[model] for model in rank(bank, no_scores, "paper"))


def cheapest_first(bank: BankArrays, costs: Floats, method: str) -> Ranking:
    """Rank models by what a call costs; a model without a known price comes last.

    Args:
        bank: The bank's arrays.
        costs: Mean dollars per call (M,), NaN where unknown.
        method: Who asks, for the error message.

    Raises:
        InputError: No price is known.
    """
    require_prices(costs, method)
    keys = [(math.inf if math.isnan(cost) else cost, name) for cost, name in zip(costs, bank.model_names, strict=True)]
    return tuple(name for _, name in sorted(keys))


def require_prices(costs: Floats, method: str) -> None:
    """Refuse to go on without any price.

    Args:
        costs: Mean dollars per call (M,), NaN where unknown.
        method: Which method needs them.

    Raises:
        InputError: No price is known.
    """
    if np.isnan(costs).all():
        raise InputError(f"`{method}` needs prices; add `price` to the models in the pool file, or pass --prices")


def _scores_by_dataset(bank: BankArrays, datasets: Sequence[str]) -> dict[str, list[float]]:
    labels = np.array(datasets)
    found = {}
    for name in sorted(set(datasets)):
        rows = labels == name
        columns = zip(bank.scores[rows].T, bank.present[rows].T, strict=True)
        found[name] = [_mean(scores[present]) for scores, present in columns]
    return found


def _mean(values: NDArray[np.float64]) -> float:
    return math.fsum(values.tolist()) / len(values) if len(values) else 0.0


def _ranking(bank: BankArrays, means: Sequence[float]) -> Ranking:
    keys = zip((-mean for mean in means), (-bank.mean_scores).tolist(), bank.model_names, strict=True)
    return tuple(name for _, _, name in sorted(keys))
