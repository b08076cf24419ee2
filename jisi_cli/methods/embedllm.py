"""`embedllm`: one vector per model, from factorising who is right on what (Zhuang et al. 2024, arXiv 2410.02223)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.methods.descent import Descent, Standard, first_weights, hold_out, masked_mean, minimise
from jisi_cli.methods.examples import Examples, stacked
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.methods.trained_state import State, learned
from jisi_cli.methods.training import OnStep, Training

if TYPE_CHECKING:
    import torch

    from jisi_cli.methods.descent import Parameters

_VERSION = 1


@dataclass(frozen=True, slots=True)
class EmbedLlmSettings:
    """Settings of `embedllm`.

    Attributes:
        width: Length of a model's vector.
        noise: Standard deviation of what is added to a standardised query vector in training. The paper's 0.05 on unit
            vectors of 768 coordinates, which deviate by 0.036, is 1.4 of their deviation.
        rate: Step size (the paper has 1e-4).
        decay: Weight decay.
        pairs: Pairs of a question and a model in a step.
        epochs: Passes over the pairs.
        steps: Steps at least.
    """

    width: int = 232
    noise: float = 1.4
    rate: float = 1e-3
    decay: float = 1e-5
    pairs: int = 2048
    epochs: int = 50
    steps: int = 300


class EmbedLlm:
    """Ranks models by logit 1 - logit 0 of W_c (p_m * (W_q q + b)), trained by cross-entropy.

    What differs from the original: query vectors are standardised first, so that the noise means the same whatever
    the embedder; a score between 0 and 1 is a soft label; a step takes some questions with all their models
    instead of loose pairs; the step size is ten times the original's with a floor under the number of steps,
    because 50 passes over a bank of thousands are too few of the original's steps; and training ends
    where a tenth of the train rows is best.

    Args:
        examples: Train rows.
        seed: Seed of the training.
        settings: Of the training.
        training: Where what the training took is noted.
    """

    def __init__(
        self,
        examples: Examples,
        seed: int,
        settings: EmbedLlmSettings | None = None,
        training: Training | None = None,
    ) -> None:
        chosen = settings or EmbedLlmSettings()
        self._examples = examples

        def train(on_step: OnStep) -> State:
            return _train(examples, chosen, seed, on_step)

        self._state = learned("embedllm", _VERSION, chosen, seed, examples, train, training=training)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if not queries:
            return
        state = self._state
        inner = Standard(state["mean"], state["scale"])(stacked(queries)) @ state["query_map"].T + state["query_bias"]
        yield from self._examples.rankings(inner @ (state["models"] * (state["out"][1] - state["out"][0])).T)


def _train(examples: Examples, settings: EmbedLlmSettings, seed: int, on_step: OnStep) -> State:
    import torch

    train, held_out = hold_out(len(examples.vectors), seed)
    standard = Standard.of(examples.vectors[train])
    inputs = torch.tensor(standard(examples.vectors), dtype=torch.float32)
    scores = torch.tensor(examples.scores, dtype=torch.float32)
    present = torch.tensor(examples.present, dtype=torch.float32)

    def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
        queries = inputs[rows]
        if draws is not None:
            queries = queries + settings.noise * torch.randn(queries.shape, generator=draws)
        inner = queries @ p["query_map"].T + p["query_bias"]
        logits = torch.einsum("nk,mk,ck->nmc", inner, p["models"], p["out"])
        chances = torch.log_softmax(logits, dim=2)
        labels = scores[rows]
        return masked_mean(-labels * chances[:, :, 1] - (1 - labels) * chances[:, :, 0], present[rows])

    rng = np.random.default_rng(seed)
    models, width = len(examples.models), settings.width
    start = {
        "query_map": first_weights(rng, width, examples.vectors.shape[1]),
        "query_bias": np.zeros(width),
        "models": rng.normal(size=(models, width)),
        "out": first_weights(rng, 2, width),
    }
    how = Descent(settings.rate, settings.decay, max(1, settings.pairs // models), settings.epochs, settings.steps)
    return {
        **minimise(loss, start, train, held_out, how, seed, on_step),
        "mean": standard.mean,
        "scale": standard.scale,
    }
