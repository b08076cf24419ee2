"""Banks with a structure that a router can find: each cluster of questions has one model that is right on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jisi_cli.methods.context import GivenRows, MethodContext
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.rankings import Ranking
from jisi_cli.methods.registry import make_method
from jisi_cli.methods.router import Router
from jisi_cli.scoring import BankArrays
from tests.methods.synthetic import hashing_embedder

WIDTH = 16


@dataclass(frozen=True)
class Planted:
    """A bank and test questions of which exactly one model is right on each.

    Attributes:
        context: The train rows.
        queries: Test questions (n).
        right: The model that is right on each of them (n,), as its place in the bank.
    """

    context: MethodContext
    queries: Sequence[Query]
    right: NDArray[np.intp]

    def share_right(self, name: str) -> float:
        """Return how often a method's first choice is the right model."""
        chosen = [ranking[0] for ranking in rankings(name, self.context, self.queries)]
        return float(
            np.mean([self.context.bank.model_names.index(n) == m for n, m in zip(chosen, self.right, strict=True)])
        )


def rankings(name: str, context: MethodContext, queries: Sequence[Query]) -> list[Ranking]:
    method = make_method(name, context)
    assert isinstance(method, Router)
    return list(method.plan(queries))


def planted(seed: int = 0, *, models: int = 5, rows: int = 300, tests: int = 400, shuffled: bool = False) -> Planted:
    """Return a bank in which model j is right exactly on cluster j.

    Args:
        seed: Of everything random.
        models: Models, and as many clusters.
        rows: Train questions.
        tests: Test questions.
        shuffled: Whether labels are dealt out anew, so that vectors say nothing about them. Then the number of
            right choices of any router is binomial, because test labels are drawn independently of it.
    """
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(models, WIDTH))
    places = rng.integers(models, size=rows + tests)
    points = centres[places] + 0.6 * rng.normal(size=(rows + tests, WIDTH))
    vectors = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    right = rng.integers(models, size=rows + tests) if shuffled else places
    names = tuple("abcdefgh"[:models])
    bank = BankArrays(
        query_vectors=vectors[:rows],
        response_vectors=[np.zeros((rows, WIDTH), dtype=np.float32)] * models,
        scores=np.eye(models)[right[:rows]],
        completion_tokens=rng.integers(5, 300, size=(rows, models)).astype(float),
        present=np.ones((rows, models), dtype=bool),
        model_names=names,
    )
    context = MethodContext(bank, GivenRows(["planted"] * rows, (), np.ones((rows, models))), hashing_embedder())
    queries = [Query(f"question {n}?", vector) for n, vector in enumerate(vectors[rows:])]
    return Planted(context, queries, right[rows:])


def with_gaps(given: Planted, share: float, seed: int = 0) -> Planted:
    """Return the same with some train answers missing."""
    bank = given.context.bank
    present = np.random.default_rng(seed).random(bank.present.shape) >= share
    scores = np.where(present, bank.scores, np.nan)
    return replace(given, context=replace(given.context, bank=replace(bank, present=present, scores=scores)))


def chance_bound(models: int, tests: int) -> float:
    """Return the share of right choices that chance exceeds once in a thousand runs (normal tail, 3.1 sigma)."""
    share = 1 / models
    return share + 3.1 * float(np.sqrt(share * (1 - share) / tests))
