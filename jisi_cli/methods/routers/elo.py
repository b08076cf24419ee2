"""`elo`: the model with the highest rating, from the train questions as matches of each pair of models.

The Elo router of LLMRouter (github.com/ulab-uiuc/LLMRouter): ratings by a logistic regression over pairs, 400 points
for odds of ten to one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import ScoreRouter
from jisi_cli.methods.training import TrainingData
from jisi_cli.scoring import Floats

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_VERSION = 1
_PENALTY = 1e-4
"""Strength of an L2 penalty that keeps the rating of a model finite that never lost."""


@register_method(
    "elo",
    "the model with the highest Elo rating; trained",
    "recorded",
    "LLMRouter, github.com/ulab-uiuc",
    training_seconds=0.2,
    departures=(
        "all pairs of models play on each train question and equal scores are draws, where the original has only "
        "the best model of a question play, and win over its equals; a slight penalty keeps ratings finite"
    ),
)
class Elo(ScoreRouter[None]):
    """Ranks models by rating, whatever the question.

    What differs from the original: every pair of models that answered a question plays, and an equal score is a draw,
    where the original has only the best model of a question play, takes the first in its file for the best of equals,
    and lets it win over them too.
    """

    reason = "it has the highest rating"

    def __init__(self, context: MethodContext, settings: None) -> None:
        super().__init__(context, settings)
        # Nothing is drawn.
        state = self.learned("elo", _VERSION, _PENALTY, lambda _: {"ratings": ratings(wins(self.data))}, seed=0)
        self._ratings = state["ratings"]

    def predict(self, vectors: Floats) -> Floats:
        """Return the ratings once per query (n, M)."""
        return np.broadcast_to(self._ratings, (len(vectors), len(self._ratings)))


def wins(data: TrainingData) -> Floats:
    """Return how often each model beat each other one (M, M); a draw is half a win for both."""
    scores, present = data.scores, data.present
    found = np.zeros((scores.shape[1],) * 2)
    for model in range(scores.shape[1]):
        both = present & present[:, [model]]
        ahead = scores[:, [model]] - scores
        found[model] = (both * ((ahead > 0) + 0.5 * (ahead == 0))).sum(axis=0)
    np.fill_diagonal(found, 0.0)
    return found


def ratings(found: Floats) -> Floats:
    """Return ratings (M,) under which the wins (M, M) are likeliest, 1000 on average."""
    from sklearn.linear_model import LogisticRegression

    pairs = [(a, b) for a in range(len(found)) for b in range(a) if found[a, b] + found[b, a] > 0]
    if not pairs:
        return np.full(len(found), 1000.0)
    matches = np.zeros((len(pairs), len(found)))
    for row, (a, b) in enumerate(pairs):
        matches[row, [a, b]] = math.log(10), -math.log(10)
    won = np.array([found[a, b] for a, b in pairs])
    lost = np.array([found[b, a] for a, b in pairs])
    regression = LogisticRegression(C=1 / _PENALTY, fit_intercept=False, max_iter=1000, tol=1e-8)
    # A pair once with its wins and once with its losses.
    regression.fit(
        np.vstack([matches, matches]), np.repeat([1, 0], len(pairs)), sample_weight=np.concatenate([won, lost])
    )
    strengths = 400.0 * regression.coef_[0]
    rated: Floats = 1000.0 + strengths - strengths.mean()
    return rated
