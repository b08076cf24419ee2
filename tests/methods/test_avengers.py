"""The routers over clusters against plain loops over the same clusters."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans

from jisi_cli.errors import InputError
from jisi_cli.methods.registry import MethodContext, make_method
from tests.methods.planted import chance_bound, planted, rankings, with_gaps
from tests.methods.synthetic import Setting, setting


def soft_setting(gaps: float = 0.0) -> Setting:
    given = setting(5, rows=200, tests=60, gaps=gaps)
    scores = np.random.default_rng(2).random(given.context.bank.scores.shape)
    return replace(given, context=replace(given.context, bank=replace(given.context.bank, scores=scores)))


def clusters_of(context: MethodContext, count: int) -> tuple[np.ndarray, np.ndarray]:
    """K-means over the rows in the order in which the method learns from them, which decides the first centres."""
    from jisi_cli.methods.examples import examples_of

    points = examples_of(context.bank, context.datasets).vectors.astype(float)
    found = KMeans(n_clusters=count, random_state=42).fit(points)
    return found.cluster_centers_, found.predict(context.bank.query_vectors.astype(float))


def slow_avengers(context: MethodContext, vector: np.ndarray, count: int, top: int, beta: float, delta: float) -> str:
    centres, labels = clusters_of(context, count)
    bank = context.bank
    distances = [1 - float(vector @ centre) / math.sqrt(float(centre @ centre)) for centre in centres]
    nearest = sorted(range(count), key=distances.__getitem__)[:top]
    votes = dict.fromkeys(bank.model_names, 0.0)
    for cluster in nearest:
        means = {name: bank.scores[labels == cluster, j].mean() for j, name in enumerate(bank.model_names)}
        weight = math.exp(-beta * distances[cluster]) / sum(math.exp(-beta * distances[other]) for other in nearest)
        for rank, name in enumerate(sorted(means, key=lambda name: -means[name])):
            votes[name] += weight / (rank + delta)
    return max(votes, key=votes.__getitem__)


@pytest.mark.parametrize(("top", "beta", "delta"), [(1, 9.0, 1.0), (3, 6.0, 0.1)])
def test_avengers_votes_with_the_ranks_of_the_nearest_clusters(top: int, beta: float, delta: float) -> None:
    given = soft_setting()
    name = f"avengers:clusters=8:nearest={top}:sharpness={beta}:offset={delta}"
    found = [ranking[0] for ranking in rankings(name, given.context, given.tests.queries)]
    queries = given.tests.queries
    assert found == [slow_avengers(given.context, query.vector, 8, top, beta, delta) for query in queries]


def slow_pro(context: MethodContext, vector: np.ndarray, count: int, weight: float) -> str:
    centres, labels = clusters_of(context, count)
    bank, cluster = context.bank, int(np.argmax(centres @ vector / np.linalg.norm(centres, axis=1)))
    means = [float(bank.scores[labels == cluster, j].mean()) for j in range(len(bank.model_names))]
    lengths = bank.completion_tokens
    costs = [context.costs[j] * lengths[labels == cluster, j].mean() / lengths[:, j].mean() for j in range(len(means))]
    low, high, dearest = min(means), max(means), max(costs)
    values = [
        weight * (mean - low) / (high - low) + (1 - weight) * (1 - cost / dearest)
        for mean, cost in zip(means, costs, strict=True)
    ]
    return bank.model_names[int(np.argmax(values))]


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.8, 1.0])
def test_avengers_pro_weighs_scores_and_prices_of_the_nearest_cluster(weight: float) -> None:
    given = soft_setting()
    name = f"avengers-pro:clusters=8:nearest=1:weight={weight}"
    found = [ranking[0] for ranking in rankings(name, given.context, given.tests.queries)]
    assert found == [slow_pro(given.context, query.vector, 8, weight) for query in given.tests.queries]


def test_avengers_pro_with_prices_alone_takes_the_cheapest_and_a_model_without_a_price_last() -> None:
    given = setting()
    bank = replace(given.context.bank, completion_tokens=np.full((40, 4), np.nan))
    context = replace(given.context, bank=bank, costs=np.array([2.0, np.nan, 1.0, 3.0]))
    for ranking in rankings("avengers-pro:weight=0", context, given.tests.queries):
        assert ranking[:2] == ("c", "a")
        assert set(ranking[2:]) == {"b", "d"}


def test_avengers_pro_without_prices_or_with_a_wrong_weight_says_so() -> None:
    context = setting().context
    with pytest.raises(InputError, match=r"`avengers-pro` needs prices; .*--prices"):
        make_method("avengers-pro", replace(context, costs=np.full(4, np.nan)))
    with pytest.raises(InputError, match="weight is a number from 0 to 1"):
        make_method("avengers-pro:weight=2", context)


@pytest.mark.parametrize("name", ["avengers:offset=0", "model-sat:penalty=0"])
def test_a_setting_that_is_divided_by_cannot_be_0(name: str) -> None:
    with pytest.raises(InputError, match="is a number above 0, not 0"):
        make_method(name, setting().context)


@pytest.mark.parametrize("name", ["avengers:clusters=8", "avengers-pro:clusters=8:weight=1"])
def test_however_sharp_the_weights_are_the_nearest_cluster_has_one(name: str) -> None:
    given = soft_setting()
    sharp, alone = f"{name}:nearest=4:sharpness=1e6", f"{name}:nearest=1"
    assert rankings(sharp, given.context, given.tests.queries) == rankings(alone, given.context, given.tests.queries)


@pytest.mark.parametrize("name", ["avengers", "avengers-pro:weight=1"])
def test_clusters_show_which_model_is_right_where(name: str) -> None:
    assert planted().share_right(name) > 0.95
    assert with_gaps(planted(), 0.3).share_right(name + ":clusters=5") > 0.95


@pytest.mark.parametrize("name", ["avengers", "avengers-pro:weight=1"])
def test_labels_without_structure_give_chance(name: str) -> None:
    assert planted(shuffled=True).share_right(name) < chance_bound(5, 400)
