"""Whether a method's confidence can be believed: bins of confidence, and the expected calibration error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


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
    edges = np.arange(BINS + 1) / BINS
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
