"""`mlp`: a small neural network over query vectors that names the best model.

The MLP router of LLMRouter (github.com/ulab-uiuc/LLMRouter) with its settings: scikit-learn's MLPClassifier, layers of
128 and 64, ReLU, Adam in steps of 1e-3, at most 500 passes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.methods.training import Examples, OnStep, State, Training, among_all, best_models, learned, stacked
from jisi_cli.methods.training_loop import forward, weights_of
from jisi_cli.scoring import Floats

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


class Mlp:
    """Ranks models by the network's outputs, one for each model that was the best of some train question.

    What differs from the original: of equally good models of a train question the better on train at large is the best
    one, where the original takes the first in its file; the bank's vectors stand for Longformer's.

    Args:
        examples: Train rows.
        settings: Of the network.
        training: Where what the training took is noted.
    """

    def __init__(
        self, examples: Examples, settings: MlpSettings | None = None, training: Training | None = None
    ) -> None:
        chosen = settings or MlpSettings()
        self._examples = examples

        def train(on_step: OnStep) -> State:
            return _train(examples, chosen)

        self._state = learned("mlp", _VERSION, chosen, chosen.seed, examples, train, training=training)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if queries:
            outputs = _outputs(self._state, stacked(queries))
            yield from self._examples.rankings(among_all(self._examples, self._state["classes"], outputs))


def _train(examples: Examples, settings: MlpSettings) -> State:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows, labels = best_models(examples)
    classes = np.unique(labels)
    if len(classes) < 2:
        return {"classes": classes}
    network = MLPClassifier(
        hidden_layer_sizes=(settings.first, settings.second), max_iter=settings.passes, random_state=settings.seed
    )
    # One thread: the same bits whatever the number of cores.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(examples.vectors[rows].astype(np.float64), labels)
    return {"classes": classes, **weights_of(network)}


def _outputs(state: State, vectors: Floats) -> Floats:
    """What the network says of each class (n, C)."""
    if len(state["classes"]) < 2:
        return np.zeros((len(vectors), len(state["classes"])))
    outputs = forward(state, vectors)
    # Of two classes it knows one number: how much likelier the second is.
    return outputs if outputs.shape[1] > 1 else np.hstack([-outputs, outputs])
