"""The retrieval-based router against a plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.methods.registry import make_method
from jisi_cli.scoring import BankArrays
from tests.methods.planted import chance_bound, planted, rankings
from tests.methods.synthetic import Setting, setting


def soft(seed: int, gaps: float) -> Setting:
    """Soft scores, so that ties are rare; vectors with something in common, so that more than k pass the margin
    and no similarity is negative."""
    given = setting(seed, rows=200, tests=60, gaps=gaps)
    bank, rng = given.context.bank, np.random.default_rng(seed)
    scores = np.where(bank.present, rng.random(bank.scores.shape), 0.0)
    context = replace(given.context, bank=replace(bank, scores=scores, query_vectors=leaning(bank.query_vectors)))
    queries = [replace(query, vector=leaning(query.vector)) for query in given.tests.queries]
    return replace(given, context=context, tests=replace(given.tests, queries=queries))


def leaning(vectors: np.ndarray) -> np.ndarray:
    moved = vectors + np.float32(0.6)
    return moved / np.linalg.norm(moved, axis=-1, keepdims=True)


def slow_ranking(vector: np.ndarray, bank: BankArrays, k: int, margin: float) -> tuple[tuple[str, ...], int]:
    near = [float(row.astype(float) @ vector.astype(float)) for row in bank.query_vectors]
    kth = sorted(near)[-min(k, len(near))]
    support = [i for i, s in enumerate(near) if s > min(margin * kth, kth)] or [int(np.argmax(near))]
    scores = {}
    for j, name in enumerate(bank.model_names):
        known = [i for i in support if bank.present[i, j]]
        weight = sum(near[i] for i in known)
        # A model with gaps is judged by what it answered.
        share = sum(near[i] for i in support) / weight if weight > 0 else 0.0
        scores[name] = share * sum(near[i] * bank.scores[i, j] for i in known)
    return tuple(sorted(scores, key=lambda name: -scores[name])), len(support)


@pytest.mark.parametrize("gaps", [0.0, 0.3])
@pytest.mark.parametrize(("settings", "k", "margin"), [("", 50, 0.95), (":neighbours=7:margin=0.8", 7, 0.8)])
def test_it_ranks_by_similarity_weighted_scores_of_what_is_nearer_than_the_margin(
    settings: str, k: int, margin: float, gaps: float
) -> None:
    given = soft(3, gaps)
    slow = [slow_ranking(query.vector, given.context.bank, k, margin) for query in given.tests.queries]
    assert rankings(f"knn{settings}", given.context, given.tests.queries) == [ranking for ranking, _ in slow]
    assert max(size for _, size in slow) > k


def test_400_neighbours_are_a_setting() -> None:
    given = soft(4, 0.0)
    queries = given.tests.queries
    assert rankings("knn:neighbours=400", given.context, queries) == [
        slow_ranking(query.vector, given.context.bank, 400, 0.95)[0] for query in queries
    ]
    with pytest.raises(InputError, match=r"settings are neighbours=50, margin=0\.95"):
        make_method("knn:k=3", given.context)


def test_it_finds_which_model_is_right_where_and_nothing_where_nothing_is() -> None:
    assert planted().share_right("knn") > 0.95
    assert planted(shuffled=True).share_right("knn") < chance_bound(5, 400)
