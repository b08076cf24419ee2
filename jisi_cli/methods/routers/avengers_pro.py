"""`avengers-pro`: clusters of questions, ranked by score and price (Zhang et al. 2025, arXiv 2508.12631)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jisi_cli.errors import InputError
from jisi_cli.methods.clusters import find_centres, mean_scores, nearest_centre, weigh_nearest
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.methods.training import Examples, OnStep, State, Training, learned, stacked
from jisi_cli.scoring import Floats, Rows

_VERSION = 1


@dataclass(frozen=True, slots=True)
class AvengersProSettings:
    """Settings of `avengers-pro`.

    Attributes:
        clusters: Centres of k-means.
        nearest: Clusters that have a say.
        sharpness: beta of the weights softmax(-beta distance).
        weight: w: 1 looks at scores alone, 0 at prices alone; the paper has no default, it sweeps w.
    """

    clusters: int = 64
    nearest: int = 4
    sharpness: float = 9.0
    weight: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise InputError(f"avengers-pro: weight is a number from 0 to 1, not {self.weight:g}")


class AvengersPro:
    """Ranks models by w * score + (1 - w) * cheapness, averaged over the nearest clusters.

    Score is the mean score in the cluster, stretched so that its best model has 1 and its worst 0; cheapness is
    1 - cost / cost of the cluster's dearest model. Unlike the original, a model's dollars in a cluster are
    its mean dollars of a call times its completion tokens there over its completion tokens anywhere, because a
    bank knows dollars per model. A model without a known price counts as the dearest.

    Args:
        examples: Train rows.
        costs: Mean dollars of a call per model, in the order of the examples (M,); NaN where unknown.
        seed: Seed of k-means.
        settings: Clusters and weights.
        training: Where what the training took is noted.

    Raises:
        InputError: No price is known.
    """

    def __init__(
        self,
        examples: Examples,
        costs: NDArray[np.float64],
        seed: int,
        settings: AvengersProSettings | None = None,
        training: Training | None = None,
    ) -> None:
        if np.isnan(costs).all():
            raise InputError(
                "`avengers-pro` needs prices; add `price` to the models in the pool file, or pass --prices"
            )
        self._examples, self._settings = examples, settings or AvengersProSettings()
        count = self._settings.clusters

        def train(on_step: OnStep) -> State:
            return _train(examples, count, seed)

        # The weight changes nothing that is learned: a curve over it trains once.
        state = learned("avengers-pro", _VERSION, count, seed, examples, train, training=training)
        self._centres = state["centres"]
        self._values = self._weigh(state["means"], costs * state["lengths"])

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if not queries:
            return
        chosen = self._settings
        order, weights = weigh_nearest(stacked(queries), self._centres, chosen.nearest, chosen.sharpness)
        yield from self._examples.rankings(np.einsum("nk,nkm->nm", weights, self._values[order]))

    def _weigh(self, means: Floats, costs: Floats) -> Floats:
        low, high = means.min(axis=1, keepdims=True), means.max(axis=1, keepdims=True)
        spread = np.where(high > low, high - low, 1.0)
        dearest = np.nanmax(costs, axis=1, keepdims=True)
        cheapness = 1.0 - np.where(np.isnan(costs), dearest, costs) / np.where(dearest > 0, dearest, 1.0)
        values: Floats = self._settings.weight * (means - low) / spread + (1.0 - self._settings.weight) * cheapness
        return values


def _train(examples: Examples, clusters: int, seed: int) -> State:
    centres = find_centres(examples.vectors, clusters, seed)
    labels = nearest_centre(examples.vectors, centres)
    means = mean_scores(examples, labels, len(centres))
    return {"centres": centres, "means": means, "lengths": _relative_lengths(examples, labels, len(centres))}


def _relative_lengths(examples: Examples, labels: Rows, clusters: int) -> Floats:
    """Mean completion tokens in a cluster over mean completion tokens anywhere (C, M); 1 where unknown."""
    lengths = np.ones((clusters, len(examples.models)))
    for model, tokens in enumerate(examples.tokens.T):
        known = ~np.isnan(tokens)
        everywhere = tokens[known].mean() if known.any() else 0.0
        for cluster in set(labels[known].tolist()) if everywhere > 0 else ():
            lengths[cluster, model] = tokens[known & (labels == cluster)].mean() / everywhere
    return lengths
