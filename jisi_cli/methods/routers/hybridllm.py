"""`hybridllm`: the small model where it likely does as well, else the large one (Ding et al., arXiv 2404.14618)."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.errors import InputError
from jisi_cli.methods.rankings import Ranking
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import PairRouter
from jisi_cli.methods.training import OnStep, State, TrainingData
from jisi_cli.methods.training_loop import forward, weights_of
from jisi_cli.scoring import Floats

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_VERSION = 1
_DECIMALS = 9
_LABELS = ("deterministic", "probabilistic", "transformed")
_STEPS = 50


@dataclass(frozen=True, slots=True)
class HybridLlmSettings:
    """Settings of `hybridllm`; LLMRouter's.

    Attributes:
        labels: What is learned of the gap g between the two scores: `deterministic` g >= 0, `probabilistic`
            sigmoid(g / tau), `transformed` g >= -t with the t that divides the train rows most evenly.
        tau: Of the probabilistic labels.
        threshold: Prediction from which on the small model is asked.
        first: Width of the first hidden layer.
        second: Width of the second.
        passes: Passes over the train rows at most.
        seed: Of the first weights and of the minibatches.
    """

    labels: str = "probabilistic"
    tau: float = 0.1
    threshold: float = 0.5
    first: int = 128
    second: int = 64
    passes: int = 300
    seed: int = 42

    def __post_init__(self) -> None:
        if self.labels not in _LABELS:
            raise InputError(f"hybridllm: labels are {', '.join(_LABELS)}, not {self.labels!r}")
        if not self.tau > 0:
            raise InputError(f"hybridllm: tau is a number above 0, not {self.tau:g}")


@register_method(
    "hybridllm",
    "the cheapest model where it likely does as well as the best, else the best; trained",
    "recorded",
    "HybridLLM, arXiv 2404.14618",
    settings=HybridLlmSettings(),
    training_seconds=5,
    departures=(
        "a network over frozen vectors stands for DeBERTa, as in LLMRouter, whose settings these are; one recorded "
        "score a model stands for several samples; the cheapest model is the small one and the best on train the "
        "large one"
    ),
)
class HybridLlm(PairRouter[HybridLlmSettings]):
    """Asks the small model where a network predicts that it does as well as the large one.

    LLMRouter takes the numbers of parameters for what is small and large.
    """

    reason = "it is likely to do as well, or the other is not"

    def __init__(self, context: MethodContext, settings: HybridLlmSettings) -> None:
        super().__init__(context, settings, "hybridllm")

        def train(on_step: OnStep) -> State:
            return _train(self.data, self.order, settings)

        # The threshold changes nothing that is learned.
        identity = (self.order[:2], {name: value for name, value in asdict(settings).items() if name != "threshold"})
        self._state = self.learned("hybridllm", _VERSION, identity, train, seed=settings.seed)

    @property
    def can_choose(self) -> bool:
        """Whether there are two models, and rows that both answered."""
        return super().can_choose and "label" in self._state

    def takes_cheap(self, vectors: Floats) -> NDArray[np.bool_]:
        """Return where the small model is likely to do as well (n,)."""
        return self._predicted(vectors) >= self.settings.threshold

    def _predicted(self, vectors: Floats) -> Floats:
        """How far the small model does as well (n,), rounded, so that no other block decides otherwise."""
        if "weights_0" not in self._state:
            return np.full(len(vectors), float(self._state["label"]))
        predicted: Floats = np.clip(forward(self._state, vectors)[:, 0], 0.0, 1.0)
        return np.asarray(np.round(predicted, _DECIMALS), dtype=np.float64)


def _train(data: TrainingData, order: Ranking, settings: HybridLlmSettings) -> State:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if len(order) < 2:
        return {}
    large, small = (data.models.index(name) for name in order[:2])
    rows = np.flatnonzero(data.present[:, large] & data.present[:, small])
    if not len(rows):
        return {}
    labels = labels_of(data.scores[rows, small] - data.scores[rows, large], settings)
    if np.ptp(labels) == 0:
        return {"label": labels[:1].mean()}
    network = MLPRegressor(
        hidden_layer_sizes=(settings.first, settings.second), max_iter=settings.passes, random_state=settings.seed
    )
    # One thread: the same bits whatever the number of cores.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(data.vectors[rows].astype(np.float64), labels)
    return {"label": np.array(labels.mean()), **weights_of(network)}


def labels_of(gaps: Floats, settings: HybridLlmSettings) -> Floats:
    """Return how far the small model does as well (n,), from its scores less the large one's."""
    if settings.labels == "probabilistic":
        likely: Floats = 1.0 / (1.0 + np.exp(-gaps.astype(np.float64) / settings.tau))
        return likely
    slack = 0.0
    if settings.labels == "transformed":
        tried = np.linspace(0.0, float(np.abs(gaps).max()), _STEPS)
        shares = [float((gaps >= -step).mean()) for step in tried]
        slack = float(tried[int(np.argmax([share * (1 - share) for share in shares]))])
    return np.asarray(gaps >= -slack, dtype=np.float64)
