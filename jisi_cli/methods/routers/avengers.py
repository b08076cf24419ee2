"""`avengers`: each cluster of questions has its own ranking of the models (Zhang et al. 2025, arXiv 2505.19797)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.errors import InputError
from jisi_cli.methods.clusters import find_centres, mean_scores, nearest_centre, weigh_nearest
from jisi_cli.methods.cross_validation import Choices, Learn, Rank, averages_of, is_better, note_choice
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import ScoreRouter
from jisi_cli.methods.training import OnStep, State, TrainingData
from jisi_cli.scoring import Floats

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_VERSION = 1


@dataclass(frozen=True, slots=True)
class AvengersSettings:
    """Settings of `avengers`; where the paper and its released code disagree, the released code's.

    Attributes:
        clusters: Centres of k-means: the paper has 64, the released code 32.
        nearest: Clusters that have a say (the paper has 2 or 3).
        sharpness: beta of the weights softmax(-beta distance) (the paper has 6).
        offset: delta of 1 / (rank + delta) (the paper has 0.1).
        restarts: Runs of k-means from new starting points.
        centres: `unit` measures the angle to a centre; `raw` is the original's 1 - q.c with the mean c as it is, which
            puts loose clusters further away.
        ties: Models of equal score in a cluster: by their `mean` over all train rows, or as in the original by `name`.
    """

    clusters: int = 64
    nearest: int = 1
    sharpness: float = 9.0
    offset: float = 1.0
    restarts: int = 1
    centres: str = "unit"
    ties: str = "mean"

    def __post_init__(self) -> None:
        if not self.offset > 0:
            raise InputError(f"avengers: offset is a number above 0, not {self.offset:g}")
        for name, choices in (("centres", ("unit", "raw")), ("ties", ("mean", "name"))):
            if getattr(self, name) not in choices:
                raise InputError(f"avengers: {name} is {' or '.join(choices)}, not {getattr(self, name)!r}")

    @classmethod
    def original(cls) -> AvengersSettings:
        """Return the settings of the released code."""
        return cls(clusters=32, restarts=10, centres="raw", ties="name")

    @property
    def learned(self) -> object:
        """What decides what is learned; the other settings change nothing there."""
        return self.clusters, self.restarts, self.ties


@register_method(
    "avengers",
    "ranking of the question's cluster; settings ours or the original's, whichever is better on train",
    "recorded",
    "The Avengers, arXiv 2505.19797",
    settings=Choices(AvengersSettings(), AvengersSettings.original()),
    training_seconds=3,
    departures=(
        "ours (original=no) has 64 clusters, one start of k-means (n_init), centres of unit length, and ties by the "
        "train mean; the released code's settings (original=yes) are 32 clusters, ten starts, means as they are for "
        "centres, and ties by name; by default cross-validation on train rows chooses. In both: one call and no "
        "vote over samples, train rows in an order of their own, scores between 0 and 1 averaged as they are, and a "
        "model's train mean where it has no answer in a cluster"
    ),
)
class Avengers(ScoreRouter[AvengersSettings]):
    """Ranks models by their ranks in the nearest clusters of train questions.

    Unlike the original there is no voting over several samples of the chosen model: one call is made; scores between 0
    and 1 are averaged as they are, where the original counts all above 0 as right; rows are taken in an order of their
    own, which decides the first centres. In a cluster where a model has no answer, its mean over all rows stands in.

    Args:
        context: What the method is made from.
        choices: Clusters and weights; of several, our own first and the original's last, whichever does better on
            train rows by cross-validation.
    """

    reason = "it ranks first in the question's cluster"

    def __init__(self, context: MethodContext, choices: Sequence[AvengersSettings]) -> None:
        super().__init__(context, choices[0])
        data, seed = self.data, self.seed

        def train(on_step: OnStep) -> State:
            if len(choices) == 1:
                return _train(data, choices[0], seed)
            averages = averages_of(data, [_learner(settings, seed) for settings in choices], seed)
            return {**averages, **_train(data, choices[is_better(averages)], seed)}

        identity = choices[0].learned if len(choices) == 1 else tuple(choices)
        self._state = self.learned("avengers", _VERSION, identity, train)
        if len(choices) > 1:
            self.settings = choices[is_better(self._state)]
            note_choice(self._state, context.training)

    def predict(self, vectors: Floats) -> Floats:
        """Return the votes of the nearest clusters for each model (n, M)."""
        return _votes(self._state, self.settings, vectors)


def _votes(state: State, chosen: AvengersSettings, vectors: Floats) -> Floats:
    """Sum of weight / (rank + delta) of each model over the nearest clusters (n, M)."""
    unit = chosen.centres == "unit"
    order, weights = weigh_nearest(vectors, state["centres"], chosen.nearest, chosen.sharpness, unit=unit)
    votes: Floats = np.einsum("nk,nkm->nm", weights, 1.0 / (state["ranks"][order] + chosen.offset))
    return votes


def _train(data: TrainingData, settings: AvengersSettings, seed: int) -> State:
    centres = find_centres(data.vectors, settings.clusters, seed, settings.restarts)
    means = mean_scores(data, nearest_centre(data.vectors, centres), len(centres))
    ranks = np.empty(means.shape)
    if settings.ties == "name":
        # Models are in the order of their names.
        ranks = np.argsort(np.argsort(-means, axis=1, kind="stable"), axis=1).astype(np.float64)
    else:
        for cluster, ranking in enumerate(data.rankings(means)):
            ranks[cluster] = [ranking.index(model) for model in data.models]
    return {"centres": centres, "ranks": ranks}


def _learner(settings: AvengersSettings, seed: int) -> Learn:
    def learn(rows: TrainingData) -> Rank:
        state = _train(rows, settings, seed)
        return lambda vectors: list(rows.rankings(_votes(state, settings, vectors)))

    return learn
