"""`routellm`: a strong model where it is likely to win, a weak one elsewhere (Ong et al. 2024, arXiv 2406.18665)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.errors import InputError
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import PairRouter
from jisi_cli.methods.training import OnStep, State, TrainingData
from jisi_cli.methods.training_loop import LoopSettings, Standard, first_weights, hold_out, masked_mean, minimise
from jisi_cli.scoring import Floats

if TYPE_CHECKING:
    import torch

    from jisi_cli.methods.context import MethodContext
    from jisi_cli.methods.training_loop import Parameters

_VERSION = 1
_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class RouteLlmSettings:
    """Settings of `routellm`.

    Attributes:
        strong_share: Share of the train questions that the threshold sends to the strong model.
        width: Length of a model's vector.
        rate: Step size.
        decay: Weight decay.
        batch: Questions in a step.
        epochs: Passes over the questions.
        steps: Steps at least.
    """

    strong_share: float = 0.5
    width: int = 128
    rate: float = 1e-3
    decay: float = 1e-3
    batch: int = 64
    epochs: int = 10
    steps: int = 300

    def __post_init__(self) -> None:
        if not 0 <= self.strong_share <= 1:
            raise InputError(f"routellm: strong_share is a number from 0 to 1, not {self.strong_share:g}")


@register_method(
    "routellm",
    "the best model where it is likely to win, else the cheapest; trained",
    "recorded",
    "RouteLLM, arXiv 2406.18665",
    settings=RouteLlmSettings(),
    training_seconds=0.2,
    trade_off="strong_share",
    departures="recorded scores stand for people's votes; vectors are standardised; stops early by a tenth of train",
)
class RouteLlm(PairRouter[RouteLlmSettings]):
    """Asks the strong model where its chance to beat the weak one reaches a threshold.

    The chance is sigmoid(d_strong - d_weak) with d_m = w (v_m * (W q + b)), the matrix factorisation of RouteLLM,
    trained on all pairs of models that score differently on a question. What differs from the original: it learns
    from people's votes in Chatbot Arena, this from recorded scores, a pair weighing as much as the scores
    differ; query vectors are standardised; training ends where a tenth of the train rows is best; the
    threshold is set, as by its `calibrate_threshold`, by the share of train questions above it.
    """

    reason = "it is worth its price here"

    def __init__(self, context: MethodContext, settings: RouteLlmSettings) -> None:
        super().__init__(context, settings, "routellm")
        if not self.can_choose:
            return

        def train(on_step: OnStep) -> State:
            return _train(self.data, settings, self.seed, on_step)

        # The share changes nothing that is learned: a curve over it trains once.
        identity = (settings.width, settings.rate, settings.decay, settings.batch, settings.epochs, settings.steps)
        self._state = self.learned("routellm", _VERSION, identity, train)
        self._pair = [self.data.models.index(name) for name in self.order[:2]]
        self._threshold = _threshold(self._chances(self.data.vectors), settings.strong_share)

    def takes_cheap(self, vectors: Floats) -> NDArray[np.bool_]:
        """Return where the strong model's chance is too small (n,)."""
        return self._chances(vectors) < self._threshold

    def _chances(self, vectors: NDArray[Any]) -> Floats:
        """Chance that the strong model beats the weak one (n,), rounded, so that no other block decides otherwise."""
        state = self._state
        inner = Standard(state["mean"], state["scale"])(vectors) @ state["query_map"].T + state["query_bias"]
        strong, weak = state["models"][self._pair]
        chances: Floats = np.round(1.0 / (1.0 + np.exp(-(inner @ ((strong - weak) * state["out"])))), _DECIMALS)
        return chances


def _threshold(chances: Floats, share: float) -> float:
    """The smallest chance that still belongs to the given share of the largest."""
    count = round(share * len(chances))
    if count in (0, len(chances)):
        # None, or all: beyond what train has seen, too.
        return math.inf if count == 0 else -math.inf
    return float(np.sort(chances)[len(chances) - count])


def _train(data: TrainingData, settings: RouteLlmSettings, seed: int, on_step: OnStep) -> State:
    import torch

    train, held_out = hold_out(len(data.vectors), seed)
    standard = Standard.of(data.vectors[train])
    inputs = torch.tensor(standard(data.vectors), dtype=torch.float32)
    scores = torch.tensor(data.scores, dtype=torch.float32)
    present = torch.tensor(data.present)

    def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
        inner = inputs[rows] @ p["query_map"].T + p["query_bias"]
        values = inner @ (p["models"] * p["out"]).T
        margins = values[:, :, None] - values[:, None, :]
        gains = (scores[rows][:, :, None] - scores[rows][:, None, :]).clamp(min=0.0)
        both = present[rows][:, :, None] & present[rows][:, None, :]
        return masked_mean(torch.nn.functional.softplus(-margins), gains * both)

    rng = np.random.default_rng(seed)
    width = settings.width
    start = {
        "query_map": first_weights(rng, width, data.vectors.shape[1]),
        "query_bias": np.zeros(width),
        "models": rng.normal(size=(len(data.models), width)),
        "out": first_weights(rng, width),
    }
    how = LoopSettings(settings.rate, settings.decay, settings.batch, settings.epochs, settings.steps)
    return {
        **minimise(loss, start, train, held_out, how, seed, on_step),
        "mean": standard.mean,
        "scale": standard.scale,
    }
