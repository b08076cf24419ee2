"""Which of several ways to learn does better on train rows that it did not learn from: by cross-validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.methods.examples import Examples
from jisi_cli.methods.ranked import Ranking
from jisi_cli.scoring import Floats, Rows

FOLDS = 3
LEAST_ROWS = 60
"""Train rows from which on a comparison says anything; with fewer there is none."""

Rank = Callable[[Floats], Sequence[Ranking]]
"""Ranks the models for query vectors (n, d)."""

Learn = Callable[[Examples], Rank]
"""Learns from rows how to rank."""


def cross_validated(examples: Examples, ways: Sequence[Learn], seed: int) -> Floats:
    """Return what each way's first choices score on held-out rows: the mean over datasets of their means (W,).

    Where the first choice has no answer, the next one's counts, as in a replay. NaN for all where rows are few.

    Args:
        examples: Train rows.
        ways: W ways to learn.
        seed: Seed of the folds.
    """
    count = len(examples.datasets)
    found = np.full((len(ways), count), np.nan)
    if count < LEAST_ROWS:
        return np.full(len(ways), np.nan)
    folds = np.random.default_rng([seed, count]).permutation(count) % FOLDS
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        rest = some_rows(examples, outside)
        for place, learn in enumerate(ways):
            rankings = learn(rest)(examples.vectors[inside].astype(np.float64))
            found[place, inside] = [
                _score(examples, row, ranking) for row, ranking in zip(inside.tolist(), rankings, strict=True)
            ]
    return np.array([_average(row, examples.datasets) for row in found])


def some_rows(examples: Examples, rows: Rows) -> Examples:
    """Return some rows of the examples, in the order given."""
    return replace(
        examples,
        vectors=examples.vectors[rows],
        scores=examples.scores[rows],
        present=examples.present[rows],
        tokens=examples.tokens[rows],
        datasets=tuple(examples.datasets[row] for row in rows.tolist()),
        rows=examples.rows[rows],
    )


def _score(examples: Examples, row: int, ranking: Ranking) -> float:
    places = (examples.models.index(name) for name in ranking)
    return next((float(examples.scores[row, place]) for place in places if examples.present[row, place]), math.nan)


def _average(scores: NDArray[Any], datasets: Sequence[str]) -> float:
    labels = np.array(datasets)
    means = []
    for name in sorted(set(datasets)):
        known = scores[(labels == name) & ~np.isnan(scores)].tolist()
        if known:
            means.append(math.fsum(known) / len(known))
    return math.fsum(means) / len(means) if means else math.nan
