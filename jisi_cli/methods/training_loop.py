"""Training by gradient descent on minibatches; networks of scikit-learn's as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.methods.training import OnStep, State
from jisi_cli.scoring import Floats, Rows

if TYPE_CHECKING:
    import torch

    Parameters = Mapping[str, torch.Tensor]
    Loss = Callable[[Parameters, torch.Tensor, torch.Generator | None], torch.Tensor]
    """The mean loss of some rows (b,), given the source of everything random in training: None in validation."""


# Training by gradient descent on minibatches of rows, stopped where a slice of train that it never saw is best.


_HELD_OUT = 0.1
_LEAST_HELD_OUT = 4
"""Fewer rows than this say nothing about where to stop."""


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How to go down.

    Attributes:
        rate: Step size of AdamW.
        decay: Its weight decay.
        batch: Rows of a step.
        epochs: Passes over the rows.
        least_steps: Steps at least: passes over few rows are few steps.
        checks: How often the held-out loss is looked at.
        patience: Checks without a better one that end the training.
        device: torch's name of where the parameters are; rows and what is drawn stay on the processor.
        shuffled: Whether every pass takes the rows in another order.
        decoupled: Whether decay is AdamW's own; without, it is Adam's, part of the gradient.
    """

    rate: float
    decay: float
    batch: int
    epochs: int
    least_steps: int
    checks: int = 40
    patience: int = 6
    device: str = "cpu"
    shuffled: bool = True
    decoupled: bool = True


def hold_out(count: int, seed: int) -> tuple[Rows, Rows]:
    """Return the rows to train on and a tenth of all to stop by; none of these when rows are few."""
    order = np.random.default_rng([seed, count]).permutation(count)
    size = int(_HELD_OUT * count)
    size = size if size >= _LEAST_HELD_OUT else 0
    return np.sort(order[size:]), np.sort(order[:size])


def minimise(
    loss: Loss, start: State, train: Rows, held_out: Rows, how: LoopSettings, seed: int, on_step: OnStep
) -> State:
    """Return the parameters with the smallest held-out loss on the way down; the last ones without held-out rows.

    Args:
        loss: What to minimise.
        start: First values by name.
        train: Rows to learn from.
        held_out: Rows to stop by.
        how: Steps and their sizes.
        seed: Seed of the minibatches and of what the loss draws.
        on_step: Told after every step.
    """
    import torch

    parameters = {
        name: torch.tensor(value, dtype=torch.float32, device=how.device, requires_grad=True)
        for name, value in start.items()
    }
    kind = torch.optim.AdamW if how.decoupled else torch.optim.Adam
    optimiser = kind(parameters.values(), lr=how.rate, weight_decay=how.decay)
    draws = torch.Generator().manual_seed(seed)
    steps = max(how.least_steps, how.epochs * math.ceil(len(train) / how.batch))
    stop = _BestSoFar(loss, held_out, how.patience)
    with _one_thread():
        for step, rows in zip(range(1, steps + 1), _minibatches(train, how, seed), strict=False):
            optimiser.zero_grad()
            loss(parameters, torch.from_numpy(rows), draws).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            on_step(step, steps)
            if (step % max(1, steps // how.checks) == 0 or step == steps) and stop.seen_enough(parameters):
                break
    return stop.best or _values(parameters)


class _BestSoFar:
    """Keeps the parameters with the smallest held-out loss and says when there is no hope of better ones."""

    def __init__(self, loss: Loss, held_out: Rows, patience: int) -> None:
        self._loss, self._held_out, self._patience = loss, held_out, patience
        self._best_loss, self._waited = math.inf, 0
        self.best: State = {}

    def seen_enough(self, parameters: Parameters) -> bool:
        """Look at the held-out loss; True when it was not the best so often in a row that patience ends."""
        import torch

        if not len(self._held_out):
            return False
        with torch.no_grad():
            now = float(self._loss(parameters, torch.from_numpy(self._held_out), None))
        if now < self._best_loss:
            self.best, self._best_loss, self._waited = _values(parameters), now, 0
        else:
            self._waited += 1
        return self._waited == self._patience


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: the same bits whatever the number of cores, and no waiting for the smallest product."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of the values where the mask is 1; 0 where it is so nowhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1.0)


def first_weights(rng: np.random.Generator, *shape: int) -> Floats:
    """Return random weights under which inputs of unit variance, along the last axis, give outputs of unit variance."""
    return rng.normal(size=shape) / math.sqrt(shape[-1])


@dataclass(frozen=True, slots=True)
class Standard:
    """Shift and scale that give each dimension of the train vectors mean 0 and variance 1.

    Attributes:
        mean: Mean of each dimension (d,).
        scale: Its standard deviation (d,); 1 where it does not vary.
    """

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, vectors: NDArray[Any]) -> Standard:
        """Measure some vectors (n, d)."""
        values = vectors.astype(np.float64)
        deviation = values.std(axis=0)
        # What varies by less than a rounding error does not vary.
        return cls(values.mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0))

    def __call__(self, vectors: NDArray[Any]) -> Floats:
        """Return the vectors (n, d) shifted and scaled."""
        shifted: Floats = (vectors.astype(np.float64) - self.mean) / self.scale
        return shifted


def _minibatches(rows: Rows, how: LoopSettings, seed: int) -> Iterator[Rows]:
    """Yield minibatches for ever; a pass that is shuffled is in an order of its own."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(rows) if how.shuffled else rows
        yield from (order[start : start + how.batch] for start in range(0, len(order), how.batch))


def _values(parameters: Parameters) -> State:
    return {name: value.detach().cpu().numpy().astype(np.float64) for name, value in parameters.items()}


# A trained network of scikit-learn's as arrays, and what it says, without scikit-learn.


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
