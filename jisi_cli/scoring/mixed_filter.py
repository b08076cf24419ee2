"""Stages 2 and 3 (Eqs. 3-4): the support set filtered by the responses, fine scores, aggregatees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring.bank_arrays import BankArrays, rank, weighted_scores
from jisi_cli.scoring.exact_sums import Floats, Rows, row_dots
from jisi_cli.scoring.support_set import Coarse

_COMPAT_PROBES = 3
_COMPAT_COST_OFFSET = 1e-8


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
        settings: Hyperparameters.
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
    prior = settings.prior * size  # f adds up a similarity of at most 1 for each candidate
    mixed = settings.epsilon * size * first.similarities + settings.sigma * by_response + settings.delta * by_cost
    if settings.compat == "openjisi":
        by_response, by_cost = by_response / size, by_cost / size
        mixed = settings.epsilon * first.similarities + settings.sigma * by_response + settings.delta * by_cost
        prior = settings.prior
    kept = _largest(mixed, first.similarities, math.floor(settings.beta * len(first.rows)))
    scores = weighted_scores(bank, first.rows[kept], mixed[kept], settings, prior)
    ranking = rank(bank, scores, settings.compat)
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
        settings: Hyperparameters.
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
        total += similarity if bank.is_complete else np.where(bank.present[rows, model], similarity, 0.0)
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
