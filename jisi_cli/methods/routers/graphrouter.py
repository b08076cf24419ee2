"""`graphrouter`: edges between questions and models, predicted over a graph (Feng et al. 2024, arXiv 2410.03834)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jisi_cli.methods.protocol import Query
from jisi_cli.methods.rankings import Ranking
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import ScoreRouter
from jisi_cli.methods.training import OnStep, State, TrainingData, stacked
from jisi_cli.methods.training_loop import LoopSettings, Standard, first_weights, hold_out, masked_mean, minimise
from jisi_cli.scoring import Floats

if TYPE_CHECKING:
    import torch

    from jisi_cli.methods.context import MethodContext
    from jisi_cli.methods.training_loop import Parameters

_SOURCE = "GraphRouter, arXiv 2410.03834"
_VERSION = 1
_SLOPE = 0.1
"""Of the leaky rectifier below zero."""


@dataclass(frozen=True, slots=True)
class GraphRouterSettings:
    """Settings of `graphrouter`.

    Attributes:
        width: Length of a node's vector.
        rate: Step size (the paper has 3e-4).
        decay: Weight decay.
        questions: Questions of a step; half of them show their edges, the edges of the others are to be predicted.
        epochs: Passes over the questions.
        steps: Steps at least.
    """

    width: int = 32
    rate: float = 1e-3
    decay: float = 1e-4
    questions: int = 1024
    epochs: int = 50
    steps: int = 400


@register_method(
    "graphrouter",
    "edges of a graph of questions and models; trained",
    "recorded",
    _SOURCE,
    settings=GraphRouterSettings(),
    training_seconds=1,
    departures="no descriptions of tasks, which would tell where a question comes from",
)
class GraphRouter(ScoreRouter[GraphRouterSettings]):
    """Ranks models by sigmoid(mean(x_q * x_m)), where two rounds of messages have made the vectors x.

    A message over an edge holds the vector of its other end and the edge's features: score, dollars and completion
    tokens. A new question has no edges, so it is told nothing; the models are told by all train questions.
    What differs from the original: plain mean messages; models begin with learned vectors where it
    embeds descriptions, which a bank has not; whole questions are hidden in training, as a new one is, instead
    of single edges; there are no task nodes, because a task's description at test time tells the
    benchmark, except in `graphrouter-oracle`, where the mean vector of the dataset's train questions stands for
    it; training ends where a tenth of the train rows is best.

    Attributes:
        kept_as: What its trained state is kept under.
    """

    kept_as: ClassVar[str] = "graphrouter"
    reason = "the graph predicts its edge to the question first"

    def __init__(self, context: MethodContext, settings: GraphRouterSettings) -> None:
        super().__init__(context, settings)
        costs = context.costs[self.data.columns]

        def train(on_step: OnStep) -> State:
            return self._train(costs, settings, self.seed, on_step)

        self._state = self.learned(self.kept_as, _VERSION, settings, train, extra={"costs": costs})

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if queries:
            inputs = self._inputs(stacked(queries), [query.dataset or "" for query in queries])
            yield from self.data.rankings(self.predict(inputs))

    def predict(self, vectors: Floats) -> Floats:
        """Return the logits of the edges (n, M).

        Args:
            vectors: Inputs of the questions (n, d); see `_inputs`.
        """
        state = self._state
        inputs = Standard(state["mean"], state["scale"])(vectors)
        nodes = _rectified(inputs @ state["query_map"].T + state["query_bias"])
        nodes = _rectified(nodes @ state["query_keep_1"].T) @ state["query_keep_2"].T
        logits: Floats = nodes @ state["nodes"].T / nodes.shape[1]
        return logits

    def _inputs(self, vectors: Floats, datasets: Sequence[str]) -> Floats:
        """Return what is known of questions: their vectors (n, d)."""
        return vectors

    def _train(self, costs: NDArray[np.float64], settings: GraphRouterSettings, seed: int, on_step: OnStep) -> State:
        import torch

        data = self.data
        train, held_out = hold_out(len(data.vectors), seed)
        raw = self._inputs(data.vectors.astype(np.float64), data.datasets)
        standard = Standard.of(raw[train])
        graph = Graph(
            torch.tensor(standard(raw), dtype=torch.float32),
            torch.tensor(edge_features(data, costs), dtype=torch.float32),
            torch.tensor(data.scores, dtype=torch.float32),
            torch.tensor(data.present, dtype=torch.float32),
        )
        shown = torch.from_numpy(train[: settings.questions])

        def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
            if draws is None:
                return edge_loss(p, graph, shown, rows)
            # Minibatches are in random order, so their first half is a random half.
            half = len(rows) // 2
            return edge_loss(p, graph, rows[:half], rows[half:])

        start = _first_values(raw.shape[1], len(data.models), graph.features.shape[2], settings.width, seed)
        how = LoopSettings(settings.rate, settings.decay, settings.questions, settings.epochs, settings.steps)
        found = minimise(loss, start, train, held_out, how, seed, on_step)
        with torch.no_grad():
            final = {name: torch.tensor(value, dtype=torch.float32) for name, value in found.items()}
            nodes = model_nodes(final, graph, torch.arange(len(raw))).numpy().astype(np.float64)
        return {**found, "nodes": nodes, "mean": standard.mean, "scale": standard.scale}


@register_method(
    "graphrouter-oracle",
    "graphrouter, told each question's dataset; trained",
    "recorded",
    _SOURCE,
    settings=GraphRouterSettings(),
    training_seconds=1.4,
    departures="the name of a question's dataset stands for the description of its task",
)
class GraphRouterOracle(GraphRouter):
    """The same with the mean vector of the dataset's train questions beside a question's own: an oracle."""

    kept_as = "graphrouter-oracle"

    def __init__(self, context: MethodContext, settings: GraphRouterSettings) -> None:
        self._tasks = _mean_vectors(context.data)
        super().__init__(context, settings)

    def _inputs(self, vectors: Floats, datasets: Sequence[str]) -> Floats:
        """Return the vectors of questions beside those of their tasks (n, 2d); zeros for a task that is new."""
        new = np.zeros(vectors.shape[1])
        return np.hstack([vectors, np.stack([self._tasks.get(name, new) for name in datasets])])


@dataclass(frozen=True)
class Graph:
    """Questions, models and the edges between them.

    Attributes:
        inputs: Standardised question vectors (N, d).
        features: Features of each edge (N, M, F).
        scores: What is to be predicted (N, M).
        present: 1 where there is an edge, else 0 (N, M).
    """

    inputs: torch.Tensor
    features: torch.Tensor
    scores: torch.Tensor
    present: torch.Tensor


def edge_features(data: TrainingData, costs: NDArray[np.float64]) -> Floats:
    """Return score, dollars and completion tokens of each edge (N, M, 3), the last two over their largest."""
    tokens = np.nan_to_num(data.tokens)
    dollars = np.broadcast_to(np.nan_to_num(costs), tokens.shape)
    largest = (max(float(values.max(initial=0.0)), 1e-12) for values in (dollars, tokens))
    scaled = [values / most for values, most in zip((dollars, tokens), largest, strict=True)]
    return np.where(data.present[:, :, np.newaxis], np.stack([data.scores, *scaled], axis=2), 0.0)


def edge_loss(p: Parameters, graph: Graph, shown: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return the mean binary cross-entropy of the hidden questions' edges, given those of the shown ones.

    Args:
        p: Parameters.
        graph: The graph.
        shown: Questions whose edges carry messages (s,).
        hidden: Questions whose edges are predicted (h,).
    """
    import torch

    models = model_nodes(p, graph, shown)
    nodes = torch.nn.functional.leaky_relu(graph.inputs[hidden] @ p["query_map"].T + p["query_bias"], _SLOPE)
    nodes = torch.nn.functional.leaky_relu(nodes @ p["query_keep_1"].T, _SLOPE) @ p["query_keep_2"].T
    logits = nodes @ models.T / nodes.shape[1]
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, graph.scores[hidden], reduction="none")
    return masked_mean(losses, graph.present[hidden])


def model_nodes(p: Parameters, graph: Graph, shown: torch.Tensor) -> torch.Tensor:
    """Return the vectors of the models (M, k) after two rounds of messages from the shown questions."""
    import torch

    edges, there = graph.features[shown], graph.present[shown].unsqueeze(2)
    queries = torch.nn.functional.leaky_relu(graph.inputs[shown] @ p["query_map"].T + p["query_bias"], _SLOPE)
    models = p["models"]
    for number in (1, 2):
        told = torch.nn.functional.leaky_relu(
            (queries @ p[f"to_model_{number}"].T).unsqueeze(1) + edges @ p[f"edge_to_model_{number}"].T, _SLOPE
        )
        to_models = (told * there).sum(dim=0) / there.sum(dim=0).clamp(min=1.0)
        if number == 1:
            told = torch.nn.functional.leaky_relu(
                (models @ p["to_query"].T).unsqueeze(0) + edges @ p["edge_to_query"].T, _SLOPE
            )
            to_queries = (told * there).sum(dim=1) / there.sum(dim=1).clamp(min=1.0)
            queries = torch.nn.functional.leaky_relu(queries @ p["query_keep_1"].T + to_queries, _SLOPE)
            models = torch.nn.functional.leaky_relu(models @ p["model_keep_1"].T + to_models, _SLOPE)
        else:
            models = models @ p["model_keep_2"].T + to_models
    return models


def _first_values(inputs: int, models: int, features: int, width: int, seed: int) -> State:
    rng = np.random.default_rng(seed)
    square = ("query_keep_1", "query_keep_2", "model_keep_1", "model_keep_2", "to_model_1", "to_model_2", "to_query")
    edges = ("edge_to_model_1", "edge_to_model_2", "edge_to_query")
    return {
        "query_map": first_weights(rng, width, inputs),
        "query_bias": np.zeros(width),
        "models": rng.normal(size=(models, width)),
        **{name: first_weights(rng, width, width) for name in square},
        **{name: first_weights(rng, width, features) for name in edges},
    }


def _mean_vectors(data: TrainingData) -> dict[str, Floats]:
    labels, vectors = np.array(data.datasets), data.vectors.astype(np.float64)
    return {name: vectors[labels == name].mean(axis=0) for name in sorted(set(data.datasets))}


def _rectified(values: Floats) -> Floats:
    return np.where(values > 0, values, _SLOPE * values)
