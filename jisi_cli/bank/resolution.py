"""How many questions it takes to tell two models apart, from how their scores on the same questions differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank

_TOLD_APART = (0.05, 0.02)
_STANDARD_ERRORS = 2.8
"""A difference of so many standard errors is seen, at the 95 % level, in four samples of five (1.96 + 0.84)."""


@dataclass(frozen=True, slots=True)
class Enough:
    """How many questions are enough for one difference.

    Attributes:
        difference: Between the averages of two models.
        questions: With so many, of the bank's own kinds, it is seen at the 95 % level in four samples of five.
    """

    difference: float
    questions: int


@dataclass(frozen=True, slots=True)
class Resolution:
    """How fine a difference the train questions show.

    Attributes:
        questions: Train questions.
        standard_error: Of the paired difference between the averages of two models: the median over all pairs.
        enough: Questions that are enough for differences of 5 and of 2 points.
    """

    questions: int
    standard_error: float
    enough: tuple[Enough, ...]

    def to_words(self) -> str:
        """Return it as a sentence."""
        five, two = self.enough
        return (
            f"to tell two models apart that differ by {100 * five.difference:g} points takes about "
            f"{five.questions:,} questions, by {100 * two.difference:g} points {two.questions:,}"
        )


def resolution(bank: Bank) -> Resolution | None:
    """Return how fine a difference a bank's train questions show; None where no two models ever differ.

    The variance of a paired difference of averages over k datasets, of n_d questions each, is the sum of
    Var_d / (k^2 n_d), Var_d the variance within dataset d of the difference between the two models' scores. With other
    numbers of questions in the same proportions, it goes as one over the number.
    """
    rows = bank.train_rows
    if len(rows) < 2 or len(bank.models) < 2:
        return None
    scores = np.stack([bank.verdicts(model)[rows] for model in bank.models], axis=1)
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows.tolist()):
        groups.setdefault(bank.keys[row][0], []).append(place)
    per_question = _typical_variance(scores, groups) * len(rows)
    if not per_question > 0:
        return None
    enough = [Enough(gap, math.ceil(per_question * (_STANDARD_ERRORS / gap) ** 2)) for gap in _TOLD_APART]
    return Resolution(len(rows), math.sqrt(per_question / len(rows)), tuple(enough))


def _typical_variance(scores: NDArray[np.float64], groups: Mapping[str, Sequence[int]]) -> float:
    """Return the variance of a difference of averages: the median over pairs of models; NaN where none is known.

    Args:
        scores: Scores (n, M), NaN where unknown.
        groups: The rows of each dataset.
    """
    models = scores.shape[1]
    totals, counts = np.zeros((models, models)), np.zeros((models, models))
    for rows in groups.values():
        variances, questions = _pair_variances(scores[list(rows)])
        known = questions > 1
        totals += np.divide(variances, questions, out=np.zeros_like(totals), where=known)
        counts += known
    above = np.triu_indices(models, 1)
    pairs = counts[above] > 0
    return float(np.median(totals[above][pairs] / counts[above][pairs] ** 2)) if pairs.any() else math.nan


def _pair_variances(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the variance of each pair's differences on questions that both have scores on, and their number (M, M)."""
    known = (~np.isnan(scores)).astype(np.float64)
    values = np.nan_to_num(scores)
    count = known.T @ known
    sums = values.T @ known
    squares = (values**2).T @ known
    least = np.maximum(count, 1)
    means = (sums - sums.T) / least
    raw = (squares + squares.T - 2 * values.T @ values) / least - means**2
    return np.maximum(0.0, raw * count / np.maximum(count - 1, 1)), count
