"""What the equations need of a bank, and what both stages do with it: weighted scores, and ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Compat, Hyperparameters
from jisi_cli.scoring.exact_sums import Floats, Rows, RowVectors, column_sums, longest_row


@dataclass(frozen=True)
class BankArrays:
    """What the equations need of a bank.

    Attributes:
        query_vectors: E^Q, unit rows (N, d), float32 or float64.
        response_vectors: E^R as M arrays (N, d), unit rows, zero where there is no response; they
            are indexed by row only for candidates, so they may be read lazily.
        scores: v, correctness (N, M) in [0, 1].
        completion_tokens: c (N, M), NaN where unknown.
        present: Whether model j has a scored answer to query i (N, M); where not, the other arrays
            are ignored.
        model_names: M names; they break ties in code-point order (see `rank`).
        norm_bound: At least the largest norm of a query vector, where it is known already.
    """

    query_vectors: NDArray[np.floating]
    response_vectors: Sequence[RowVectors]
    scores: Floats
    completion_tokens: Floats
    present: NDArray[np.bool_]
    model_names: tuple[str, ...]
    norm_bound: float | None = None

    @cached_property
    def is_complete(self) -> bool:
        """Whether every model has a scored answer to every query."""
        return bool(self.present.all())

    @cached_property
    def mean_scores(self) -> Floats:
        """Mean score of each model over the rows it answered (M,); 0 for one that answered none."""
        counts = self.present.sum(axis=0)
        sums = column_sums(np.where(self.present, self.scores, 0.0))[0]
        means: Floats = np.divide(sums, counts, out=np.zeros(len(counts)), where=counts > 0)
        return means

    @cached_property
    def by_name(self) -> Rows:
        """Place of each model among the names in code-point order (M,)."""
        places = np.empty(len(self.model_names), dtype=np.intp)
        places[sorted(range(len(places)), key=self.model_names.__getitem__)] = np.arange(len(places))
        return places

    @cached_property
    def longest_row(self) -> float:
        """At least the largest norm of a query vector: 1 up to rounding, but the error bound relies on no promise."""
        return longest_row(self.query_vectors) if self.norm_bound is None else self.norm_bound


_MOST_SCORES = 1 << 21
"""Scores that are weighted at a time, unless a single question has more: 16 MiB of them."""


def runs(bank: BankArrays, sizes: Rows) -> Iterator[slice]:
    """Yield which questions of a block are decided at a time, so that memory does not grow with the block.

    Args:
        bank: The bank.
        sizes: How many of its queries count for each question (B,).
    """
    ends, most = np.cumsum(sizes), _MOST_SCORES // len(bank.model_names)
    start = 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield slice(start, stop)
        start = stop


LEAST_WEIGHT = 0.001
"""What a query weighs at least beside a prior: shares of weights below 0 would mean nothing."""


def weighted_scores(
    bank: BankArrays, rows: Rows, weights: Floats, starts: Rows, settings: Hyperparameters, prior: float | Floats
) -> Floats:
    """Sum of score times weight per model (B, M); gaps are filled by the weight a model did answer.

    Args:
        bank: The bank.
        rows: The queries that count for each of B questions, laid end to end (n,).
        weights: What each weighs (n,).
        starts: Where those of each question begin (B,).
        settings: Hyperparameters; `openjisi` takes means for sums.
        prior: The weight of a model's mean over the whole bank beside them, the same for all or one for each (B, 1);
            see `shrunk_means`. None of it counts where the settings have no prior.
    """
    if settings.prior > 0:
        means = shrunk_means(bank, rows, weights, starts, prior)
        # Ratios of scores are ratios of means, and the scores tend to the paper's sums as the prior tends to 0.
        total = column_sums(np.maximum(weights, LEAST_WEIGHT)[:, np.newaxis], starts)
        return means if settings.compat == "openjisi" else means * total
    sums, answered = answered_sums(bank, rows, weights, starts)
    if bank.is_complete and settings.compat == "paper":
        return sums
    means = np.divide(sums, answered, out=np.zeros_like(sums), where=answered > 0)
    if settings.compat == "openjisi":
        return means
    # x / total * total is not always x in floating point, and a complete bank must give the paper's sum. The mean comes
    # first: two models that solved all that they answered tie then, whatever their gaps.
    complete = np.logical_and.reduceat(bank.present[rows], starts, axis=0)
    return np.where(complete, sums, means * column_sums(weights[:, np.newaxis], starts))


def answered_sums(bank: BankArrays, rows: Rows, weights: Floats, starts: Rows) -> tuple[Floats, Floats]:
    """Sum score times weight, and weight, over the queries that each model answered (B, M).

    Args:
        bank: The bank.
        rows: The queries that count for each of B questions, laid end to end (n,).
        weights: What each weighs (n,).
        starts: Where those of each question begin (B,).
    """
    weights = weights[:, np.newaxis]
    weighted = bank.scores[rows] * weights
    if bank.is_complete:
        sums = column_sums(weighted, starts)
        return sums, np.broadcast_to(column_sums(weights, starts), sums.shape)
    present = bank.present[rows]
    answered = np.where(present, weights, 0.0)
    return column_sums(np.where(present, weighted, 0.0), starts), column_sums(answered, starts)


def shrunk_means(
    bank: BankArrays,
    rows: Rows,
    weights: Floats,
    starts: Rows,
    prior: float | Floats,
    bank_means: Floats | None = None,
) -> Floats:
    """Return weighted mean scores, drawn towards each model's mean over the bank (B, M).

    p_j = (sum of w_i v_ij + prior m_j) / (sum of w_i + prior) over the rows that model j answered: the posterior mean
    of a rate whose prior is worth so many queries of weight 1 (additive smoothing). A model that answered none of the
    rows has m_j.

    Args:
        bank: The bank.
        rows: The queries that count for each of B questions, laid end to end (n,).
        weights: What each weighs (n,); at least 0.001 here.
        starts: Where those of each question begin (B,).
        prior: The weight of the mean over the bank, from 0; the same for all or one for each (B, 1).
        bank_means: m_j (M,); by default over all rows of the bank.
    """
    sums, answered = answered_sums(bank, rows, np.maximum(weights, LEAST_WEIGHT), starts)
    return drawn_to(bank.mean_scores if bank_means is None else bank_means, prior, sums, answered)


def drawn_to(means: Floats, prior: float | Floats, sums: Floats, weights: Floats) -> Floats:
    """Return (sums + prior * means) / (weights + prior), and the means themselves where nothing weighs anything.

    Args:
        means: Prior mean of each model (M,).
        prior: What it weighs; a number, or one for each of T questions (T, 1).
        sums: Sums of score times weight (..., M).
        weights: Sums of weight (..., M).
    """
    total = weights + prior
    found: Floats = np.divide(
        sums + prior * means, total, out=np.broadcast_to(means, total.shape).copy(), where=total > 0
    )
    return found


def rank(bank: BankArrays, scores: Floats, compat: Compat) -> tuple[int, ...]:
    """Return all models, best first; see `rank_block`.

    Args:
        bank: The bank.
        scores: One score per model (M,).
        compat: Whose reading.
    """
    return rank_block(bank, scores[np.newaxis], compat)[0]


def rank_block(bank: BankArrays, scores: Floats, compat: Compat) -> list[tuple[int, ...]]:
    """Return all models for each of B questions, best first.

    Ties: the higher mean score over the bank, then the name; in the released code's reading the name alone.

    Args:
        bank: The bank.
        scores: One score per question and model (B, M).
        compat: Whose reading.
    """
    ascending = np.sort(scores, axis=1)
    if (ascending[:, 1:] == ascending[:, :-1]).any():
        second = np.zeros(scores.shape[1]) if compat == "openjisi" else -bank.mean_scores
        order = np.lexsort(np.broadcast_arrays(bank.by_name, second, -scores), axis=-1)
    else:
        order = np.argsort(-scores, axis=1)  # no tie, so that the means over the whole bank are not needed
    return list(map(tuple, order.tolist()))
