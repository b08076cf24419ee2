"""The equations of JiSi: support set, coarse scores, mixed filter, fine scores, aggregatees.

Source: "Beyond Gemini-3-Pro" (arXiv 2601.01330), Eqs. 1-5. Pure NumPy in float64: no I/O, no clock,
no state. Two properties make a decision reproducible to the bit:

- Similarities that decide anything are row-wise float64 dot products of the stored vectors. A fast
  matrix product only proposes rows, within its proven rounding error; so one query alone and the
  same query in a block of thousands see identical numbers.
- Sums over queries are correctly rounded (`math.fsum`), so the order of bank rows cannot matter.

Symbols: N bank queries, M models, d embedding width, n support queries, K candidates that answered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jisi_cli.exact_sums import Floats as Floats
from jisi_cli.exact_sums import Rows as Rows
from jisi_cli.exact_sums import RowVectors as RowVectors
from jisi_cli.exact_sums import column_sums, longest_row, row_dots
from jisi_cli.hyperparameters import Hyperparameters

_COMPAT_PROBES = 3
_COMPAT_COST_OFFSET = 1e-8
_SCAN_BYTES = 1 << 26


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
        model_names: M names; they break ties in code-point order.
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
    def mean_scores(self) -> Floats:
        """Mean score of each model over the rows it answered (M,); 0 for one that answered none."""
        counts = self.present.sum(axis=0)
        sums = column_sums(np.where(self.present, self.scores, 0.0))
        means: Floats = np.divide(sums, counts, out=np.zeros(len(counts)), where=counts > 0)
        return means

    @cached_property
    def longest_row(self) -> float:
        """At least the largest norm of a query vector: 1 up to rounding, but the error bound relies on no promise."""
        return longest_row(self.query_vectors) if self.norm_bound is None else self.norm_bound


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
    """

    rows: Rows
    similarities: Floats
    kth: float
    threshold: float
    scores: Floats
    ranking: tuple[int, ...]
    k: int

    @property
    def candidates(self) -> tuple[int, ...]:
        """The K models that are asked first, best first."""
        return self.ranking[: self.k]

    @property
    def aggregator(self) -> int:
        """The model that writes the final answer when several responses are aggregated."""
        return self.ranking[0]


@dataclass(frozen=True)
class Probes:
    """The candidates that answered, in the order of their coarse rank.

    Attributes:
        models: Their indices (K,).
        vectors: r_j, unit rows (K, d).
        completion_tokens: c_j (K,), NaN where unknown.
    """

    models: tuple[int, ...]
    vectors: NDArray[np.floating]
    completion_tokens: Floats


@dataclass(frozen=True)
class Fine:
    """Stages 2 and 3 (Eqs. 3-4): what the query and its responses say together.

    Attributes:
        response_similarities: s^res of the support set (n,).
        cost_similarities: s^cost (n,).
        mixed: f (n,).
        kept: Positions in the support set that survive the filter, largest f first.
        scores: gf (M,).
        ranking: All models, best first.
        aggregatees: The models whose responses count, best first.
        ratios: gf_j / max gf of the aggregatees.
    """

    response_similarities: Floats
    cost_similarities: Floats
    mixed: Floats
    kept: Rows
    scores: Floats
    ranking: tuple[int, ...]
    aggregatees: tuple[int, ...]
    ratios: tuple[float, ...]


def coarse(bank: BankArrays, query_vector: NDArray[np.floating], settings: Hyperparameters) -> Coarse:
    """Stage 1 for one query: support set, coarse scores, candidates, aggregator (Eq. 2).

    Args:
        bank: The bank, N >= 1 and M >= 1.
        query_vector: e (d,).
        settings: Hyper-parameters.

    Raises:
        ValueError: The query vector's width differs from the bank's.
    """
    return next(coarse_block(bank, query_vector[np.newaxis], settings))


def coarse_block(bank: BankArrays, query_vectors: NDArray[np.floating], settings: Hyperparameters) -> Iterator[Coarse]:
    """Stage 1 for a block of queries (B, d), in order; the similarities are matrix products.

    Yields exactly what `coarse` returns for each row alone.
    """
    if query_vectors.ndim != 2 or query_vectors.shape[1] != bank.query_vectors.shape[1]:
        raise ValueError(f"query vectors {query_vectors.shape} do not fit a bank of {bank.query_vectors.shape}")
    step = max(1, _SCAN_BYTES // (bank.query_vectors.itemsize * len(bank.query_vectors)))
    for start in range(0, len(query_vectors), step):
        block = query_vectors[start : start + step]
        scan = block.astype(bank.query_vectors.dtype) @ bank.query_vectors.T
        for vector, approximate in zip(block, scan, strict=True):
            yield _coarse_from_scan(bank, vector.astype(np.float64), approximate, settings)


def fine(
    bank: BankArrays,
    first: Coarse,
    probes: Probes,
    settings: Hyperparameters,
    answerable: NDArray[np.bool_] | None = None,
) -> Fine:
    """Stages 2 and 3: mixed filter, fine scores of all M models, aggregatees (Eqs. 3-4).

    Args:
        bank: The bank.
        first: Stage 1 of the same query.
        probes: At least one candidate that answered.
        settings: Hyper-parameters.
        answerable: Models that have a recorded, non-empty answer (M,); only `openjisi` asks for it.

    Raises:
        ValueError: No candidate answered.
    """
    if not probes.models:
        raise ValueError("stage 2 needs at least one candidate that answered")
    used = _used_probes(probes, settings)
    by_response = _response_similarities(bank, first.rows, used)
    by_cost = _cost_similarities(bank, first.rows, used, settings)
    size = len(used.models)
    mixed = settings.epsilon * size * first.similarities + settings.sigma * by_response + settings.delta * by_cost
    if settings.compat == "openjisi":
        by_response, by_cost = by_response / size, by_cost / size
        mixed = settings.epsilon * first.similarities + settings.sigma * by_response + settings.delta * by_cost
    kept = _largest(mixed, first.similarities, math.floor(settings.beta * len(first.rows)))
    scores = _weighted_scores(bank, first.rows[kept], mixed[kept], settings)
    ranking = rank(bank, scores)
    chosen, ratios = choose_aggregatees(scores, ranking, probes, settings, answerable)
    return Fine(by_response, by_cost, mixed, kept, scores, ranking, chosen, ratios)


def limit_tokens(aggregatees: Sequence[int], tokens: Sequence[float], settings: Hyperparameters) -> tuple[int, ...]:
    """Cut three or more aggregatees to the best two when their responses are too long together (§4.1).

    Args:
        aggregatees: Models with a response, best first.
        tokens: Length of each response in tokens; NaN counts 0.
        settings: `max_aggregate_tokens`; `openjisi` drops one only.
    """
    total = math.fsum(0.0 if math.isnan(count) else count for count in tokens)
    if len(aggregatees) <= 2 or total <= settings.max_aggregate_tokens:
        return tuple(aggregatees)
    return tuple(aggregatees[:-1] if settings.compat == "openjisi" else aggregatees[:2])


def _coarse_from_scan(
    bank: BankArrays, vector: Floats, approximate: NDArray[np.floating], settings: Hyperparameters
) -> Coarse:
    """Decide exactly, given similarities that are right up to the rounding of a matrix product."""
    count, width = bank.query_vectors.shape
    base = min(settings.n_base, count)
    # |fl(a.b) - a.b| <= d u |a||b| (u = eps/2) for any order of summation, and u |a||b| more for
    # rounding e to the bank's precision; twice that leaves room for the float64 side.
    margin = (width + 4) * float(np.finfo(approximate.dtype).eps) * bank.longest_row * float(np.linalg.norm(vector))
    kth_at_least = float(np.partition(approximate, count - base)[count - base]) - margin
    near = np.flatnonzero(approximate >= _threshold(kth_at_least, settings) - margin)
    similarities = row_dots(bank.query_vectors, near, vector)
    kth = float(np.partition(similarities, len(near) - base)[len(near) - base])
    threshold = _threshold(kth, settings)
    inside = similarities >= threshold if settings.compat == "paper" else similarities > threshold
    if not inside.any():
        inside[int(np.argmax(similarities))] = True
    rows, similarities = near[inside], similarities[inside]
    scores = _weighted_scores(bank, rows, similarities, settings)
    return Coarse(rows, similarities, kth, threshold, scores, rank(bank, scores), settings.k)


def _threshold(kth: float, settings: Hyperparameters) -> float:
    # A negative kth times gamma would lie above kth and throw the nearest queries out.
    return min(settings.gamma * kth, kth)


def _weighted_scores(bank: BankArrays, rows: Rows, weights: Floats, settings: Hyperparameters) -> Floats:
    """Sum of score times weight per model (M,); gaps are filled by the weight a model did answer."""
    present = bank.present[rows]
    weighted = np.where(present, bank.scores[rows] * weights[:, np.newaxis], 0.0)
    sums = column_sums(weighted)
    complete = present.all(axis=0)
    if complete.all() and settings.compat == "paper":
        return sums
    total = math.fsum(weights.tolist())
    answered = column_sums(np.where(present, weights[:, np.newaxis], 0.0))
    known = answered > 0
    means = np.divide(sums, answered, out=np.zeros_like(sums), where=known)
    if settings.compat == "openjisi":
        return means
    # x / total * total is not always x in floating point, and a complete bank must give the paper's sum. The mean comes
    # first: two models that solved all that they answered tie then, whatever their gaps.
    return np.where(complete, sums, means * total)


def rank(bank: BankArrays, scores: Floats) -> tuple[int, ...]:
    """Return all models, best first; ties: the higher mean score over the bank, then the name.

    Args:
        bank: The bank.
        scores: One score per model (M,).
    """
    if len(set(scores.tolist())) == len(scores):
        return tuple(np.argsort(-scores).tolist())  # no tie, so that the means over the whole bank are not needed
    keys = list(zip((-scores).tolist(), (-bank.mean_scores).tolist(), bank.model_names, strict=True))
    return tuple(sorted(range(len(keys)), key=keys.__getitem__))


def _used_probes(probes: Probes, settings: Hyperparameters) -> Probes:
    """The probes that enter the filter: all of them, or the released code's first three or one."""
    if settings.compat == "paper":
        return probes
    size = _COMPAT_PROBES if len(probes.models) >= _COMPAT_PROBES else 1
    return Probes(probes.models[:size], probes.vectors[:size], probes.completion_tokens[:size])


def _response_similarities(bank: BankArrays, rows: Rows, probes: Probes) -> Floats:
    total = np.zeros(len(rows))
    for model, vector in zip(probes.models, probes.vectors, strict=True):
        similarity = row_dots(bank.response_vectors[model], rows, vector.astype(np.float64))
        total += np.where(bank.present[rows, model], similarity, 0.0)
    return total


def _cost_similarities(bank: BankArrays, rows: Rows, probes: Probes, settings: Hyperparameters) -> Floats:
    offset = _COMPAT_COST_OFFSET if settings.compat == "openjisi" else 0.0
    total = np.zeros(len(rows))
    for model, tokens in zip(probes.models, probes.completion_tokens.tolist(), strict=True):
        recorded = bank.completion_tokens[rows, model]
        known = bank.present[rows, model] & ~np.isnan(recorded)
        if math.isnan(tokens) or not known.any():
            continue
        distance = np.abs(recorded[known] ** 2 - tokens**2)
        largest = float(distance.max()) + offset
        total[known] += 1.0 - distance / largest if largest > 0 else 1.0
    return total


def _largest(mixed: Floats, similarities: Floats, size: int) -> Rows:
    """Positions of the `size` (at least one) largest f; ties: the larger s, then bank order."""
    order = np.lexsort((np.arange(len(mixed)), -similarities, -mixed))
    return order[: max(1, size)]


def choose_aggregatees(
    scores: Floats,
    ranking: tuple[int, ...],
    probes: Probes,
    settings: Hyperparameters,
    answerable: NDArray[np.bool_] | None,
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the models whose responses count, best first, and their scores as shares of the best (Eq. 4).

    Args:
        scores: What models are ranked by (M,).
        ranking: All models, best first.
        probes: The candidates that answered; there are as many aggregatees at most.
        settings: Hyper-parameters.
        answerable: Models that have a recorded, non-empty answer (M,); only `openjisi` asks for it.
    """
    eligible = ranking
    if settings.compat == "openjisi" and answerable is not None:
        eligible = tuple(model for model in ranking if answerable[model])
    best = float(scores[eligible[0]]) if eligible else 0.0
    if best <= 0:
        return (probes.models[0],), (1.0,)
    top = [(model, float(scores[model]) / best) for model in eligible[: len(probes.models)]]
    chosen = [(model, ratio) for model, ratio in top if ratio >= settings.t]
    return tuple(model for model, _ in chosen), tuple(ratio for _, ratio in chosen)
