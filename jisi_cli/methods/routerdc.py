"""`routerdc`: queries are drawn to the models that answer them well (Chen et al. 2024, RouterDC, arXiv 2409.19886)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.methods.clusters import find_centres, nearest_centre
from jisi_cli.methods.descent import Descent, hold_out, minimise
from jisi_cli.methods.examples import Examples, stacked
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.methods.trained_state import State, learned
from jisi_cli.methods.training import OnStep, Training
from jisi_cli.scoring import Floats

if TYPE_CHECKING:
    import torch

    from jisi_cli.methods.descent import Parameters

_VERSION = 1
_WRONG = 0.5
"""A model that scores more than this is no negative."""


@dataclass(frozen=True, slots=True)
class RouterDcSettings:
    """Settings of `routerdc`.

    Attributes:
        contrasted: Best models that attract a query, and worst ones that repel it.
        clusters: Clusters of the second loss.
        repelled: Queries of other clusters that repel a query.
        balance: lambda, the weight of the second loss.
        rate: Step size (the paper has 5e-5, for an encoder of 86 million weights).
        decay: Weight decay.
        batch: Queries in a step.
        steps: Steps.
    """

    contrasted: int = 3
    clusters: int = 8
    repelled: int = 3
    balance: float = 1.0
    rate: float = 1e-3
    decay: float = 0.01
    batch: int = 64
    steps: int = 1000


class RouterDc:
    """Ranks models by the cosine of their vector and the mapped query, trained by two contrasts.

    The first pulls a query to its best models and away from its worst, the second to a query of its cluster and
    away from queries of others. What differs from the original: it trains an encoder, here one linear map,
    the identity at first, is trained over frozen query vectors, with a larger step; models that
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
        yield from self._examples.rankings(_unit(mapped) @ _unit(self._state["models"]).T)


def contrast_models(cosines: torch.Tensor, attracting: torch.Tensor, repelling: torch.Tensor) -> torch.Tensor:
    """Return the sample-model loss: the mean over queries of the sum over attracting models i of
    -log(exp(c_i) / (exp(c_i) + sum over repelling models t of exp(c_t))).

    Args:
        cosines: c, of queries and models (n, M).
        attracting: 1 for attracting models, else 0 (n, M).
        repelling: The same for repelling ones.
    """  # noqa: D205 - the formula does not fit a line
    import torch

    against = (torch.exp(cosines) * repelling).sum(dim=1, keepdim=True)
    return ((torch.log(torch.exp(cosines) + against) - cosines) * attracting).sum(dim=1).mean()


def contrast_queries(cosines: torch.Tensor, near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
    """Return the sample-sample loss: the same with one near query and some far ones per query.

    Args:
        cosines: Of the queries of a minibatch (n, n).
        near: 1 for the query of the same cluster (n, n); a row without one costs nothing.
        far: 1 for those of other clusters.
    """
    return contrast_models(cosines, near, far)


def contrasted_models(examples: Examples, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the attracting and the repelling models of each train row, as two (N, M) of 0 and 1.

    Attracting are the `count` best that score above 0, repelling the `count` worst that score 0.5 at most and do not
    attract; equal scores are ordered by lot.
    """
    lots = np.where(examples.present, examples.scores, np.nan) + 1e-9 * rng.random(examples.scores.shape)
    # NaN is sorted to the end: a gap is neither.
    best = _first(np.argsort(-lots, axis=1), count) & examples.present & (examples.scores > 0)
    worst = _first(np.argsort(lots, axis=1), count) & examples.present & (examples.scores <= _WRONG)
    return best.astype(np.float64), (worst & ~best).astype(np.float64)


def _first(order: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    chosen = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :count], True, axis=1)
    return chosen


def _train(examples: Examples, settings: RouterDcSettings, seed: int, on_step: OnStep) -> State:
    import torch

    rng = np.random.default_rng(seed)
    train, held_out = hold_out(len(examples.vectors), seed)
    centres = find_centres(examples.vectors[train], settings.clusters, seed)
    clusters = torch.from_numpy(nearest_centre(examples.vectors, centres))
    best, worst = (torch.tensor(part) for part in contrasted_models(examples, settings.contrasted, rng))
    inputs = torch.tensor(examples.vectors)

    def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
        mapped = torch.nn.functional.normalize(inputs[rows] @ p["map"].T, dim=1)
        cosines = mapped @ torch.nn.functional.normalize(p["models"], dim=1).T
        value = contrast_models(cosines, best[rows], worst[rows])
        if draws is None:
            return value
        near, far = _draw_queries(clusters[rows], settings.repelled, draws)
        return value + settings.balance * contrast_queries(mapped @ mapped.T, near, far)

    width = examples.vectors.shape[1]
    start = {"map": np.eye(width), "models": rng.normal(size=(len(examples.models), width)) / np.sqrt(width)}
    how = Descent(settings.rate, settings.decay, settings.batch, epochs=0, least_steps=settings.steps)
    return minimise(loss, start, train, held_out, how, seed, on_step)


def _draw_queries(clusters: torch.Tensor, count: int, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw, for each query of a minibatch, one other of its cluster and some of others, as two (n, n) of 0 and 1."""
    import torch

    size = len(clusters)
    lots = torch.rand(size, size, generator=draws)
    same = clusters[:, None] == clusters[None, :]
    others = same & ~torch.eye(size, dtype=torch.bool)
    near, far = torch.zeros(size, size), torch.zeros(size, size)
    near.scatter_(1, (lots * others).argmax(dim=1, keepdim=True), 1.0)
    far.scatter_(1, (lots * ~same).topk(min(count, size), dim=1).indices, 1.0)
    return near * others, far * ~same


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
