"""Stages 2 and 3 (Eqs. 3-4): the support set filtered by the responses, fine scores, aggregatees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring.bank_arrays import BankArrays, rank_block, runs, weighted_scores
from jisi_cli.scoring.exact_sums import Floats, Rows, block_dots
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
    return fine_block(bank, [first], [probes], settings, [answerable])[0]


def fine_block(
    bank: BankArrays,
    firsts: Sequence[Coarse],
    probes: Sequence[Probes],
    settings: Hyperparameters,
    answerable: Sequence[NDArray[np.bool_] | None],
) -> list[Fine]:
    """Stages 2 and 3 for a block of B queries: exactly what `fine` returns for each alone.

    Args:
        bank: The bank.
        firsts: Stage 1 of each query.
        probes: Of each at least one candidate that answered.
        settings: Hyperparameters.
        answerable: For each, models that have a recorded, non-empty answer (M,); only `openjisi` asks for it.

    Raises:
        ValueError: No candidate answered a query.
    """
    if not all(asked.models for asked in probes):
        raise ValueError("stage 2 needs at least one candidate that answered")
    found = []
    for run in runs(bank, np.array([len(first.rows) for first in firsts])):
        found += _fine_run(bank, firsts[run], probes[run], settings, answerable[run])
    return found


def _fine_run(
    bank: BankArrays,
    firsts: Sequence[Coarse],
    probes: Sequence[Probes],
    settings: Hyperparameters,
    answerable: Sequence[NDArray[np.bool_] | None],
) -> list[Fine]:
    """Decide so many queries at once as memory allows; n is the sum of the sizes of their support sets."""
    near = _Near.of(firsts)
    used = [_used_probes(asked, settings) for asked in probes]
    by_response = _response_similarities(bank, near, used)
    by_cost = _cost_similarities(bank, near, used, settings)
    sizes = np.array([len(asked.models) for asked in used])
    size = sizes[near.owner]
    prior = settings.prior * sizes[:, np.newaxis]  # f adds up a similarity of at most 1 for each candidate
    mixed = settings.epsilon * size * near.similarities + settings.sigma * by_response + settings.delta * by_cost
    if settings.compat == "openjisi":
        by_response, by_cost = by_response / size, by_cost / size
        mixed = settings.epsilon * near.similarities + settings.sigma * by_response + settings.delta * by_cost
        prior = np.full_like(prior, settings.prior, dtype=np.float64)
    kept, cuts = _largest(mixed, near, settings.beta)
    scores = weighted_scores(bank, near.rows[kept], mixed[kept], cuts, settings, prior)
    rankings = rank_block(bank, scores, settings.compat)
    found = []
    pieces = zip(near.pieces(), _pieces(cuts, len(kept)), scores, rankings, probes, answerable, strict=True)
    for piece, cut, own, ranking, asked, able in pieces:
        chosen, ratios = choose_aggregatees(own, ranking, asked, settings, able)
        places = kept[cut] - piece.start
        found.append(Fine(by_response[piece], by_cost[piece], mixed[piece], places, own, ranking, chosen, ratios))
    return found


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


class _Near(NamedTuple):
    """The support sets of B queries, laid end to end.

    Attributes:
        rows: Bank rows (n,).
        similarities: s_i (n,).
        starts: Where those of each query begin (B,).
        owner: To which query each belongs (n,).
    """

    rows: Rows
    similarities: Floats
    starts: Rows
    owner: Rows

    @classmethod
    def of(cls, firsts: Sequence[Coarse]) -> _Near:
        """Lay them end to end."""
        sizes = np.array([len(first.rows) for first in firsts])
        rows = np.concatenate([first.rows for first in firsts])
        similarities = np.concatenate([first.similarities for first in firsts])
        return cls(rows, similarities, np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes))

    def pieces(self) -> list[slice]:
        """Return where those of each query stand."""
        return _pieces(self.starts, len(self.rows))


def _pieces(starts: Rows, count: int) -> list[slice]:
    return list(map(slice, starts.tolist(), [*starts[1:].tolist(), count]))


def _response_similarities(bank: BankArrays, near: _Near, probes: Sequence[Probes]) -> Floats:
    """Return s^res (n,), added up in the order of the candidates."""
    asked_of: dict[int, list[tuple[int, int]]] = {}
    for query, answered in enumerate(probes):
        for place, model in enumerate(answered.models):
            asked_of.setdefault(model, []).append((query, place))
    pieces = near.pieces()
    of_each = np.zeros((max(len(answered.models) for answered in probes), len(near.rows)))
    for model, asked in asked_of.items():
        own = [near.rows[pieces[query]] for query, _ in asked]
        rows, sizes = np.concatenate(own), np.array(list(map(len, own)))
        starts = np.cumsum(sizes) - sizes
        vectors = np.stack([probes[query].vectors[place] for query, place in asked])
        similar = block_dots(bank.response_vectors[model], rows, starts, vectors)
        if not bank.is_complete:
            similar[~bank.present[rows, model]] = 0.0
        for (query, place), part in zip(asked, _pieces(starts, len(rows)), strict=True):
            of_each[place, pieces[query]] = similar[part]
    total = np.zeros(len(near.rows))
    for similar in of_each:
        total += similar
    return total


def _cost_similarities(bank: BankArrays, near: _Near, probes: Sequence[Probes], settings: Hyperparameters) -> Floats:
    """Return s^cost (n,), added up in the order of the candidates."""
    offset = _COMPAT_COST_OFFSET if settings.compat == "openjisi" else 0.0
    total = np.zeros(len(near.rows))
    for place in range(max(len(asked.models) for asked in probes)):
        asked = [
            (one.models[place], float(one.completion_tokens[place])) if place < len(one.models) else (0, math.nan)
            for one in probes
        ]
        models, squares = np.array([model for model, _ in asked]), np.array([tokens**2 for _, tokens in asked])
        model = models[near.owner]
        recorded = bank.completion_tokens[near.rows, model]
        distance = np.abs(recorded**2 - squares[near.owner])  # not a number where either is unknown
        known = bank.present[near.rows, model] & ~np.isnan(distance)
        distance[~known] = 0.0
        largest = (np.maximum.reduceat(distance, near.starts) + offset)[near.owner]
        total += np.where(known, 1.0 - distance / np.where(largest > 0, largest, 1.0), 0.0)
    return total


def _largest(mixed: Floats, near: _Near, beta: float) -> tuple[Rows, Rows]:
    """Return where the beta |I| (at least one) largest f of each query stand, and where those of each begin.

    Ties: the larger s, then bank order.
    """
    order = np.lexsort((-near.similarities, -mixed, near.owner))
    sizes = np.diff(near.starts, append=len(mixed))
    counts = np.maximum(1, np.floor(beta * sizes).astype(np.intp))
    kept = order[np.arange(len(mixed)) - near.starts[near.owner] < counts[near.owner]]
    return kept, np.cumsum(counts) - counts
