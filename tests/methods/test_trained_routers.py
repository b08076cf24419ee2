"""What holds for every router that is trained: it finds what is there, nothing that is not, and the same each time."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from jisi_cli import paths
from jisi_cli.errors import InputError
from jisi_cli.methods.registry import make_method
from tests.methods.planted import Planted, chance_bound, planted, rankings, with_gaps
from tests.methods.synthetic import changed, setting

TRAINED = ["embedllm", "zooter", "model-sat", "routerdc", "graphrouter", "graphrouter-oracle"]
"""Those that choose among all models."""

every_trained = pytest.mark.parametrize("name", TRAINED)
all_trained = pytest.mark.parametrize("name", [*TRAINED, "routellm"])


@every_trained
def test_it_finds_which_model_is_right_where(name: str) -> None:
    assert planted().share_right(name) > 0.95


@every_trained
def test_it_finds_so_with_a_third_of_the_answers_missing(name: str) -> None:
    assert with_gaps(planted(), 0.33).share_right(name) > 0.95


@every_trained
def test_labels_without_structure_give_chance(name: str) -> None:
    assert planted(shuffled=True).share_right(name) < chance_bound(5, 400)


@every_trained
def test_it_finds_which_model_is_better_where_from_scores_between_0_and_1(name: str) -> None:
    given = planted()
    scores = 0.3 + 0.4 * given.context.bank.scores
    context = replace(given.context, bank=replace(given.context.bank, scores=scores))
    assert replace(given, context=context).share_right(name) > 0.95


@all_trained
def test_training_again_gives_the_same_rankings(name: str) -> None:
    given = setting(3, rows=80)
    first = rankings(name, given.context, given.tests.queries)
    shutil.rmtree(paths.cache_folder() / "trained")
    order = np.random.default_rng(0).permutation(80).tolist()
    moved = given.with_rows(order).with_models([2, 0, 3, 1])
    assert rankings(name, moved.context, given.tests.queries) == first


@all_trained
def test_what_was_trained_before_gives_the_same_rankings_without_training(name: str) -> None:
    given = setting(3, rows=80)
    first = rankings(name, given.context, given.tests.queries)
    (path,) = (paths.cache_folder() / "trained").iterdir()
    written = path.stat().st_mtime_ns
    assert rankings(name, given.context, given.tests.queries) == first
    assert path.stat().st_mtime_ns == written


@all_trained
def test_no_questions_are_ranked_without_complaint(name: str) -> None:
    assert rankings(name, setting().context, []) == []


def two_models(share: float) -> tuple[Planted, list[str]]:
    """The strong model `b` is right on one cluster and on three in ten of the other; the cheap `a` on the other."""
    given = planted(models=2, rows=400)
    bank = given.context.bank
    scores = bank.scores.copy()
    scores[:, 1] = np.maximum(scores[:, 1], np.arange(400) % 10 < 3)
    context = changed(given.context, bank=replace(bank, scores=scores), costs=np.array([1.0, 2.0]))
    chosen = [ranking[0] for ranking in rankings(f"routellm:strong_share={share}", context, given.queries)]
    return given, chosen


def test_routellm_asks_the_strong_model_where_only_it_is_right() -> None:
    given, chosen = two_models(0.5)
    right = [given.context.bank.model_names[place] for place in given.right]
    agreeing = np.mean([one == other for one, other in zip(chosen, right, strict=True)])
    # Half are sent to the strong model, whatever its own share of the questions is.
    assert agreeing > 0.95 - abs(np.mean(given.right) - 0.5)


def test_routellms_share_of_strong_calls_follows_the_threshold() -> None:
    shares = [np.mean([name == "b" for name in two_models(share)[1]]) for share in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)
    assert abs(shares[1] - 0.2) < 0.1


def test_routellm_learns_nothing_from_labels_without_structure() -> None:
    given = planted(models=2, rows=400, shuffled=True)
    context = changed(given.context, costs=np.array([1.0, 2.0]))
    assert replace(given, context=context).share_right("routellm:strong_share=0.5") < chance_bound(2, 400)


def test_routellm_without_prices_or_with_a_wrong_share_says_so() -> None:
    context = setting().context
    with pytest.raises(InputError, match=r"`routellm` needs prices; .*--prices"):
        make_method("routellm", changed(context, costs=np.full(4, np.nan)))
    with pytest.raises(InputError, match="strong_share is a number from 0 to 1"):
        make_method("routellm:strong_share=1.5", context)
