"""A trained network of scikit-learn's as arrays, and what it says, without scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from jisi_cli.methods.trained_state import State
from jisi_cli.scoring import Floats


def weights_of(network: Any) -> State:  # noqa: ANN401 - scikit-learn has no types
    """Return the weights of an `MLPClassifier` or `MLPRegressor` whose hidden layers are ReLU."""
    layers = enumerate(zip(network.coefs_, network.intercepts_, strict=True))
    return {name: value for at, (w, b) in layers for name, value in ((f"weights_{at}", w), (f"offsets_{at}", b))}


def forward(state: State, vectors: Floats) -> Floats:
    """Return the outputs before the last activation (n, C)."""
    values, layers = vectors, sum(name.startswith("weights_") for name in state)
    for layer in range(layers):
        values = values @ state[f"weights_{layer}"] + state[f"offsets_{layer}"]
        if layer < layers - 1:
            values = np.maximum(values, 0.0)
    return values
