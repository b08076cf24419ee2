"""From a method's name to the method, made from train data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import Embedder
from jisi_cli.errors import InputError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.catalogue import METHODS, MODEL_PREFIX, MethodInfo, method_info
from jisi_cli.methods.protocol import Method
from jisi_cli.methods.shared_coarse import SharedCoarse
from jisi_cli.methods.training import SharedExamples, Training
from jisi_cli.scoring import BankArrays
from jisi_cli.types import Sampling

__all__ = ["METHODS", "MODEL_PREFIX", "MethodContext", "MethodInfo", "make_method", "method_info", "with_settings"]


@dataclass(frozen=True)
class MethodContext:
    """What a method may be made from: train data only.

    Attributes:
        bank: The bank's arrays (N train queries, M models).
        datasets: Dataset of each train query (N,).
        costs: Mean dollars of a call per model (M,), NaN where unknown.
        embedder: The bank's own embedder.
        settings: Hyper-parameters of JiSi.
        seed: Seed of everything random.
        temperature: Sampling temperature of every call; None for each method's own.
        max_tokens: Length of an answer at most.
        texts: The train queries' texts (N,); empty where nothing reads them.
        dollars: Dollars of every train answer (N, M), NaN where unknown; None where nothing reads them.
        training: Told how a method's training goes, where it has one.
        examples: Makes what trained methods learn from, once for all that are made from contexts that share it.
        coarse: Computes stage 1, once for all of these in the same way.
    """

    bank: BankArrays
    datasets: Sequence[str]
    costs: NDArray[np.float64]
    embedder: Embedder
    settings: Hyperparameters
    seed: int = 42
    temperature: float | None = None
    max_tokens: int | None = None
    texts: Sequence[str] = ()
    dollars: NDArray[np.float64] | None = None
    training: Training = field(default_factory=Training)
    examples: SharedExamples = field(default_factory=SharedExamples)
    coarse: SharedCoarse = field(default_factory=SharedCoarse)

    def sampling(self, temperature: float = Sampling().temperature) -> Sampling:
        """Return the sampling parameters of a method's calls.

        Args:
            temperature: The method's own, for want of another.
        """
        return Sampling(temperature if self.temperature is None else self.temperature, max_tokens=self.max_tokens)


def make_method(name: str, context: MethodContext) -> Method[Any]:
    """Make a method from train data.

    Raises:
        InputError: There is no such method, or it needs something the context lacks.
    """
    info = method_info(name)
    if not info.factory:
        raise InputError(f"`{name}` is a bound that reads the test labels; it cannot answer questions")
    module, _, function = info.factory.partition(":")
    factory = cast("Callable[[MethodContext, str], Method[Any]]", getattr(import_module(module), function))
    return factory(context, name)


def with_settings(context: MethodContext, **changes: object) -> MethodContext:
    """Return the context with some hyper-parameters replaced."""
    return replace(context, settings=replace(context.settings, **changes))  # type: ignore[arg-type]
