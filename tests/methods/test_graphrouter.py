"""GraphRouter's messages and loss, computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from jisi_cli.methods.routers.graphrouter import Graph, edge_features, edge_loss, model_nodes
from jisi_cli.methods.training import training_data
from tests.methods.planted import planted, rankings
from tests.methods.synthetic import changed, setting

# Vectors of one number: every weight is a number, and a message is a line of arithmetic.
P = {
    "query_map": 2.0,
    "query_keep_1": 0.5,
    "query_keep_2": -1.0,
    "model_keep_1": 1.5,
    "model_keep_2": 0.25,
    "to_model_1": 1.0,
    "to_model_2": -2.0,
    "to_query": 3.0,
    "edge_to_model_1": 0.7,
    "edge_to_model_2": 0.2,
    "edge_to_query": -0.3,
}
INPUTS = [0.5, -1.0, 2.0]
SCORES = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.25]]
FIRST = [0.4, -0.6]


def leaky(value: float) -> float:
    return value if value > 0 else 0.1 * value


def tensors() -> tuple[dict[str, torch.Tensor], Graph]:
    parameters = {name: torch.tensor([[value]], dtype=torch.float64) for name, value in P.items()}
    parameters["query_bias"] = torch.tensor([0.1], dtype=torch.float64)
    parameters["models"] = torch.tensor([[value] for value in FIRST], dtype=torch.float64)
    scores = torch.tensor(SCORES, dtype=torch.float64)
    inputs = torch.tensor([[value] for value in INPUTS], dtype=torch.float64)
    # The second question has no answer of the second model.
    present = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    return parameters, Graph(inputs, scores.unsqueeze(2), scores, present)


def by_hand() -> list[float]:
    """The models after two rounds of messages from the first two questions."""
    queries = [leaky(P["query_map"] * value + 0.1) for value in INPUTS[:2]]
    edges = {(0, 0): 1.0, (0, 1): 0.0, (1, 0): 0.0}

    def told(round_: int, queries: list[float], model: int) -> float:
        found = [
            leaky(P[f"to_model_{round_}"] * queries[q] + P[f"edge_to_model_{round_}"] * score)
            for (q, m), score in edges.items()
            if m == model
        ]
        return sum(found) / len(found)

    def told_query(query: int) -> float:
        found = [
            leaky(P["to_query"] * FIRST[m] + P["edge_to_query"] * score)
            for (q, m), score in edges.items()
            if q == query
        ]
        return sum(found) / len(found)

    models = [leaky(P["model_keep_1"] * FIRST[m] + told(1, queries, m)) for m in (0, 1)]
    later = [leaky(P["query_keep_1"] * queries[q] + told_query(q)) for q in (0, 1)]
    return [P["model_keep_2"] * models[m] + told(2, later, m) for m in (0, 1)]


def test_models_hear_the_shown_questions_over_two_rounds() -> None:
    parameters, graph = tensors()
    found = model_nodes(parameters, graph, torch.tensor([0, 1]))
    assert found.flatten().tolist() == pytest.approx(by_hand(), abs=1e-12)


def test_the_loss_is_the_cross_entropy_of_the_hidden_edges() -> None:
    parameters, graph = tensors()
    query = P["query_keep_2"] * leaky(P["query_keep_1"] * leaky(P["query_map"] * 2.0 + 0.1))
    chances = [1 / (1 + math.exp(-query * model)) for model in by_hand()]
    losses = [
        -score * math.log(chance) - (1 - score) * math.log(1 - chance)
        for score, chance in zip(SCORES[2], chances, strict=True)
    ]
    found = edge_loss(parameters, graph, torch.tensor([0, 1]), torch.tensor([2]))
    assert found.item() == pytest.approx(sum(losses) / 2, abs=1e-12)


def test_a_hidden_edge_without_an_answer_costs_nothing() -> None:
    parameters, graph = tensors()
    changed = replace(graph, scores=graph.scores.clone())
    changed.scores[1, 1] = 0.5
    for hidden in (torch.tensor([1]), torch.tensor([1, 2])):
        losses = [edge_loss(parameters, one, torch.tensor([0]), hidden).item() for one in (graph, changed)]
        assert losses[0] == losses[1]


def test_an_edge_knows_score_dollars_and_tokens_and_unknown_ones_are_nothing() -> None:
    context = setting(rows=2, models="ab").context
    tokens = np.array([[10.0, np.nan], [5.0, 20.0]])
    present = np.array([[True, True], [True, False]])
    bank = replace(context.bank, completion_tokens=tokens, present=present, scores=np.full((2, 2), 0.5))
    examples = training_data(bank, context.datasets)
    found = edge_features(examples, np.array([np.nan, 3.0]))
    first = int(np.flatnonzero(examples.present.all(axis=1))[0])
    assert found[first].tolist() == [[0.5, 0.0, 1.0], [0.5, 1.0, 0.0]]
    assert found[1 - first].tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]


def test_only_the_oracle_finds_what_the_dataset_alone_tells() -> None:
    # Vectors say nothing, the dataset says all.
    given = planted(models=3, rows=300, tests=150, shuffled=True)
    right = given.context.bank.scores.argmax(axis=1)
    rng = np.random.default_rng(0)
    names = np.array(["first", "second", "third"])
    vectors = given.context.bank.query_vectors + 0.3 * np.eye(16, dtype=np.float32)[right]
    bank = replace(given.context.bank, query_vectors=vectors)
    context = changed(given.context, bank=bank, datasets=names[right].tolist())
    noise = rng.normal(size=(150, 16)).astype(np.float32)
    queries = [
        replace(query, vector=vector, dataset=str(names[place]))
        for query, vector, place in zip(given.queries, noise, given.right, strict=True)
    ]

    def share(name: str) -> float:
        chosen = [ranking[0] for ranking in rankings(name, context, queries)]
        return float(
            np.mean([bank.model_names.index(one) == place for one, place in zip(chosen, given.right, strict=True)])
        )

    assert share("graphrouter-oracle") > 0.8 > share("graphrouter")
