"""`zooter`: a distribution over models, distilled from their rewards (Lu et al. 2023, arXiv 2311.08692)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.methods.clusters import find_centres, mean_scores, nearest_centre
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import ScoreRouter
from jisi_cli.methods.training import OnStep, State, TrainingData
from jisi_cli.methods.training_loop import LoopSettings, Standard, hold_out, minimise
from jisi_cli.scoring import Floats

if TYPE_CHECKING:
    import torch

    from jisi_cli.methods.context import MethodContext
    from jisi_cli.methods.training_loop import Parameters

_VERSION = 1


@dataclass(frozen=True, slots=True)
class ZooterSettings:
    """Settings of `zooter`.

    Attributes:
        smoothing: Share of the cluster's mean score in a reward.
        clusters: Centres of k-means, which stand for the original's tags.
        rate: Step size.
        decay: Weight decay.
        batch: Questions in a step.
        epochs: Passes over the questions.
        steps: Steps at least.
    """

    smoothing: float = 0.3
    clusters: int = 64
    rate: float = 1e-4
    decay: float = 0.01
    batch: int = 256
    epochs: int = 50
    steps: int = 400


@register_method(
    "zooter",
    "softmax regression distilled from scores; trained",
    "recorded",
    "Zooter, arXiv 2311.08692",
    settings=ZooterSettings(),
    training_seconds=0.4,
    departures=(
        "recorded scores stand for a reward model's and clusters for tags; a linear map over frozen vectors for the "
        "encoder; stops early by a tenth of train"
    ),
)
class Zooter(ScoreRouter[ZooterSettings]):
    """Ranks models by a softmax regression on the query vector, trained towards the softmax of their rewards.

    What differs from the original: a reward is the recorded score, not a reward model's; clusters of query vectors
    stand for tags that a model gives; the regression is linear over frozen, standardised vectors where the original
    trains an encoder, and starts from the mean of the targets. A missing score is its cluster's mean. Training
    ends where a tenth of the train rows is best.
    """

    reason = "it has the largest share of the rewards expected here"

    def __init__(self, context: MethodContext, settings: ZooterSettings) -> None:
        super().__init__(context, settings)

        def train(on_step: OnStep) -> State:
            return _train(self.data, settings, self.seed, on_step)

        self._state = self.learned("zooter", _VERSION, settings, train)

    def predict(self, vectors: Floats) -> Floats:
        """Return the logits of the softmax (n, M)."""
        state = self._state
        logits: Floats = Standard(state["mean"], state["scale"])(vectors) @ state["weights"].T + state["bias"]
        return logits


def smoothed_rewards(data: TrainingData, clusters: int, smoothing: float, seed: int) -> Floats:
    """Return the rewards (N, M): scores mixed with the mean score of the model in the question's cluster."""
    centres = find_centres(data.vectors, clusters, seed)
    labels = nearest_centre(data.vectors, centres)
    typical = mean_scores(data, labels, len(centres))[labels]
    return np.where(data.present, (1.0 - smoothing) * data.scores + smoothing * typical, typical)


def _train(data: TrainingData, settings: ZooterSettings, seed: int, on_step: OnStep) -> State:
    import torch

    train, held_out = hold_out(len(data.vectors), seed)
    standard = Standard.of(data.vectors[train])
    inputs = torch.tensor(standard(data.vectors), dtype=torch.float32)
    rewards = torch.tensor(smoothed_rewards(data, settings.clusters, settings.smoothing, seed), dtype=torch.float32)
    targets = torch.softmax(rewards, dim=1)

    def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
        chances = torch.log_softmax(inputs[rows] @ p["weights"].T + p["bias"], dim=1)
        # The Kullback-Leibler divergence less the entropy of the targets, which nothing can change.
        return -(targets[rows] * chances).sum(dim=1).mean()

    models, width = len(data.models), data.vectors.shape[1]
    # The best that can be said without looking at the question; the rest is learned from there.
    usual = torch.log(targets[torch.from_numpy(train)].mean(dim=0)).numpy().astype(np.float64)
    start = {"weights": np.zeros((models, width)), "bias": usual}
    how = LoopSettings(settings.rate, settings.decay, settings.batch, settings.epochs, settings.steps)
    return {
        **minimise(loss, start, train, held_out, how, seed, on_step),
        "mean": standard.mean,
        "scale": standard.scale,
    }
