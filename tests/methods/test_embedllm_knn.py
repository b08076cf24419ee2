"""EmbedLLM's nearest neighbours against a plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jisi_cli.methods.training import training_data
from tests.methods.planted import chance_bound, planted, rankings
from tests.methods.synthetic import setting


def slow_ranking(vector: np.ndarray, bank: object, k: int) -> tuple[str, ...]:
    distances = [float(np.sum((row.astype(float) - vector.astype(float)) ** 2)) for row in bank.query_vectors]
    nearest = sorted(range(len(distances)), key=distances.__getitem__)[:k]
    keys = []
    for model, name in enumerate(bank.model_names):
        scores = [bank.scores[row, model] for row in nearest if bank.present[row, model]]
        everywhere = bank.scores[bank.present[:, model], model].mean()
        mean = np.mean(scores) if scores else everywhere
        keys.append((-round(float(mean), 9), -everywhere, name))
    return tuple(name for *_, name in sorted(keys))


@pytest.mark.parametrize("gaps", [0.0, 0.3])
@pytest.mark.parametrize("k", [1, 7, 131])
def test_it_ranks_by_the_mean_score_of_the_nearest_questions(gaps: float, k: int) -> None:
    given = setting(3, rows=200, tests=60, gaps=gaps)
    # Soft scores, so that ties are rare.
    scores = np.random.default_rng(1).random(given.context.bank.scores.shape)
    context = replace(given.context, bank=replace(given.context.bank, scores=scores))
    found = rankings(f"embedllm-knn:neighbours={k}", context, given.tests.queries)
    assert found == [slow_ranking(query.vector, context.bank, k) for query in given.tests.queries]


def test_131_questions_are_looked_at() -> None:
    given = setting(3, rows=200, tests=40)
    assert rankings("embedllm-knn", given.context, given.tests.queries) == [
        slow_ranking(query.vector, given.context.bank, 131) for query in given.tests.queries
    ]


def test_labels_without_structure_give_chance() -> None:
    assert planted(shuffled=True).share_right("embedllm-knn") < chance_bound(5, 400)


def test_it_finds_which_model_is_right_where() -> None:
    # With 131 of 300 neighbours most are of other clusters, but the own cluster is all among them.
    assert planted().share_right("embedllm-knn:neighbours=30") > 0.95


def test_the_means_over_the_bank_are_added_up_once_and_not_for_every_question() -> None:
    context = setting(3).context
    examples = training_data(context.bank, context.datasets)
    assert examples.means is examples.means
