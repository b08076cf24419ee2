"""Averages of the paper's protocol, intervals of paired differences, and whether a confidence can be believed."""

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


def average_difference(difference: NDArray[np.float64], datasets: Sequence[str]) -> float:
    """Return the mean over datasets of mean differences (n,), NaN left out; NaN when nothing is known."""
    known = ~np.isnan(difference)
    if not known.any():
        return math.nan
    return averages(difference[known], np.array(datasets)[known].tolist()).average


def repeated_difference(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    datasets: Sequence[str],
    versus: str,
    rng: np.random.Generator,
) -> Difference:
    """Compare two methods over several splits of the same questions, by a bootstrap of splits and questions together.

    The estimate D is the mean over splits of the difference of the two averages. A question is a test question of
    several splits, so that the splits are no independent samples: dividing their standard deviation by the root of
    their number would promise too much. Each of 10,000 resamples therefore adds two deviations to D:

    - Questions are drawn with replacement within each dataset, once for all splits together. Their deviation is the
      sum of the influences of those drawn (the linear part of D), so that a resample may lack every test question of a
      split. Datasets with one test question are drawn from one another.
    - Splits are drawn with replacement. Their deviation is the mean of what was drawn less D, times sqrt(S / (S - 1)),
      since few values drawn from themselves differ too little.

    The interval holds the middle 95 %. As splits differ also because their questions do, the second part counts some of
    the first again: the interval is rather too wide than too narrow, by about a seventh with five splits of which the
    methods' own differences hardly depend.

    Args:
        ours: Scores on each split (S, n), NaN where a question is not tested there, or has no score.
        theirs: Scores of the other method (S, n).
        datasets: Dataset of each question (n,).
        versus: Name of the other method.
        rng: Source of the resamples.
    """
    difference = ours - theirs
    known = ~np.isnan(difference)
    if not known.any():
        return Difference(versus, math.nan, math.nan, math.nan, 0, 0, 0, 0)
    difference = difference[known.max(axis=1)]
    by_split = np.array([average_difference(row, datasets) for row in difference])
    count, middle = len(by_split), _mean(by_split)
    resampled = np.full(RESAMPLES, middle)
    for stratum in _influences(difference, datasets):
        resampled += len(stratum) * _resampled_means(stratum, rng)
    if count > 1:
        drawn = by_split[rng.integers(0, count, size=(RESAMPLES, count))].mean(axis=1)
        resampled += math.sqrt(count / (count - 1)) * (drawn - middle)
    low, high = np.percentile(resampled, INTERVAL)
    pairs = difference[~np.isnan(difference)]
    return Difference(
        versus=versus,
        average=middle,
        low=float(low),
        high=float(high),
        wins=int((pairs > 0).sum()),
        ties=int((pairs == 0).sum()),
        losses=int((pairs < 0).sum()),
        questions=len(pairs),
    )


def _influences(difference: NDArray[np.float64], datasets: Sequence[str]) -> list[NDArray[np.float64]]:
    """Return how much each question moves the mean over splits of the differences of averages, by stratum.

    Args:
        difference: Differences of scores (S, n), NaN where unknown; something is known of every split.
        datasets: Dataset of each question (n,).
    """
    labels, known = np.array(datasets), ~np.isnan(difference)
    groups = [np.flatnonzero((labels == name) & known.max(axis=0)) for name in sorted(set(datasets))]
    most = [int(known[:, group].sum(axis=1).max(initial=0)) for group in groups]
    strata = [(group, False) for group, size in zip(groups, most, strict=True) if size > 1]
    alone = [group for group, size in zip(groups, most, strict=True) if size == 1]
    strata += [(np.concatenate(alone), True)] if alone else []
    influence = np.zeros(len(labels))
    for row, tested in zip(difference, known, strict=True):
        share = len(difference) * len(set(labels[tested].tolist()))
        for stratum, is_pooled in strata:
            here = stratum[tested[stratum]]
            if len(here):
                size = 1 if is_pooled else len(here)
                influence[here] += (row[here] - row[here].mean()) / (share * size)
    return [influence[stratum] for stratum, _ in strata]


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


# Whether a confidence can be believed: bins of confidence, and the expected calibration error.

CONFIDENCE_BINS = 10


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """Answers that were given with about the same confidence.

    Attributes:
        low: Least confidence of the bin.
        high: Where the next bin begins; the last bin holds its upper end, 1, too.
        answers: How many answers it holds, one or more.
        confidence: Their mean confidence.
        score: Their mean score: the share that was right.
    """

    low: float
    high: float
    answers: int
    confidence: float
    score: float


def confidence_bins(confidences: Sequence[float], scores: Sequence[float]) -> tuple[ConfidenceBin, ...]:
    """Put answers into ten bins of equal width by their confidence; bins without an answer are left out.

    Args:
        confidences: Probability of being right that each answer was given with (n,), in [0, 1].
        scores: What each answer scored (n,), in [0, 1].
    """
    sure, right = np.array(confidences, dtype=np.float64), np.array(scores, dtype=np.float64)
    edges = np.arange(CONFIDENCE_BINS + 1) / CONFIDENCE_BINS
    # A confidence on an edge belongs to the bin above it.
    places = np.searchsorted(edges[1:-1], sure, side="right")
    return tuple(
        _bin(float(edges[place]), float(edges[place + 1]), sure[places == place], right[places == place])
        for place in np.unique(places).tolist()
    )


def calibration_error(bins: Sequence[ConfidenceBin]) -> float | None:
    """Return the expected calibration error (ECE) of bins (see `confidence_bins`); None without an answer.

    With few answers it comes out above 0 by chance alone, whatever the method.
    """
    return mean_gap([(part.answers, part.confidence, part.score) for part in bins])


def mean_gap(bins: Sequence[tuple[int, float, float]]) -> float | None:
    """Return the mean distance between what bins promise and what they keep; None without an answer.

    It is weighted by the number of answers: sum over bins b of n_b / n * |promised_b - kept_b| (Naeini et al. 2015; Guo
    et al. 2017).

    Args:
        bins: Answers, mean promise and mean score of each.
    """
    answers = sum(count for count, _, _ in bins)
    return math.fsum(count * abs(promised - kept) for count, promised, kept in bins) / answers if answers else None


def _bin(low: float, high: float, sure: NDArray[np.float64], right: NDArray[np.float64]) -> ConfidenceBin:
    count = len(sure)
    return ConfidenceBin(low, high, count, math.fsum(sure.tolist()) / count, math.fsum(right.tolist()) / count)
