"""Stage 2 of many questions at once, for experiments on train rows: who answers if nothing is aggregated.

As `scoring.fine`, but the filter is in single precision. Symbols: T questions, K candidates, M models, and
L the most neighbours that a question has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.batch_support import Neighbours
from jisi_cli.evaluation.batch_votes import NOBODY, first_answered
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Floats, Rows
from jisi_cli.scoring.bank_arrays import LEAST_WEIGHT, drawn_to

Singles = NDArray[np.float32]


class Responses:
    """What was recorded of some train rows, compared with the whole bank.

    Args:
        bank: The bank's arrays (N rows, M models).
        rows: The rows that are decided (T,).
        answered: Which models have a response to them (T, M).
    """

    def __init__(self, bank: BankArrays, rows: Rows, answered: NDArray[np.bool_]) -> None:
        self.bank, self.rows, self.answered = bank, rows, answered

    @cached_property
    def similarities(self) -> Singles:
        """Similarity of each model's response to its responses to all bank rows (T, M, N); 0 where it has none."""
        bank = self.bank
        found = np.empty((len(self.rows), len(bank.model_names), len(bank.scores)), dtype=np.float32)
        everything = np.arange(len(bank.scores))
        for model in range(len(bank.model_names)):
            vectors = bank.response_vectors[model][everything].astype(np.float32, copy=False)
            found[:, model] = (vectors[self.rows] @ vectors.T) * bank.present[:, model]
        return found

    @cached_property
    def squared_tokens(self) -> Singles:
        """Squares of the recorded completion tokens (N, M); NaN where there is no answer with a known number."""
        found = np.where(self.bank.present, self.bank.completion_tokens, np.nan) ** 2
        return found.astype(np.float32)


@dataclass(frozen=True)
class Routed:
    """Who answers.

    Attributes:
        models: The best aggregatee, or who stands in for it (T,); `NOBODY` where no model has a response.
        calls: Calls that were made (T,).
    """

    models: Rows
    calls: Rows


class Filter:
    """The neighbours of some questions, compared with what their candidates answered.

    Args:
        near: The neighbours of a block of questions.
        settings: Decide the support set, and how many candidates there are.
        ranking: All models by coarse score for each question of the block.
        responses: What was recorded of the block.
        places: Which questions of the block (T,).
    """

    def __init__(
        self, near: Neighbours, settings: Hyperparameters, ranking: Rows, responses: Responses, places: Rows
    ) -> None:
        self._near, self._responses = near, responses
        self.sizes = near.sizes(settings)[places]
        longest = int(self.sizes.max(initial=1))
        self.rows = near.order[places, :longest]
        self.similar = near.similarities[places, :longest].astype(np.float32)
        self._starts = np.arange(len(places))[:, np.newaxis] * len(responses.bank.scores)
        self.inside = np.arange(longest) < self.sizes[:, np.newaxis]
        self.ranking, self.candidates = ranking[places], ranking[places, : settings.k]
        self.answered = responses.answered[places]
        self.has = np.take_along_axis(self.answered, self.candidates, axis=1)
        self.by_response, self.by_cost = np.zeros((2, *self.rows.shape), dtype=np.float32)
        for at in range(self.candidates.shape[1]):
            model, has = self.candidates[:, at], self.has[:, at]
            similar = responses.similarities[places[:, np.newaxis], model[:, np.newaxis], self.rows]
            cost = self._cost_similarities(responses.rows[places], model)
            similar[~has], cost[~has] = 0.0, 0.0
            self.by_response += similar
            self.by_cost += cost

    def route(self, settings: Hyperparameters) -> Routed:
        """Return who answers under some weights of the filter."""
        scores = self._fine_scores(settings)
        ranking = self._near.rank(scores, settings)
        rows = np.arange(len(ranking))
        wanted = np.where(
            scores.max(axis=1, initial=-np.inf) > 0, ranking[:, 0], first_answered(self.candidates, self.answered)[0]
        )
        is_candidate = (self.candidates == wanted[:, np.newaxis]).any(axis=1)
        calls = self.candidates.shape[1] + np.where(is_candidate | (wanted == NOBODY), 0, 1)
        probed = np.zeros_like(self.answered)
        np.put_along_axis(probed, self.candidates, self.has, axis=1)
        models = np.where(self.answered[rows, wanted], wanted, first_answered(ranking, probed)[0])
        # Where no candidate answered, the others are asked one after another.
        rest, asked = first_answered(self.ranking[:, self.candidates.shape[1] :], self.answered)
        silent = ~self.has.any(axis=1)
        return Routed(
            np.where(silent, rest, models), np.where(silent, self.candidates.shape[1] + asked, calls).astype(np.intp)
        )

    def _cost_similarities(self, asked: Rows, model: Rows) -> Singles:
        """Return s^cost of one candidate (T, L)."""
        distance = self._responses.squared_tokens[self.rows, model[:, np.newaxis]]
        distance -= (self._responses.bank.completion_tokens[asked, model] ** 2).astype(np.float32)[:, np.newaxis]
        np.abs(distance, out=distance)
        distance[~self.inside] = np.nan
        largest = np.fmax.reduce(distance, axis=1, keepdims=True)
        # Where all known distances are 0, every term is 1; an unknown one, which is no number, gives 0.
        distance /= np.where(largest > 0, largest, 1.0)
        found: Singles = np.nan_to_num(np.subtract(1.0, distance, out=distance), copy=False)
        return found

    def _fine_scores(self, settings: Hyperparameters) -> Floats:
        """Return gf (T, M)."""
        size = self.has.sum(axis=1)[:, np.newaxis]
        mixed = np.float32(settings.epsilon) * size.astype(np.float32) * self.similar
        mixed += settings.sigma * self.by_response + settings.delta * self.by_cost
        kept = np.maximum(1, np.floor(settings.beta * self.sizes)).astype(np.intp)
        survives = _largest(np.where(self.inside, mixed, np.float32(-np.inf)), kept)
        if settings.prior > 0:
            mixed = np.maximum(mixed, LEAST_WEIGHT)
        scored = self._near.scored
        weights = np.zeros((len(mixed), len(scored.scores)))
        weights.reshape(-1)[self.rows + self._starts] = np.where(survives, mixed, 0.0)
        solved = weights @ scored.scores
        total = weights.sum(axis=1, keepdims=True)
        answered = np.broadcast_to(total, solved.shape)
        if not scored.present.all():
            answered = weights @ scored.present.astype(np.float64)
        if settings.prior > 0:
            shares = drawn_to(self._near.means, settings.prior * size, solved, answered)
        else:
            shares = np.divide(solved, answered, out=np.zeros_like(solved), where=answered > 0)
        found: Floats = np.round(shares * total, 9)
        return found


def _largest(values: Singles, counts: Rows) -> NDArray[np.bool_]:
    """Mark so many of the largest values of each row (T, L); of equals the first ones, which are the nearest."""
    least = np.take_along_axis(-np.sort(-values, axis=1), counts[:, np.newaxis] - 1, axis=1)
    found: NDArray[np.bool_] = values >= least
    for row in np.flatnonzero(found.sum(axis=1) > counts).tolist():
        equal = np.flatnonzero(values[row] == least[row])
        found[row, equal[counts[row] - found[row].sum() :]] = False
    return found
