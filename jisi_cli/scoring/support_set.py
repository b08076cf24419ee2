"""Stage 1 (Eq. 2): support set, coarse scores, candidates, aggregator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring.bank_arrays import BankArrays, rank_block, runs, weighted_scores
from jisi_cli.scoring.exact_sums import Floats, Rows, block_dots

_SCAN_BYTES = 1 << 26


@dataclass(frozen=True)
class Support:
    """The support set of one query.

    Attributes:
        rows: Bank rows in bank order (n,).
        similarities: Their s_i (n,).
        kth: The min(n_base, N)-th largest similarity.
        threshold: Similarity that admits a query to the support set.
    """

    rows: Rows
    similarities: Floats
    kth: float
    threshold: float


@dataclass(frozen=True)
class Unlike:
    """A query that resembles nothing in the bank.

    Attributes:
        nearest: Its largest similarity.
        usual: The similarity that 95 % of the bank's queries have to their nearest neighbour at least.
        rows: What its support set would have been, bank rows in bank order (n,).
        similarities: Their s_i (n,).
        threshold: Similarity that would have admitted a query to it.
    """

    nearest: float
    usual: float
    rows: Rows
    similarities: Floats
    threshold: float


@dataclass(frozen=True)
class Coarse:
    """Stage 1 (Eq. 2): what the query alone says.

    Attributes:
        rows: Support set I, bank rows in bank order (n,).
        similarities: s_i of the support set (n,).
        kth: The min(n_base, N)-th largest similarity.
        threshold: Similarity that admits a query to the support set.
        scores: g (M,).
        ranking: All models, best first.
        k: K, how many of them are asked first.
        unlike: Set where nothing in the bank resembles the query: then the support set is the whole bank, and each of
            its queries weighs 1; see `resemblance`.
    """

    rows: Rows
    similarities: Floats
    kth: float
    threshold: float
    scores: Floats
    ranking: tuple[int, ...]
    k: int
    unlike: Unlike | None = None

    @property
    def candidates(self) -> tuple[int, ...]:
        """The K models that are asked first, best first."""
        return self.ranking[: self.k]

    @property
    def aggregator(self) -> int:
        """The model that writes the final answer when several responses are aggregated."""
        return self.ranking[0]


def coarse(bank: BankArrays, query_vector: NDArray[np.floating], settings: Hyperparameters) -> Coarse:
    """Stage 1 for one query: support set, coarse scores, candidates, aggregator (Eq. 2).

    Args:
        bank: The bank, N >= 1 and M >= 1.
        query_vector: e (d,).
        settings: Hyperparameters.

    Raises:
        ValueError: The query vector's width differs from the bank's, or it holds NaN.
    """
    return next(coarse_block(bank, query_vector[np.newaxis], settings))


def coarse_block(bank: BankArrays, query_vectors: NDArray[np.floating], settings: Hyperparameters) -> Iterator[Coarse]:
    """Stage 1 for a block of queries (B, d), in order; the similarities are matrix products.

    Yields exactly what `coarse` returns for each row alone.

    Raises:
        ValueError: The query vectors' width differs from the bank's, or one of them holds NaN.
    """
    if query_vectors.ndim != 2 or query_vectors.shape[1] != bank.query_vectors.shape[1]:
        raise ValueError(f"query vectors {query_vectors.shape} do not fit a bank of {bank.query_vectors.shape}")
    for start in range(0, len(query_vectors), step := _scan_rows(bank)):
        block = query_vectors[start : start + step]
        scan = block.astype(bank.query_vectors.dtype) @ bank.query_vectors.T
        for found in _supports_from_scan(bank, block, scan, settings, scan.shape[1]):
            scores = weighted_scores(bank, found.rows, found.similarities, found.starts, settings, settings.prior)
            rankings = rank_block(bank, scores, settings.compat)
            for support, own, ranking in zip(found.each(), scores, rankings, strict=True):
                reached = support.kth, support.threshold
                yield Coarse(support.rows, support.similarities, *reached, own, ranking, settings.k)


def support_without(bank: BankArrays, rows: Rows, settings: Hyperparameters) -> Iterator[Support]:
    """Yield the support set of some of the bank's own queries, each among all rows but itself.

    Args:
        bank: The bank, N >= 2.
        rows: Which queries (n,).
        settings: Hyperparameters.
    """
    for start in range(0, len(rows), step := _scan_rows(bank)):
        part = rows[start : start + step]
        vectors = bank.query_vectors[part]
        scan = vectors @ bank.query_vectors.T
        scan[np.arange(len(part)), part] = -np.inf
        for found in _supports_from_scan(bank, vectors, scan, settings, scan.shape[1] - 1):
            yield from found.each()


def _scan_rows(bank: BankArrays) -> int:
    return max(1, _SCAN_BYTES // (bank.query_vectors.itemsize * len(bank.query_vectors)))


@dataclass(frozen=True)
class _Supports:
    """The support sets of B queries; those of `Support`, with rows and similarities laid end to end.

    Attributes:
        rows: Bank rows of each, in bank order (n,).
        similarities: Their s_i (n,).
        starts: Where those of each query begin (B,).
        kth: The min(n_base, N)-th largest similarity of each (B,).
        threshold: Similarity that admits a query to each (B,).
    """

    rows: Rows
    similarities: Floats
    starts: Rows
    kth: Floats
    threshold: Floats

    def each(self) -> Iterator[Support]:
        """Yield them one by one."""
        ends = [*self.starts[1:].tolist(), len(self.rows)]
        of_each = zip(self.starts.tolist(), ends, self.kth.tolist(), self.threshold.tolist(), strict=True)
        for start, end, kth, threshold in of_each:
            yield Support(self.rows[start:end], self.similarities[start:end], kth, threshold)


def _supports_from_scan(
    bank: BankArrays,
    vectors: NDArray[np.floating],
    scan: NDArray[np.floating],
    settings: Hyperparameters,
    taking_part: int,
) -> Iterator[_Supports]:
    """Decide exactly, some queries at a time, given similarities (B, N) right up to the rounding of a matrix product.

    A row that does not take part has a similarity of minus infinity.

    Raises:
        ValueError: A query's vector holds NaN.
    """
    count, width = bank.query_vectors.shape
    base = min(settings.n_base, taking_part)
    # |fl(a.b) - a.b| <= d u |a||b| (u = eps/2) for any order of summation, and u |a||b| more for
    # rounding e to the bank's precision; twice that leaves room for the float64 side.
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    margins = (width + 4) * float(np.finfo(scan.dtype).eps) * bank.longest_row * norms
    kth_at_least = np.partition(scan, count - base, axis=1)[:, count - base] - margins
    is_near = scan >= (_threshold(kth_at_least, settings) - margins)[:, np.newaxis]
    counts = is_near.sum(axis=1)
    if (counts < base).any():  # NaN is near nothing, and would be given the neighbours of the next query
        raise ValueError("a query vector holds what is no number")
    for run in runs(bank, counts):
        yield _supports(bank, vectors[run], is_near[run], settings, base)


def _supports(
    bank: BankArrays, vectors: NDArray[np.floating], is_near: NDArray[np.bool_], settings: Hyperparameters, base: int
) -> _Supports:
    """Return the support sets, given which rows come into question (B, N)."""
    owner, near = np.nonzero(is_near)
    starts = np.searchsorted(owner, np.arange(len(vectors)))
    similarities = block_dots(bank.query_vectors, near, starts, vectors)
    nearest = np.lexsort((-similarities, owner))
    kth = similarities[nearest[starts + base - 1]]
    threshold = _threshold(kth, settings)
    inside = similarities >= threshold[owner] if settings.compat == "paper" else similarities > threshold[owner]
    inside[nearest[starts]] = True  # the nearest one is always in, even if none lies above the threshold
    owner = owner[inside]
    starts = np.searchsorted(owner, np.arange(len(vectors)))
    return _Supports(near[inside], similarities[inside], starts, kth, threshold)


def _threshold(kth: Floats, settings: Hyperparameters) -> Floats:
    # A negative kth times gamma would lie above kth and throw the nearest queries out.
    return np.minimum(settings.gamma * kth, kth)
