"""The routers and cascades of the peers' tables: each does what its source describes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.protocol import Outcome, Query, Silent
from jisi_cli.methods.registry import all_methods, make_method
from jisi_cli.methods.routers.automix import read_verdict
from jisi_cli.methods.routers.elo import ratings
from jisi_cli.methods.routers.hybridllm import HybridLlmSettings, labels_of
from jisi_cli.types import Answer
from tests.loopback import Loopback
from tests.methods.live import FIRST, answer, fenced, models_of, ranked, script_all, system_of, user_of
from tests.methods.planted import WIDTH, chance_bound, planted, rankings, with_gaps
from tests.methods.synthetic import ToldPool, changed, setting

CLASSIFIERS = ["svm", "mlp"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_finds_which_model_is_right_where(name: str) -> None:
    assert planted().share_right(name) > 0.95
    # Where the right model was not asked, another one is learned to be the best.
    assert with_gaps(planted(), 0.33).share_right(name) > 0.7
    assert planted(shuffled=True).share_right(name) < chance_bound(5, 400)


def test_the_machines_votes_are_scikit_learns_own() -> None:
    from sklearn.svm import SVC

    given = planted(rows=120)
    bank = given.context.bank
    labels = bank.scores.argmax(axis=1)
    machine = SVC(break_ties=True, decision_function_shape="ovr").fit(bank.query_vectors.astype(float), labels)
    chosen = machine.predict(np.stack([query.vector for query in given.queries]).astype(float))
    found = [ranking[0] for ranking in rankings("svm", given.context, given.queries)]
    assert found == [bank.model_names[label] for label in chosen]


def test_the_networks_choice_is_scikit_learns_own() -> None:
    from sklearn.neural_network import MLPClassifier

    from jisi_cli.methods.training import training_data

    given = planted(models=2, rows=120)
    examples = training_data(given.context.bank, given.context.datasets)
    network = MLPClassifier((128, 64), max_iter=500, random_state=42)
    network.fit(examples.vectors.astype(float), examples.scores.argmax(axis=1))
    chosen = network.predict(np.stack([query.vector for query in given.queries]).astype(float))
    found = [ranking[0] for ranking in rankings("mlp", given.context, given.queries)]
    assert found == [examples.models[label] for label in chosen]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_of_equally_good_models_the_better_on_train_is_learned(name: str) -> None:
    given = planted(rows=80)
    scores = np.ones_like(given.context.bank.scores)
    scores[0, [0, 2, 3, 4]] = 0.0
    context = replace(given.context, bank=replace(given.context.bank, scores=scores))
    assert {ranking[0] for ranking in rankings(name, context, given.queries)} == {"b"}


# Elo.


def test_ratings_are_those_under_which_the_wins_are_likeliest() -> None:
    # Ten to one against the second, who is level with the third: 400 points.
    found = ratings(np.array([[0.0, 100.0, 100.0], [10.0, 0.0, 50.0], [10.0, 50.0, 0.0]]))
    assert found[0] - found[1] == pytest.approx(400, abs=1)
    assert found[1] == pytest.approx(found[2], abs=1e-3)
    assert found.mean() == pytest.approx(1000)


def test_elo_asks_the_model_with_the_most_wins_for_every_question_whatever_its_mean() -> None:
    given = setting(rows=90)
    bank = given.context.bank
    # a is hardly ever wrong, but was asked easy questions alone; b beats c and d on all of theirs.
    scores, present = np.zeros((90, 4)), np.zeros((90, 4), dtype=bool)
    present[:30, :2], scores[:30, :2] = True, 1.0
    scores[0, 0] = 0.0
    present[30:, 1:], scores[30:60, 1] = True, 1.0
    context = replace(given.context, bank=replace(bank, scores=scores, present=present))
    assert {ranking[:2] for ranking in rankings("elo", context, given.tests.queries)} == {("b", "a")}
    assert ranked(replace(given, context=context))[0] == "a"


# HybridLLM.


def test_the_labels_of_the_three_routers_of_hybridllm() -> None:
    gaps = np.array([-1.0, -0.2, 0.0, 0.3])
    labels = {
        name: labels_of(gaps, HybridLlmSettings(labels=name)).tolist() for name in ("deterministic", "transformed")
    }
    assert labels == {"deterministic": [0, 0, 1, 1], "transformed": [0, 0, 1, 1]}
    probable = labels_of(gaps, HybridLlmSettings())
    assert probable == pytest.approx(1 / (1 + np.exp(-10 * gaps)))
    # The small model is hardly ever as good: with slack, half of the rows are its own.
    worse = np.array([-0.9, -0.8, -0.1, -0.05])
    assert labels_of(worse, HybridLlmSettings(labels="transformed")).sum() == 2


@pytest.mark.parametrize("labels", ["deterministic", "probabilistic", "transformed"])
def test_hybridllm_asks_the_cheap_model_where_it_does_as_well(labels: str) -> None:
    given = planted(models=2, rows=300)
    bank = given.context.bank
    # b is right everywhere, the cheap a on its own cluster.
    scores = bank.scores.copy()
    scores[:, 1] = 1.0
    if labels == "probabilistic":
        scores[:, 1] = np.where(bank.scores[:, 0] == 1, 0.9, 1.0)
    context = changed(given.context, bank=replace(bank, scores=scores), costs=np.array([1.0, 2.0]))
    found = [ranking[0] for ranking in rankings(f"hybridllm:labels={labels}", context, given.queries)]
    right = ["a" if place == 0 else "b" for place in given.right.tolist()]
    assert np.mean([one == other for one, other in zip(found, right, strict=True)]) > 0.9
    assert {r[0] for r in rankings(f"hybridllm:labels={labels}:threshold=1.1", context, given.queries)} == {"b"}


# FrugalGPT.


def telling_answers(rows: int = 240) -> MethodContext:
    """A bank in which the answer itself shows whether the cheap model `a` is right; the dear `b` always is."""
    given = planted(models=2, rows=rows)
    rng = np.random.default_rng(3)
    right = rng.random(rows) < 0.6
    answers = rng.normal(scale=0.1, size=(2, rows, WIDTH))
    answers[0, :, 0] += np.where(right, 1.0, -1.0)
    scores = np.stack([right.astype(float), np.ones(rows)], axis=1)
    bank = replace(given.context.bank, scores=scores, response_vectors=list(answers.astype(np.float32)))
    return changed(given.context, bank=bank, costs=np.array([1.0, 10.0]))


def cascade(context: MethodContext, name: str, sign: float, *, dead: tuple[str, ...] = ()) -> Outcome:
    vector = np.zeros(WIDTH, dtype=np.float32)
    vector[0] = sign
    told = {
        model: lambda call: (
            Answer(call.model, "", error="HTTP 503")
            if call.model in dead
            else Answer(call.model, f"{call.model} answers", vector=vector)
        )
        for model in "ab"
    }
    query = Query("question?", planted(models=2).queries[0].vector)
    method = make_method(name, context)
    (plan,) = method.plan([query])
    return asyncio.run(method.answer(query, plan, ToldPool(told), Silent()))


def test_a_cascade_ends_at_an_answer_that_looks_right_and_goes_on_from_one_that_does_not() -> None:
    context = telling_answers()
    trusted, doubted = cascade(context, "frugalgpt", 1.0), cascade(context, "frugalgpt", -1.0)
    assert (trusted.answer.model, len(trusted.calls), trusted.mode) == ("a", 1, "route")
    assert "its answer is trusted" in trusted.reason
    assert (doubted.answer.model, [call.model for call in doubted.calls]) == ("b", ["a", "b"])


def test_a_cascade_keeps_to_its_budget_and_survives_a_dead_model() -> None:
    context = telling_answers()
    # A tenth of what b costs buys a alone.
    frugal = cascade(context, "frugalgpt:budget=0.1", -1.0)
    assert (frugal.answer.model, len(frugal.calls)) == ("a", 1)
    assert cascade(context, "frugalgpt", -1.0, dead=("b",)).answer.model == "a"
    assert cascade(context, "frugalgpt", 1.0, dead=("a",)).answer.model == "b"


# AutoMix.


def automix(server: Loopback, verdicts: str, **changes: object) -> Outcome:
    """Let the cheapest model answer and then give these verdicts: c, i, or anything that cannot be read."""
    left = list(verdicts)
    cheapest = next(model for model in "abcd" if model != FIRST)

    def reply(messages: list[dict[str, object]]) -> str:
        if "You check one response" not in str(messages[0]["content"]):
            return "The answer is 8"
        return {"c": "Verdict: correct", "i": "I see.\nVerdict: incorrect"}.get(left.pop(0), "Who knows?")

    server.script(cheapest, text=reply)
    script_all(server)
    costs = np.array([1.0 if model == cheapest else 9.0 for model in "abcd"])
    name = str(changes.pop("name", "automix:checks=4"))
    return answer(server, name, costs=costs, **changes)


def test_a_model_that_finds_its_answer_correct_keeps_it(loopback: Loopback) -> None:
    outcome = automix(loopback, "ccic")
    assert (outcome.answer.text, outcome.mode) == ("The answer is 8", "route")
    assert outcome.reason == "75% of its checks find it correct"
    assert len(set(models_of(loopback.requests))) == 1
    assert [call.role for call in outcome.calls] == ["expert", *["judge"] * 4]
    check = loopback.requests[1]
    assert fenced(user_of(check)) == ["The answer is 8"]
    assert "never an instruction" in system_of(check)
    assert check.body["temperature"] == 0.7


@pytest.mark.parametrize("verdicts", ["icii", "????"])
def test_where_it_doubts_or_no_check_can_be_read_the_best_model_answers(loopback: Loopback, verdicts: str) -> None:
    outcome = automix(loopback, verdicts)
    assert (outcome.answer.model, outcome.mode) == (FIRST, "route")
    assert loopback.requests[-1].model == FIRST


def test_automix_is_not_approximated_in_a_replay() -> None:
    assert all_methods()["automix"].needs == "live"


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Verdict: correct", True),
        ("**Verdict: incorrect**", False),
        ("Verdict: correct? No.\nVERDICT - Incorrect", False),
        ("It is correct.", None),
        ("", None),
    ],
)
def test_the_last_verdict_of_a_check_counts(reply: str, verdict: bool | None) -> None:
    assert read_verdict(reply) is verdict


@pytest.mark.parametrize("name", ["hybridllm", "frugalgpt", "automix"])
def test_what_weighs_prices_says_so_where_there_are_none(name: str) -> None:
    with pytest.raises(InputError, match=rf"`{name}` needs prices; .*--prices"):
        make_method(name, changed(setting().context, costs=np.full(4, np.nan)))


@pytest.mark.parametrize(
    "name", ["svm:penalty=0", "hybridllm:tau=0", "hybridllm:labels=good", "frugalgpt:penalty=0", "automix:threshold=2"]
)
def test_a_setting_out_of_bounds_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        make_method(name, setting().context)


@pytest.mark.parametrize("name", ["svm", "mlp", "elo", "hybridllm", "frugalgpt", "automix"])
def test_each_says_where_it_comes_from_and_in_what_it_differs(name: str) -> None:
    assert all_methods()[name].source and all_methods()[name].departures
