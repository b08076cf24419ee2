"""`avengers-pro`: clusters of questions, ranked by score and price (Zhang et al. 2025, arXiv 2508.12631)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.errors import InputError
from jisi_cli.methods.clusters import find_centres, mean_scores, nearest_centre, weigh_nearest
from jisi_cli.methods.rankings import require_prices
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import ScoreRouter
from jisi_cli.methods.training import State, TrainingData
from jisi_cli.scoring import Floats, Rows

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

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


@register_method(
    "avengers-pro",
    "score against price in the question's clusters; weight=1 is score alone",
    "recorded",
    "Avengers-Pro, arXiv 2508.12631",
    settings=AvengersProSettings(),
    training_seconds=0.2,
    trade_off="weight",
    departures=(
        "a model's dollars in a cluster are its mean dollars times the tokens that it takes there over those "
        "anywhere; one start of k-means; centres of unit length"
    ),
)
class AvengersPro(ScoreRouter[AvengersProSettings]):
    """Ranks models by w * score + (1 - w) * cheapness, averaged over the nearest clusters.

    Score is the mean score in the cluster, stretched so that its best model has 1 and its worst 0; cheapness is
    1 - cost / cost of the cluster's dearest model. Unlike the original, a model's dollars in a cluster are
    its mean dollars of a call times its completion tokens there over its completion tokens anywhere, because a
    bank knows dollars per model. A model without a known price counts as the dearest.

    Raises:
        InputError: No price is known.
    """

    reason = "it has the best mix of score and price in the question's clusters"

    def __init__(self, context: MethodContext, settings: AvengersProSettings) -> None:
        super().__init__(context, settings)
        require_prices(context.costs, "avengers-pro")
        # The weight changes nothing that is learned: a curve over it trains once.
        clusters = settings.clusters
        state = self.learned("avengers-pro", _VERSION, clusters, lambda _: _train(self.data, clusters, self.seed))
        self._centres = state["centres"]
        self._values = self._weigh(state["means"], context.costs[self.data.columns] * state["lengths"])

    def predict(self, vectors: Floats) -> Floats:
        """Return the value of each model, averaged over the nearest clusters (n, M)."""
        order, weights = weigh_nearest(vectors, self._centres, self.settings.nearest, self.settings.sharpness)
        values: Floats = np.einsum("nk,nkm->nm", weights, self._values[order])
        return values

    def _weigh(self, means: Floats, costs: Floats) -> Floats:
        low, high = means.min(axis=1, keepdims=True), means.max(axis=1, keepdims=True)
        spread = np.where(high > low, high - low, 1.0)
        dearest = np.nanmax(costs, axis=1, keepdims=True)
        cheapness = 1.0 - np.where(np.isnan(costs), dearest, costs) / np.where(dearest > 0, dearest, 1.0)
        values: Floats = self.settings.weight * (means - low) / spread + (1.0 - self.settings.weight) * cheapness
        return values


def _train(data: TrainingData, clusters: int, seed: int) -> State:
    centres = find_centres(data.vectors, clusters, seed)
    labels = nearest_centre(data.vectors, centres)
    means = mean_scores(data, labels, len(centres))
    return {"centres": centres, "means": means, "lengths": _relative_lengths(data, labels, len(centres))}


def _relative_lengths(data: TrainingData, labels: Rows, clusters: int) -> Floats:
    """Mean completion tokens in a cluster over mean completion tokens anywhere (C, M); 1 where unknown."""
    lengths = np.ones((clusters, len(data.models)))
    for model, tokens in enumerate(data.tokens.T):
        known = ~np.isnan(tokens)
        everywhere = tokens[known].mean() if known.any() else 0.0
        for cluster in set(labels[known].tolist()) if everywhere > 0 else ():
            lengths[cluster, model] = tokens[known & (labels == cluster)].mean() / everywhere
    return lengths
