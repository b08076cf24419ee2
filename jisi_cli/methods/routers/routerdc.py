"""`routerdc`: queries are drawn to the models that answer them well (Chen et al. 2024, arXiv 2409.19886)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import loaded
from jisi_cli.embed.sentence_transformer import TrainableEncoder
from jisi_cli.errors import InputError
from jisi_cli.methods.clusters import find_centres, nearest_centre
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.rankings import Ranking
from jisi_cli.methods.registry import parse_settings, register_method
from jisi_cli.methods.router import ScoreRouter, TrainedRouter
from jisi_cli.methods.training import OnStep, State, TrainingData
from jisi_cli.methods.training_loop import LoopSettings, hold_out, minimise
from jisi_cli.scoring import Floats, Rows

if TYPE_CHECKING:
    import torch

    from jisi_cli.methods.context import MethodContext
    from jisi_cli.methods.training_loop import Parameters


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
        rate: Step size; `finetuned` has the paper's 5e-5.
        decay: Weight decay.
        batch: Queries in a step.
        steps: Steps.
        finetune: `no` trains a linear map over frozen vectors; `yes` trains the bank's own embedder on a GPU; `cpu`
            trains it without one, which takes hours where `yes` takes minutes.
    """

    contrasted: int = 3
    clusters: int = 8
    repelled: int = 3
    balance: float = 1.0
    rate: float = 1e-3
    decay: float = 0.01
    batch: int = 64
    steps: int = 1000
    finetune: str = "no"

    def __post_init__(self) -> None:
        if self.finetune not in ("no", "yes", "cpu"):
            raise InputError(f"routerdc: finetune is no, yes or cpu, not {self.finetune!r}")

    @classmethod
    def finetuned(cls) -> RouterDcSettings:
        """Return the settings to begin with where an encoder of millions of weights is trained."""
        return cls(rate=5e-5)


@dataclass(frozen=True)
class ContrastiveLoss:
    """What attracts and what repels each train query.

    Attributes:
        best: 1 for the models that attract it, else 0 (N, M).
        worst: 1 for the models that repel it, else 0 (N, M).
        clusters: Its cluster (N,).
        settings: Of the losses.
    """

    best: torch.Tensor
    worst: torch.Tensor
    clusters: torch.Tensor
    settings: RouterDcSettings

    @classmethod
    def of(
        cls, data: TrainingData, train: Rows, settings: RouterDcSettings, seed: int, rng: np.random.Generator
    ) -> ContrastiveLoss:
        """Find them.

        Args:
            data: Train rows.
            train: Those among them that clusters are found from.
            settings: Of the losses.
            seed: Seed of k-means.
            rng: Draws lots between models that score alike.
        """
        import torch

        centres = find_centres(data.vectors[train], settings.clusters, seed)
        clusters = torch.from_numpy(nearest_centre(data.vectors, centres))
        best, worst = (torch.tensor(part) for part in contrasted_models(data, settings.contrasted, rng))
        return cls(best, worst, clusters, settings)

    def loss(
        self, queries: torch.Tensor, models: torch.Tensor, rows: torch.Tensor, draws: torch.Generator | None
    ) -> torch.Tensor:
        """Return both losses of some queries; without draws, as in validation, the first alone.

        Args:
            queries: Their unit vectors (b, d).
            models: Unit vectors of the models (M, d).
            rows: Their rows (b,), on the processor.
            draws: Chooses the queries of the second loss.
        """
        best, worst = (part[rows].to(queries.device) for part in (self.best, self.worst))
        value = contrast_models(queries @ models.T, best, worst)
        if draws is None:
            return value
        drawn = draw_queries(self.clusters[rows], self.settings.repelled, draws)
        near, far = (part.to(queries.device) for part in drawn)
        return value + self.settings.balance * contrast_queries(queries @ queries.T, near, far)


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


def contrasted_models(data: TrainingData, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the attracting and the repelling models of each train row, as two (N, M) of 0 and 1.

    Attracting are the `count` best that score above 0, repelling the `count` worst that score 0.5 at most and do not
    attract; equal scores are ordered by lot.
    """
    lots = np.where(data.present, data.scores, np.nan) + 1e-9 * rng.random(data.scores.shape)
    # NaN is sorted to the end: a gap is neither.
    best = _first(np.argsort(-lots, axis=1), count) & data.present & (data.scores > 0)
    worst = _first(np.argsort(lots, axis=1), count) & data.present & (data.scores <= _WRONG)
    return best.astype(np.float64), (worst & ~best).astype(np.float64)


def _first(order: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    chosen = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :count], True, axis=1)
    return chosen


def draw_queries(clusters: torch.Tensor, count: int, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
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


def unit_rows(vectors: Floats) -> Floats:
    """Return the rows (n, d) at length 1; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def read_settings(name: str) -> RouterDcSettings:
    """Return the settings after a name; where the encoder is trained they begin with other defaults."""
    settings = parse_settings(name, RouterDcSettings())
    return settings if settings.finetune == "no" else parse_settings(name, RouterDcSettings.finetuned())


@register_method(
    "routerdc",
    "contrastive linear map over frozen vectors, or with finetune=yes the encoder; trained",
    "recorded",
    "RouterDC, arXiv 2409.19886",
    settings=read_settings,
    training_seconds=1,
    departures="a linear map over frozen vectors stands for the encoder, unless finetune=yes trains it",
)
class RouterDc(ScoreRouter[RouterDcSettings]):
    """Ranks models by the cosine of their vector and the mapped query, trained by two contrasts.

    The first pulls a query to its best models and away from its worst, the second to a query of its cluster and
    away from queries of others. What differs from the original: it trains an encoder (as `finetune=yes` does), here
    one linear map, the identity at first, is trained over frozen query vectors, with a larger step; models that
    score alike are told apart by lot; the clusters are k-means over the frozen vectors; training ends
    where the first contrast is best on a tenth of the train rows.
    """

    reason = "its vector is nearest to the mapped question"

    def __init__(self, context: MethodContext, settings: RouterDcSettings) -> None:
        super().__init__(context, settings)

        def train(on_step: OnStep) -> State:
            return _train(self.data, settings, self.seed, on_step)

        self._state = self.learned("routerdc", _VERSION, settings, train)

    @classmethod
    def from_context(cls, context: MethodContext, settings: RouterDcSettings) -> Any:  # noqa: ANN401 - one of two
        """Make the linear map, or with `finetune` the router with an encoder of its own.

        Raises:
            InputError: The embedder is to be trained and cannot be.
        """
        return cls(context, settings) if settings.finetune == "no" else FinetunedRouterDc(context, settings)

    def predict(self, vectors: Floats) -> Floats:
        """Return the cosine of each model's vector and the mapped query (n, M)."""
        mapped = vectors @ self._state["map"].T
        return unit_rows(mapped) @ unit_rows(self._state["models"]).T


def _train(data: TrainingData, settings: RouterDcSettings, seed: int, on_step: OnStep) -> State:
    import torch

    rng = np.random.default_rng(seed)
    train, held_out = hold_out(len(data.vectors), seed)
    contrastive = ContrastiveLoss.of(data, train, settings, seed, rng)
    inputs = torch.tensor(data.vectors)

    def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
        mapped = torch.nn.functional.normalize(inputs[rows] @ p["map"].T, dim=1)
        return contrastive.loss(mapped, torch.nn.functional.normalize(p["models"], dim=1), rows, draws)

    width = data.vectors.shape[1]
    start = {"map": np.eye(width), "models": rng.normal(size=(len(data.models), width)) / np.sqrt(width)}
    how = LoopSettings(settings.rate, settings.decay, settings.batch, epochs=0, least_steps=settings.steps)
    return minimise(loss, start, train, held_out, how, seed, on_step)


# `routerdc:finetune=yes`: RouterDC as published, with the encoder trained.

_FINETUNED_VERSION = 1
_DECIMALS = 5
"""Of a cosine: float32 through a network of many layers agrees that far between one device and another."""


class FinetunedRouterDc(TrainedRouter[RouterDcSettings]):
    """Ranks models by the cosine of their vector and the query's, from an encoder trained by two contrasts.

    The encoder begins as the bank's own embedder, where the original takes mDeBERTaV3-base. What else differs: there
    is no dropout; models that score alike are told apart by lot; the clusters are k-means over the bank's vectors;
    training ends where the first contrast is best on a tenth of the train rows.

    Raises:
        InputError: There is no GPU and `cpu` was not said, or the embedder cannot be trained.
    """

    reason = "its vector is nearest to the question's"

    def __init__(self, context: MethodContext, settings: RouterDcSettings) -> None:
        super().__init__(context, settings)
        texts = [context.texts[row] for row in self.data.rows.tolist()]
        embedder = loaded(context.embedder).spec
        self._encoder = encoder = TrainableEncoder(embedder, device_for(settings.finetune))
        read = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()

        def train(on_step: OnStep) -> State:
            return _train_encoder(self.data, texts, encoder, settings, self.seed, on_step)

        self._state = self.learned("routerdc-finetuned", _FINETUNED_VERSION, (settings, embedder, read), train)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if not queries:
            return
        vectors = self._encoder.vectors_under(self._state, [query.text for query in queries])
        models = unit_rows(self._state["models"].astype(np.float64))
        yield from self.data.rankings(np.round(unit_rows(vectors) @ models.T, _DECIMALS))


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


def _train_encoder(
    data: TrainingData,
    texts: Sequence[str],
    encoder: TrainableEncoder,
    settings: RouterDcSettings,
    seed: int,
    on_step: OnStep,
) -> State:
    import torch

    rng = np.random.default_rng(seed)
    train, held_out = hold_out(len(texts), seed)
    contrastive = ContrastiveLoss.of(data, train, settings, seed, rng)
    weights = encoder.weights()

    def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
        vectors = encoder.forward(p, [texts[row] for row in rows.tolist()])
        queries, models = (torch.nn.functional.normalize(part, dim=1) for part in (vectors, p["models"]))
        return contrastive.loss(queries, models, rows, draws)

    width = data.vectors.shape[1]
    start = {**weights, "models": rng.normal(size=(len(data.models), width)) / np.sqrt(width)}
    how = LoopSettings(
        settings.rate, settings.decay, settings.batch, epochs=0, least_steps=settings.steps, device=encoder.device
    )
    found = minimise(loss, start, train, held_out, how, seed, on_step)
    # Weights were read as float32; they are as exact, and half as large, when they are kept so.
    return {name: value.astype(np.float32) for name, value in found.items()}
