"""`avengers`: each cluster of questions has its own ranking of the models (Zhang et al. 2025, arXiv 2505.19797)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jisi_cli.errors import InputError
from jisi_cli.methods.clusters import find_centres, mean_scores, nearest_centre, weigh_nearest
from jisi_cli.methods.examples import Examples, stacked
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.methods.trained_state import State, learned
from jisi_cli.methods.training import OnStep, Training
from jisi_cli.scoring import Floats

_VERSION = 1


@dataclass(frozen=True, slots=True)
class AvengersSettings:
    """Settings of `avengers`; where the paper and its released code disagree, the released code's.

    Attributes:
        clusters: Centres of k-means.
        nearest: Clusters that have a say (the paper has 2 or 3).
        sharpness: beta of the weights softmax(-beta distance) (the paper has 6).
        offset: delta of 1 / (rank + delta) (the paper has 0.1).
    """

    clusters: int = 64
    nearest: int = 1
    sharpness: float = 9.0
    offset: float = 1.0

    def __post_init__(self) -> None:
        if not self.offset > 0:
            raise InputError(f"avengers: offset is a number above 0, not {self.offset:g}")


class Avengers:
    """Ranks models by their ranks in the nearest clusters of train questions.

    Unlike the original there is no voting over several samples of the chosen model: one call is made. In a
    cluster where a model has no answer, its mean over all rows stands in.

    Args:
        examples: Train rows.
        seed: Seed of k-means.
        settings: Clusters and weights.
        training: Where what the training took is noted.
    """

    def __init__(
        self,
        examples: Examples,
        seed: int,
        settings: AvengersSettings | None = None,
        training: Training | None = None,
    ) -> None:
        self._examples, self._settings = examples, settings or AvengersSettings()
        count = self._settings.clusters

        def train(on_step: OnStep) -> State:
            return _train(examples, count, seed)

        # The other settings change nothing that is learned.
        state = learned("avengers", _VERSION, count, seed, examples, train, training=training)
        self._centres, self._ranks = state["centres"], state["ranks"]

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if queries:
            yield from self._examples.rankings(self._votes(stacked(queries)))

    def _votes(self, vectors: Floats) -> Floats:
        """Sum of weight / (rank + delta) of each model over the nearest clusters (n, M)."""
        chosen = self._settings
        order, weights = weigh_nearest(vectors, self._centres, chosen.nearest, chosen.sharpness)
        votes: Floats = np.einsum("nk,nkm->nm", weights, 1.0 / (self._ranks[order] + chosen.offset))
        return votes


def _train(examples: Examples, clusters: int, seed: int) -> State:
    centres = find_centres(examples.vectors, clusters, seed)
    means = mean_scores(examples, nearest_centre(examples.vectors, centres), len(centres))
    ranks = np.empty(means.shape)
    for cluster, ranking in enumerate(examples.rankings(means)):
        ranks[cluster] = [ranking.index(model) for model in examples.models]
    return {"centres": centres, "ranks": ranks}
