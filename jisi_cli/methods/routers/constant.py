"""The frame every comparison needs: chance, the cheapest model, the best one, the best one per dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from jisi_cli.errors import InputError
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.scoring import BankArrays


class Fixed:
    """The same ranking for every query.

    Args:
        ranking: Models, best first.
    """

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield the ranking once per query."""
        return (self._ranking for _ in queries)


class PerDataset:
    """One ranking per dataset: an oracle, because it is told where a question comes from.

    Args:
        rankings: Models by dataset, best first.
        otherwise: The ranking for a dataset that the bank has not seen.
    """

    def __init__(self, rankings: Mapping[str, Ranking], otherwise: Ranking) -> None:
        self._rankings, self._otherwise = rankings, otherwise

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield the ranking of each query's dataset."""
        return (self._rankings.get(query.dataset or "", self._otherwise) for query in queries)


class Chance:
    """Any model with equal probability, the same one for the same question whatever surrounds it.

    Args:
        models: Names of the models.
        seed: Seed of the choice.
    """

    def __init__(self, models: Sequence[str], seed: int) -> None:
        self._models, self._seed = sorted(models), seed

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield a random ranking per query."""
        for query in queries:
            # Seeded by the text, so that neither the order of questions nor a resumed run changes it.
            rng = np.random.default_rng([self._seed, *query.text.encode("utf-8", "surrogatepass")])
            yield tuple(self._models[place] for place in rng.permutation(len(self._models)))


def best_first(bank: BankArrays, datasets: Sequence[str]) -> Ranking:
    """Rank models by their mean score over datasets with equal weight; ties by overall mean, then name."""
    scores = _scores_by_dataset(bank, datasets)
    means = [math.fsum(column) / len(column) for column in zip(*scores.values(), strict=True)]
    return _ranking(bank, means)


def best_per_dataset(bank: BankArrays, datasets: Sequence[str]) -> dict[str, Ranking]:
    """Rank models by their mean score within each dataset; ties as in `best_first`."""
    return {name: _ranking(bank, means) for name, means in _scores_by_dataset(bank, datasets).items()}


def cheapest_first(bank: BankArrays, costs: NDArray[np.float64]) -> Ranking:
    """Rank models by what a call costs; a model without a known price comes last.

    Args:
        bank: The bank's arrays.
        costs: Mean dollars per call (M,), NaN where unknown.

    Raises:
        InputError: No price is known.
    """
    if np.isnan(costs).all():
        raise InputError("`cheapest` needs prices; add `price` to the models in the pool file, or pass --prices")
    keys = [(math.inf if math.isnan(cost) else cost, name) for cost, name in zip(costs, bank.model_names, strict=True)]
    return tuple(name for _, name in sorted(keys))


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
