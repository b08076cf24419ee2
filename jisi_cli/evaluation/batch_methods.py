"""Methods that decide many recorded questions at once under many settings, for experiments on train rows.

Each shares what settings have in common: the same support set gives the same ranking, the same candidates the same
filter. A question that would need the aggregator, whose answer no replay has, goes to the router's choice instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from jisi_cli.evaluation.batch_filter import Filter, Responses, Routed
from jisi_cli.evaluation.batch_support import Neighbours
from jisi_cli.evaluation.batch_votes import NOBODY, Votes, first_answered, vote
from jisi_cli.evaluation.final_codes import AnswerCodes
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import Floats, Rows

Key = tuple[object, ...]


@dataclass
class Block:
    """Some questions, the bank rows near them, and what was recorded of them.

    Attributes:
        near: The neighbours of T questions.
        finals: Their recorded final answers.
        responses: Their recorded responses.
    """

    near: Neighbours
    finals: AnswerCodes
    responses: Responses
    _ranked: dict[Key, tuple[Floats, Rows]] = field(default_factory=dict)
    _votes: dict[Key, Votes] = field(default_factory=dict)
    _filters: dict[Key, Filter] = field(default_factory=dict)
    _routed: dict[Key, Routed] = field(default_factory=dict)

    def ranked(self, settings: Hyperparameters) -> tuple[Floats, Rows]:
        """Return coarse scores and ranking (T, M)."""
        key = (settings.n_base, settings.gamma, settings.prior)
        if key not in self._ranked:
            scores = self.near.scores(settings)
            self._ranked[key] = scores, self.near.rank(scores, settings)
        return self._ranked[key]

    def votes(self, settings: Hyperparameters) -> Votes:
        """Return the candidates' votes."""
        key = (settings.n_base, settings.gamma, settings.prior, settings.rounds())
        if key not in self._votes:
            scores, ranking = self.ranked(settings)
            self._votes[key] = vote(ranking, scores, self.finals, settings.rounds())
        return self._votes[key]

    def routed(self, settings: Hyperparameters, places: Rows) -> Routed:
        """Return the router's choices for some questions of the block."""
        support = (settings.n_base, settings.gamma, settings.prior, settings.k, places.tobytes())
        key = (*support, settings.epsilon, settings.sigma, settings.delta, settings.beta)
        if key not in self._routed:
            if support not in self._filters:
                # Settings come in an order in which those that share a filter follow one another.
                self._filters.clear()
                self._filters[support] = Filter(self.near, settings, self.ranked(settings)[1], self.responses, places)
            self._routed[key] = self._filters[support].route(settings)
        return self._routed[key]


_UNANIMOUS = 1 - 1e-9

Decide = Callable[[Block, Hyperparameters], Routed]


def by_query(block: Block, settings: Hyperparameters) -> Routed:
    """`jisi-query`: the first model by coarse score that has a response."""
    return Routed(*first_answered(block.ranked(settings)[1], block.finals.answered))


def by_router(block: Block, settings: Hyperparameters) -> Routed:
    """`jisi-router`: the best aggregatee."""
    return block.routed(settings, np.arange(len(block.near.order)))


def by_vote(block: Block, settings: Hyperparameters) -> Routed:
    """`jisi-vote`: the heaviest final answer; the router's choice where there is none."""
    votes = block.votes(settings)
    places = np.flatnonzero(votes.winners == NOBODY)
    models, calls = votes.winners.copy(), votes.calls.copy()
    if len(places):
        rest = block.routed(settings, places)
        models[places], calls[places] = rest.models, rest.calls
    return Routed(models, calls)


def by_consensus(block: Block, settings: Hyperparameters) -> Routed:
    """`jisi-consensus`: the heaviest final answer where its share is large enough, the router's choice elsewhere."""
    votes = block.votes(settings)
    is_open = (votes.winners == NOBODY) | (votes.shares < settings.u)
    models, calls = votes.winners.copy(), votes.calls + is_open
    # All that any u and any rounds may leave open, so that settings that differ in these alone share a filter.
    places = np.flatnonzero(block.votes(replace(settings, probe_schedule="")).shares < _UNANIMOUS)
    if len(places):
        rest = block.routed(settings, places)
        models[places] = np.where(is_open[places], rest.models, models[places])
    return Routed(models, calls)


METHODS: dict[str, Decide] = {
    "jisi-router": by_router,
    "jisi-query": by_query,
    "jisi-vote": by_vote,
    "jisi-consensus": by_consensus,
}
"""What can be calibrated, by the method's name."""
