"""Whether a query resembles anything in a bank, and what becomes of one that does not: ours, beyond the paper.

Neighbours say nothing about a query that is unlike any of them. So where the largest similarity of a query lies below
what 95 % of the bank's queries have to their nearest neighbour, all queries of the bank count alike: models are ranked
by their means over the bank, and stage 2 goes by responses and tokens alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring.bank_arrays import BankArrays, rank, weighted_scores
from jisi_cli.scoring.exact_sums import ONE, Rows
from jisi_cli.scoring.support_set import Coarse, Unlike, support_without

_SHARE_BELOW = 0.05
"""Share of the bank's queries that are allowed to be unlike the others."""
_MOST = 2048
"""Queries of the bank that are looked at: so many tell its 5th percentile to within about half a point."""
_NEAREST = Hyperparameters(n_base=1, gamma=1.0)
_ANY_SIMILARITY = -1.0
"""Of unit vectors none is less."""


def usual_similarity(bank: BankArrays) -> float | None:
    """Return the similarity that 95 % of a bank's queries have to their nearest neighbour at least.

    In a bank of more than 2,048 queries as many of them, evenly spaced, are compared with all others. It takes
    2,048 x N x d multiplications at most, in pieces of 64 MiB.

    Args:
        bank: The bank.

    Returns:
        The similarity; None where there are no two queries to compare.
    """
    size = len(bank.query_vectors)
    if size < 2:
        return None
    similarities = sorted(found.kth for found in support_without(bank, _spread(size), _NEAREST))
    return similarities[int(_SHARE_BELOW * len(similarities))]


def by_whole_bank(bank: BankArrays, first: Coarse, usual: float, settings: Hyperparameters) -> Coarse:
    """Return stage 1 of a query, drawn from the whole bank if nothing in it resembles the query.

    Args:
        bank: The bank.
        first: Its stage 1, as always.
        usual: See `usual_similarity`.
        settings: Hyperparameters.
    """
    nearest = float(first.similarities.max())
    if nearest >= usual:
        return first
    rows = np.arange(len(bank.query_vectors))
    weights = np.ones(len(rows))
    scores = weighted_scores(bank, rows, weights, ONE, settings, settings.prior)[0]
    return replace(
        first,
        rows=rows,
        similarities=weights,
        threshold=_ANY_SIMILARITY,
        scores=scores,
        ranking=rank(bank, scores, settings.compat),
        unlike=Unlike(nearest, usual, first.rows, first.similarities, first.threshold),
    )


def _spread(size: int) -> Rows:
    """Return places of the queries that are looked at, in order."""
    if size <= _MOST:
        return np.arange(size)
    return np.arange(_MOST) * size // _MOST
