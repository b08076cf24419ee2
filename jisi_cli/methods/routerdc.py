"""`routerdc`: queries are drawn to the models that answer them well (Chen et al. 2024, RouterDC, arXiv 2409.19886)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.methods.contrasts import Contrasts, RouterDcSettings, unit_rows
from jisi_cli.methods.descent import Descent, hold_out, minimise
from jisi_cli.methods.examples import Examples, stacked
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.methods.trained_state import State, learned
from jisi_cli.methods.training import OnStep, Training

if TYPE_CHECKING:
    import torch

    from jisi_cli.methods.descent import Parameters

_VERSION = 1


class RouterDc:
    """Ranks models by the cosine of their vector and the mapped query, trained by two contrasts.

    The first pulls a query to its best models and away from its worst, the second to a query of its cluster and
    away from queries of others. What differs from the original: it trains an encoder (as `finetune=yes` does), here
    one linear map, the identity at first, is trained over frozen query vectors, with a larger step; models that
    score alike are told apart by lot; the clusters are k-means over the frozen vectors; training ends
    where the first contrast is best on a tenth of the train rows.

    Args:
        examples: Train rows.
        seed: Seed of k-means and of the training.
        settings: Of the training.
        training: Where what the training took is noted.
    """

    def __init__(
        self,
        examples: Examples,
        seed: int,
        settings: RouterDcSettings | None = None,
        training: Training | None = None,
    ) -> None:
        chosen = settings or RouterDcSettings()
        self._examples = examples

        def train(on_step: OnStep) -> State:
            return _train(examples, chosen, seed, on_step)

        self._state = learned("routerdc", _VERSION, chosen, seed, examples, train, training=training)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if not queries:
            return
        mapped = stacked(queries) @ self._state["map"].T
        yield from self._examples.rankings(unit_rows(mapped) @ unit_rows(self._state["models"]).T)


def _train(examples: Examples, settings: RouterDcSettings, seed: int, on_step: OnStep) -> State:
    import torch

    rng = np.random.default_rng(seed)
    train, held_out = hold_out(len(examples.vectors), seed)
    contrasts = Contrasts.of(examples, train, settings, seed, rng)
    inputs = torch.tensor(examples.vectors)

    def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
        mapped = torch.nn.functional.normalize(inputs[rows] @ p["map"].T, dim=1)
        return contrasts.loss(mapped, torch.nn.functional.normalize(p["models"], dim=1), rows, draws)

    width = examples.vectors.shape[1]
    start = {"map": np.eye(width), "models": rng.normal(size=(len(examples.models), width)) / np.sqrt(width)}
    how = Descent(settings.rate, settings.decay, settings.batch, epochs=0, least_steps=settings.steps)
    return minimise(loss, start, train, held_out, how, seed, on_step)
