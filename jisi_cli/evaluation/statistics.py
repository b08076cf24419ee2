"""Averages of the paper's protocol and intervals of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_CHUNK = 500
INTERVAL = (2.5, 97.5)
"""Percentiles between which 95 % lie."""


@dataclass(frozen=True, slots=True)
class Averages:
    """Mean scores of one method.

    Attributes:
        datasets: Mean score by dataset.
        average: Mean over datasets with equal weight, the paper's "Avg" (§4.1).
        weighted: Mean over questions.
    """

    datasets: dict[str, float]
    average: float
    weighted: float


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one method is better than another on the same questions.

    Attributes:
        versus: Name of the other method.
        average: Difference of the two averages.
        low: Lower end of the 95 % interval.
        high: Upper end.
        wins: Questions with the higher score.
        ties: Questions with equal scores.
        losses: Questions with the lower score.
        questions: Questions that both answered with a known score.
    """

    versus: str
    average: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    questions: int


def averages(scores: NDArray[np.float64], datasets: Sequence[str]) -> Averages:
    """Average scores by dataset, then over datasets, and over questions.

    Args:
        scores: Score of each question (n,), n >= 1, without NaN.
        datasets: Dataset of each question (n,).
    """
    labels = np.array(datasets)
    means = {name: _mean(scores[labels == name]) for name in sorted(set(datasets))}
    return Averages(means, math.fsum(means.values()) / len(means), _mean(scores))


def paired_difference(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    datasets: Sequence[str],
    versus: str,
    rng: np.random.Generator,
) -> Difference:
    """Compare two methods on the same questions by a paired bootstrap of the average.

    Questions are drawn with replacement within each dataset, so that every resample has the test set's
    own sizes; the interval holds the middle 95 % of 10,000 differences of the averages. Datasets of one
    question say nothing of how questions differ within them: they are drawn from one another.

    Args:
        ours: Scores (n,), NaN where unknown.
        theirs: Scores of the other method on the same questions (n,), NaN where unknown.
        datasets: Dataset of each question (n,).
        versus: Name of the other method.
        rng: Source of the resamples.
    """
    known = ~np.isnan(ours) & ~np.isnan(theirs)
    difference = (ours - theirs)[known]
    if not len(difference):
        return Difference(versus, math.nan, math.nan, math.nan, 0, 0, 0, 0)
    labels = np.array(datasets)[known]
    groups = [difference[labels == name] for name in sorted(set(labels.tolist()))]
    strata, weights = _strata(groups)
    resampled = np.average([_resampled_means(stratum, rng) for stratum in strata], axis=0, weights=weights)
    low, high = np.percentile(resampled, INTERVAL)
    return Difference(
        versus=versus,
        average=math.fsum(_mean(group) for group in groups) / len(groups),
        low=float(low),
        high=float(high),
        wins=int((difference > 0).sum()),
        ties=int((difference == 0).sum()),
        losses=int((difference < 0).sum()),
        questions=len(difference),
    )


def _strata(groups: Sequence[NDArray[np.float64]]) -> tuple[list[NDArray[np.float64]], list[int]]:
    """Return what is drawn from together, and for how many datasets each stands."""
    strata = [group for group in groups if len(group) > 1]
    alone = [group for group in groups if len(group) == 1]
    weights = [1] * len(strata)
    return ([*strata, np.concatenate(alone)], [*weights, len(alone)]) if alone else (strata, weights)


def _resampled_means(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Means of bootstrap resamples (RESAMPLES,), in chunks that bound the memory."""
    parts = []
    for start in range(0, RESAMPLES, _CHUNK):
        size = min(_CHUNK, RESAMPLES - start)
        parts.append(values[rng.integers(0, len(values), size=(size, len(values)))].mean(axis=1))
    return np.concatenate(parts)


def _mean(values: NDArray[np.float64]) -> float:
    return math.fsum(values.tolist()) / len(values)
