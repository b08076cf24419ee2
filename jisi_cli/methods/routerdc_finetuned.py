"""`routerdc:finetune=yes`: RouterDC as published, with the encoder trained (Chen et al. 2024, arXiv 2409.19886)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.embedders.protocol import EmbedderSpec
from jisi_cli.embedders.trainable import TrainableEncoder
from jisi_cli.errors import InputError
from jisi_cli.methods.contrasts import Contrasts, RouterDcSettings, unit_rows
from jisi_cli.methods.descent import Descent, hold_out, minimise
from jisi_cli.methods.examples import Examples
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.methods.trained_state import State, learned
from jisi_cli.methods.training import OnStep, Training

if TYPE_CHECKING:
    import torch

    from jisi_cli.methods.descent import Parameters

_VERSION = 1
_DECIMALS = 5
"""Of a cosine: float32 through a network of many layers agrees that far between one device and another."""


class FinetunedRouterDc:
    """Ranks models by the cosine of their vector and the query's, from an encoder trained by two contrasts.

    The encoder begins as the bank's own embedder, where the original takes mDeBERTaV3-base. What else differs: there
    is no dropout; models that score alike are told apart by lot; the clusters are k-means over the bank's vectors;
    training ends where the first contrast is best on a tenth of the train rows.

    Args:
        examples: Train rows.
        texts: Their texts (N,), in the order of the examples.
        embedder: The bank's embedder, a sentence-transformers model.
        seed: Seed of k-means and of the training.
        settings: Of the training; `finetune` is `yes` or `cpu`.
        training: Where what the training took is noted.

    Raises:
        InputError: There is no GPU and `cpu` was not said, or the embedder is none that can be trained.
    """

    def __init__(
        self,
        examples: Examples,
        texts: Sequence[str],
        embedder: EmbedderSpec,
        seed: int,
        settings: RouterDcSettings,
        training: Training | None = None,
    ) -> None:
        self._examples = examples
        self._encoder = TrainableEncoder(embedder, device_for(settings.finetune))
        encoder = self._encoder
        read = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()

        def train(on_step: OnStep) -> State:
            return _train(examples, texts, encoder, settings, seed, on_step)

        identity = (settings, embedder, read)
        self._state = learned("routerdc-finetuned", _VERSION, identity, seed, examples, train, training=training)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if not queries:
            return
        vectors = self._encoder.vectors_under(self._state, [query.text for query in queries])
        models = unit_rows(self._state["models"].astype(np.float64))
        yield from self._examples.rankings(np.round(unit_rows(vectors) @ models.T, _DECIMALS))


def device_for(finetune: str) -> str:
    """Return torch's name of where to train.

    Raises:
        InputError: A GPU is wanted and there is none.
    """
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if finetune == "cpu":
        return "cpu"
    raise InputError(
        "routerdc:finetune=yes trains an encoder and needs a GPU, which torch does not find here; "
        "finetune=cpu does it all the same, which takes hours for a bank of thousands"
    )


def _train(
    examples: Examples,
    texts: Sequence[str],
    encoder: TrainableEncoder,
    settings: RouterDcSettings,
    seed: int,
    on_step: OnStep,
) -> State:
    import torch

    rng = np.random.default_rng(seed)
    train, held_out = hold_out(len(texts), seed)
    contrasts = Contrasts.of(examples, train, settings, seed, rng)
    weights = encoder.weights()

    def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
        vectors = encoder.forward(p, [texts[row] for row in rows.tolist()])
        queries, models = (torch.nn.functional.normalize(part, dim=1) for part in (vectors, p["models"]))
        return contrasts.loss(queries, models, rows, draws)

    width = examples.vectors.shape[1]
    start = {**weights, "models": rng.normal(size=(len(examples.models), width)) / np.sqrt(width)}
    how = Descent(
        settings.rate, settings.decay, settings.batch, epochs=0, least_steps=settings.steps, device=encoder.device
    )
    found = minimise(loss, start, train, held_out, how, seed, on_step)
    # Weights were read as float32; they are as exact, and half as large, when they are kept so.
    return {name: value.astype(np.float32) for name, value in found.items()}
