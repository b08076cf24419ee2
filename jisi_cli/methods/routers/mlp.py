"""`mlp`: a small neural network over query vectors that names the best model.

The MLP router of LLMRouter (github.com/ulab-uiuc/LLMRouter) with its settings: scikit-learn's MLPClassifier, layers of
128 and 64, ReLU, Adam in steps of 1e-3, at most 500 passes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import ScoreRouter
from jisi_cli.methods.training import State, TrainingData, among_all, best_models
from jisi_cli.methods.training_loop import forward, weights_of
from jisi_cli.scoring import Floats

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_VERSION = 1


@dataclass(frozen=True, slots=True)
class MlpSettings:
    """Settings of `mlp`.

    Attributes:
        first: Width of the first hidden layer.
        second: Width of the second.
        passes: Passes over the train rows at most.
        seed: Of the first weights and of the minibatches; the original's.
    """

    first: int = 128
    second: int = 64
    passes: int = 500
    seed: int = 42


@register_method(
    "mlp",
    "a neural network names the best model; trained",
    "recorded",
    "LLMRouter, github.com/ulab-uiuc",
    settings=MlpSettings(),
    training_seconds=10,
    departures=(
        "of equally good models of a train question the better on train is taken; the bank's vectors for Longformer's"
    ),
)
class Mlp(ScoreRouter[MlpSettings]):
    """Ranks models by the network's outputs, one for each model that was the best of some train question.

    Of equally good models of a train question the original takes the first in its file.
    """

    reason = "it is likely the best"

    def __init__(self, context: MethodContext, settings: MlpSettings) -> None:
        super().__init__(context, settings)
        seed = settings.seed
        self._state = self.learned("mlp", _VERSION, settings, lambda _: _train(self.data, settings), seed=seed)

    def predict(self, vectors: Floats) -> Floats:
        """Return the outputs for each model (n, M)."""
        return among_all(self.data, self._state["classes"], _outputs(self._state, vectors))


def _train(data: TrainingData, settings: MlpSettings) -> State:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows, labels = best_models(data)
    classes = np.unique(labels)
    if len(classes) < 2:
        return {"classes": classes}
    network = MLPClassifier(
        hidden_layer_sizes=(settings.first, settings.second), max_iter=settings.passes, random_state=settings.seed
    )
    # One thread: the same bits whatever the number of cores.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(data.vectors[rows].astype(np.float64), labels)
    return {"classes": classes, **weights_of(network)}


def _outputs(state: State, vectors: Floats) -> Floats:
    """What the network says of each class (n, C)."""
    if len(state["classes"]) < 2:
        return np.zeros((len(vectors), len(state["classes"])))
    outputs = forward(state, vectors)
    # Of two classes it knows one number: how much likelier the second is.
    return outputs if outputs.shape[1] > 1 else np.hstack([-outputs, outputs])
