"""The routers over clusters against plain loops over the same clusters."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans

from jisi_cli.errors import InputError
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.registry import all_methods, make_method
from jisi_cli.methods.training import Training, training_data
from tests.methods.planted import chance_bound, planted, rankings, with_gaps
from tests.methods.synthetic import Setting, changed, setting


def soft_setting(gaps: float = 0.0) -> Setting:
    given = setting(5, rows=200, tests=60, gaps=gaps)
    scores = np.random.default_rng(2).random(given.context.bank.scores.shape)
    return replace(given, context=replace(given.context, bank=replace(given.context.bank, scores=scores)))


def clusters_of(context: MethodContext, count: int) -> tuple[np.ndarray, np.ndarray]:
    """K-means over the rows in the order in which the method learns from them, which decides the first centres."""
    points = training_data(context.bank, context.datasets).vectors.astype(float)
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
    context = changed(given.context, bank=bank, costs=np.array([2.0, np.nan, 1.0, 3.0]))
    for ranking in rankings("avengers-pro:weight=0", context, given.tests.queries):
        assert ranking[:2] == ("c", "a")
        assert set(ranking[2:]) == {"b", "d"}


def test_avengers_pro_without_prices_or_with_a_wrong_weight_says_so() -> None:
    context = setting().context
    with pytest.raises(InputError, match=r"`avengers-pro` needs prices; .*--prices"):
        make_method("avengers-pro", changed(context, costs=np.full(4, np.nan)))
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


# The original's settings.


def test_the_originals_settings_are_those_of_its_released_code() -> None:
    given = soft_setting()
    points = training_data(given.context.bank, given.context.datasets)
    found = KMeans(n_clusters=8, n_init=10, random_state=42).fit(points.vectors.astype(float))
    centres = found.cluster_centers_
    labels = found.predict(given.context.bank.query_vectors.astype(float))
    bank = given.context.bank
    expected = []
    for query in given.tests.queries:
        # The mean of a cluster as it is: 1 - q.c, not the angle.
        cluster = int(np.argmin([1 - float(query.vector @ centre) for centre in centres]))
        means = {name: bank.scores[labels == cluster, j].mean() for j, name in enumerate(bank.model_names)}
        expected.append(max(sorted(means), key=means.__getitem__))
    name = "avengers:original=yes:clusters=8"
    assert [ranking[0] for ranking in rankings(name, given.context, given.tests.queries)] == expected


def test_equal_models_of_a_cluster_stand_by_name_in_the_original_and_by_train_mean_in_ours() -> None:
    given = planted(models=2, rows=80)
    bank = given.context.bank
    # Both are right on every question of the cluster that is asked about; b is the better one at large.
    scores = np.ones_like(bank.scores)
    labels = bank.scores.argmax(axis=1)
    scores[labels == 1, 0] = 0.0
    context = replace(given.context, bank=replace(bank, scores=scores))
    asked = [query for query, right in zip(given.queries, given.right, strict=True) if right == 0]
    ours = rankings("avengers:clusters=2", context, asked)
    original = rankings("avengers:original=yes:clusters=2", context, asked)
    assert np.mean([ranking[0] == "b" for ranking in ours]) > 0.95
    assert np.mean([ranking[0] == "a" for ranking in original]) > 0.95


@pytest.mark.parametrize("method", ["avengers", "embedllm"])
def test_by_default_whichever_settings_do_better_on_train_rows_are_taken(method: str) -> None:
    given = planted(rows=150)
    training = Training()
    chosen = rankings(method, replace(given.context, training=training), given.queries)
    assert training.chosen is not None and "% on train" in training.chosen
    original = training.chosen.startswith("the original's settings")
    assert not (original and method == "embedllm"), "it needs more steps than few rows give it"
    wanted = rankings(f"{method}:original={'yes' if original else 'no'}", given.context, given.queries)
    assert chosen == wanted
    # Which it was is kept with what was learned.
    again = Training()
    rankings(method, replace(given.context, training=again), given.queries)
    assert (again.from_cache, again.chosen) == (True, training.chosen)


def test_few_rows_choose_nothing_and_settings_behind_the_name_are_ours() -> None:
    training = Training()
    make_method("avengers", replace(setting().context, training=training))
    assert training.chosen == "jisi's settings: too few train rows to compare"
    training = Training()
    make_method("avengers:clusters=4", replace(planted(rows=150).context, training=training))
    assert training.trained and training.chosen is None
    with pytest.raises(InputError, match="original is yes, no or auto, not 'maybe'"):
        make_method("avengers:original=maybe", setting().context)


@pytest.mark.parametrize("name", ["avengers", "embedllm"])
def test_the_list_of_methods_names_what_differs(name: str) -> None:
    told = all_methods()[name].departures
    words = {"avengers": ("n_init", "unit length", "64", "32"), "embedllm": ("standardises", "noise", "1e-4", "early")}
    assert all(word in told for word in (*words[name], "original=yes", "cross-validation"))
