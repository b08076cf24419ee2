"""Stage 1 of many questions under many settings at once, for experiments on train rows.

A support set is a prefix of the neighbours in order of similarity, whatever `n_base` and `gamma` are. So neighbours are
sorted once, scores are added up along the way once, and each setting reads its sums off at the end of its prefix.

The scores equal those of `scoring.coarse` but for the last bits of a sum; they are rounded to nine decimals, so that
models that tie there tie here. What decides a user's question is `scoring`; this decides which settings suit a bank.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import Floats, Rows
from jisi_cli.scoring.bank_arrays import LEAST_WEIGHT, drawn_to

_DECIMALS = 9


@dataclass(frozen=True)
class Scored:
    """What a bank says of its models (N rows, M models).

    Attributes:
        scores: Scores (N, M), 0 where there is none.
        present: Where there is one (N, M).
        names: The models' names (M).
    """

    scores: Floats
    present: NDArray[np.bool_]
    names: tuple[str, ...]

    @cached_property
    def by_name(self) -> Rows:
        """Place of each model among the names in code-point order (M,)."""
        places = np.empty(len(self.names), dtype=np.intp)
        places[sorted(range(len(self.names)), key=self.names.__getitem__)] = np.arange(len(self.names))
        return places

    def means(self, rows: Rows) -> Floats:
        """Return the mean score of each model over some rows that it answered (M,); 0 for one that answered none."""
        counts = self.present[rows].sum(axis=0)
        sums = self.scores[rows].sum(axis=0)
        found: Floats = np.divide(sums, counts, out=np.zeros(len(counts)), where=counts > 0)
        return np.round(found, _DECIMALS)


class Neighbours:
    """The bank rows near each of T questions, the nearest first.

    Args:
        scored: The bank.
        rows: Which of its rows take part (n,).
        order: Those rows for each question, by similarity (T, n).
        similarities: Their similarities, descending (T, n).
        settings: The settings that will be asked for; sums go no further than the largest of their support sets.
    """

    def __init__(
        self, scored: Scored, rows: Rows, order: Rows, similarities: Floats, settings: Iterable[Hyperparameters]
    ) -> None:
        self.scored, self.order, self.similarities = scored, order, similarities
        self.means = scored.means(rows)
        self._sizes: dict[tuple[object, ...], Rows] = {}
        longest = max(int(self.sizes(setting).max()) for setting in settings)
        self.order, self.similarities = order[:, :longest], similarities[:, :longest]

    def sizes(self, settings: Hyperparameters) -> Rows:
        """Return the size of each question's support set (T,)."""
        key = (settings.n_base, settings.gamma, settings.compat)
        if key not in self._sizes:
            base = min(settings.n_base, self.similarities.shape[1])
            kth = self.similarities[:, base - 1]
            least = np.minimum(settings.gamma * kth, kth)[:, np.newaxis]
            inside = self.similarities > least if settings.compat == "openjisi" else self.similarities >= least
            self._sizes[key] = np.maximum(1, inside.sum(axis=1))
        return self._sizes[key]

    def scores(self, settings: Hyperparameters) -> Floats:
        """Return the coarse scores (T, M); see `scoring.weighted_scores`."""
        shares = self.shares(settings)
        if settings.compat == "openjisi":
            return np.round(shares, _DECIMALS)
        total = self._sums(settings)[2][self._ends(settings)]
        found: Floats = np.round(shares * total[:, np.newaxis], _DECIMALS)
        return found

    def shares(self, settings: Hyperparameters) -> Floats:
        """Return the weighted mean scores on the support sets, with a prior drawn to the bank's means (T, M)."""
        solved, answered = (sums[self._ends(settings)] for sums in self._sums(settings)[:2])
        prior = settings.prior
        if prior > 0:
            return drawn_to(self.means, prior, solved, answered)
        return np.divide(solved, answered, out=np.zeros_like(solved), where=answered > 0)

    def _ends(self, settings: Hyperparameters) -> tuple[Rows, Rows]:
        sizes = self.sizes(settings)
        return np.arange(len(sizes)), sizes - 1

    def rank(self, scores: Floats, settings: Hyperparameters) -> Rows:
        """Return the models of each question, best first (T, M); ties as in `scoring.rank`."""
        second = np.zeros_like(self.means) if settings.compat == "openjisi" else -self.means
        keys = np.broadcast_arrays(self.scored.by_name, second, -scores)
        found: Rows = np.lexsort(keys, axis=-1)
        return found

    def _sums(self, settings: Hyperparameters) -> tuple[Floats, Floats, Floats]:
        return self._clipped if settings.prior > 0 else self._plain

    @cached_property
    def _plain(self) -> tuple[Floats, Floats, Floats]:
        return self._summed(self.similarities)

    @cached_property
    def _clipped(self) -> tuple[Floats, Floats, Floats]:
        if self.similarities.min() >= LEAST_WEIGHT:
            return self._plain
        return self._summed(np.maximum(self.similarities, LEAST_WEIGHT))

    def _summed(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Running sums of score times weight, of weight where a model answered (T, n, M), of weight (T, n)."""
        each = weights[:, :, np.newaxis]
        solved = np.cumsum(self.scored.scores[self.order] * each, axis=1)
        total = np.cumsum(weights, axis=1)
        if self.scored.present.all():
            return solved, np.broadcast_to(total[:, :, np.newaxis], solved.shape), total
        return solved, np.cumsum(self.scored.present[self.order] * each, axis=1), total


def sorted_rows(similarities: Floats) -> Rows:
    """Return the bank rows by similarity to each question (T, N), of equals in any order: they come in together."""
    found: Rows = np.argsort(-similarities, axis=1)
    return found


def neighbours_among(
    scored: Scored,
    similarities: Floats,
    order: Rows,
    taking_part: NDArray[np.bool_],
    settings: Iterable[Hyperparameters],
) -> Neighbours:
    """Return the neighbours among some rows of a bank.

    Args:
        scored: The bank.
        similarities: Of each question to all rows (T, N).
        order: All rows by similarity to each question (T, N).
        taking_part: Which rows these are (N,), at least one.
        settings: The settings that will be asked for.
    """
    rows = np.flatnonzero(taking_part)
    kept = order[taking_part[order]].reshape(len(order), len(rows))
    return Neighbours(scored, rows, kept, np.take_along_axis(similarities, kept, axis=1), settings)
