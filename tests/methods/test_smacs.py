"""SMACS, call by call, through LiteLLM on the loopback server; its chances by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.methods.ensembles.smacs import drop_chances
from jisi_cli.methods.registry import make_method
from jisi_cli.methods.routers.knn import Knn, KnnSettings
from jisi_cli.methods.similarity import mean_cosines
from jisi_cli.models.limits import Budget
from tests.loopback import Fault, Loopback
from tests.methods.live import answer, fenced, models_of, script_all, system_of
from tests.methods.synthetic import Setting, hashing_embedder, setting

DEAD = Fault("status", status=500)
NINE = "abcdefghi"


def prior(given: Setting) -> tuple[str, ...]:
    """All models, best nearby first, by the router of the same source."""
    (ranking,) = Knn(given.context, KnnSettings(neighbours=400)).rank(given.tests.queries[:1])
    return ranking


def test_chances_grow_with_the_gap_to_the_best() -> None:
    weights = [1, math.exp(0.5), math.e]
    assert drop_chances([0.9, 0.7, 0.5]).tolist() == pytest.approx([weight / sum(weights) for weight in weights])
    assert drop_chances([0.4, 0.4]).tolist() == [0.5, 0.5]


def test_the_best_seven_nearby_answer_and_four_subsets_of_six_are_aggregated(loopback: Loopback) -> None:
    given = setting(models=NINE)
    script_all(loopback, *NINE)
    outcome = answer(loopback, "smacs", given)
    best = prior(given)
    assert sorted(models_of(loopback.requests[:7])) == sorted(best[:7])
    aggregations = loopback.requests[7:]
    assert models_of(aggregations) == [best[0]] * 4
    texts = [f"{model} says 1" for model in best[:7]]
    left_out = []
    for request in aggregations:
        read = fenced(system_of(request))
        assert len(read) == 6 and read == [text for text in texts if text in read]
        left_out += [text for text in texts if text not in read]
    assert len(set(left_out)) == 4
    assert outcome.mode == "aggregate"
    assert outcome.reason == "it is most like the others, of 4 aggregations"


def test_the_most_typical_aggregation_is_kept(loopback: Loopback) -> None:
    given = setting()
    best = prior(given)[0]
    words = ["red green blue", "red green blue too", "red green blue also too", "taxes"]
    written: list[str] = []

    def reply(messages: list[dict[str, object]]) -> str:
        if messages[0]["role"] == "user":
            return "a proposal"
        written.append(words[len(written)])
        return written[-1]

    loopback.script(best, text=reply)
    script_all(loopback)
    outcome = answer(loopback, "smacs", given)
    means = mean_cosines(hashing_embedder().embed(words))
    assert outcome.answer.text == words[int(np.argmax(means))]


SURE = {"red green blue": -0.9, "red green blue too": -0.8, "red green blue also too": -0.1, "taxes": -0.3}
"""Results of four subsets, and the log-probability of each of their tokens."""


def writes_in_turn(loopback: Loopback, model: str, **how: object) -> None:
    written: list[str] = []

    def reply(messages: list[dict[str, object]]) -> str:
        if messages[0]["role"] == "user":
            return "a proposal"
        written.append(list(SURE)[len(written)])
        return written[-1]

    loopback.script(model, text=reply, **how)


def test_perplexity_counts_where_it_is_asked_for_and_comes(loopback: Loopback) -> None:
    given = setting()
    best = prior(given)[0]
    writes_in_turn(loopback, best, logprobs=lambda text: [SURE[text]] * len(text.split()))
    script_all(loopback)
    outcome = answer(loopback, "smacs:perplexity=yes", given)
    means = mean_cosines(hashing_embedder().embed(list(SURE)))
    scores = [mean + 1 - math.exp(-p) for mean, p in zip(means, SURE.values(), strict=True)]
    assert outcome.answer.text == list(SURE)[int(np.argmax(scores))] == "red green blue also too"
    # By likeness alone another one would have been kept.
    assert int(np.argmax(means)) != int(np.argmax(scores))
    assert outcome.reason == "it is most like the others, of 4 aggregations, and the surest"
    assert [request.body.get("logprobs") for request in loopback.requests] == [None] * 4 + [True] * 4


def test_without_log_probabilities_likeness_alone_decides_and_says_so(loopback: Loopback) -> None:
    given = setting()
    best = prior(given)[0]
    writes_in_turn(loopback, best, logprobs=lambda text: [] if text == "taxes" else [SURE[text]])
    script_all(loopback)
    outcome = answer(loopback, "smacs:perplexity=yes", given)
    means = mean_cosines(hashing_embedder().embed(list(SURE)))
    assert outcome.answer.text == list(SURE)[int(np.argmax(means))]
    assert outcome.reason.endswith("log-probabilities did not come for all of them")
    with pytest.raises(InputError, match="smacs: perplexity is no or yes, not 'maybe'"):
        make_method("smacs:perplexity=maybe", given.context)


def test_the_subsets_are_the_seeds(loopback: Loopback) -> None:
    given = setting(models=NINE)
    script_all(loopback, *NINE)
    seen = []
    for seed in (1, 1, 2, 3):
        for model in NINE:
            loopback.script(model, text="{model} says so")
        answer(loopback, "smacs", given, seed=seed)
        seen.append(sorted(system_of(request) for request in loopback.requests[-4:]))
    assert seen[0] == seen[1]
    assert len({tuple(prompts) for prompts in seen}) > 1


def test_a_model_far_behind_is_left_out_more_often() -> None:
    given = setting(models=NINE)
    method = make_method("smacs:subsets=1", given.context)
    counts = np.zeros(3)
    for query in (given.tests.queries * 100)[:2000]:
        text = f"{query.text} {counts.sum()}"
        (dropped,) = method._left_out(type(query)(text, query.vector), [0.9, 0.7, 0.5])
        counts[dropped] += 1
    # 5 standard deviations of 2000 draws are 0.06.
    assert counts / counts.sum() == pytest.approx(drop_chances([0.9, 0.7, 0.5]), abs=0.06)


def test_proposers_and_aggregators_that_die_are_replaced(loopback: Loopback) -> None:
    given = setting()
    first, second, third, _fourth = prior(given)
    loopback.script(first, text="{model} says {number}", faults=(None, *(DEAD,) * 3))
    loopback.script(third, faults=(DEAD,))
    script_all(loopback)
    outcome = answer(loopback, "smacs", given)
    # Three responses have three subsets of two.
    assert models_of(loopback.requests[4:]) == [first] * 3 + [second] * 3
    assert all(len(fenced(system_of(request))) == 2 for request in loopback.requests[4:])
    assert outcome.answer.model == second


def test_one_response_is_the_answer_and_no_aggregator_leaves_the_best_response(loopback: Loopback) -> None:
    given = setting()
    first, *others = prior(given)
    for model in others:
        loopback.script(model, faults=(DEAD,) * 9)
    script_all(loopback)
    outcome = answer(loopback, "smacs", given)
    assert (outcome.mode, outcome.answer.model, loopback.count()) == ("fallback", first, 4)
    for model in given.models:
        loopback.script(model, text="{model} says {number}", faults=(None, *(DEAD,) * 9))
    outcome = answer(loopback, "smacs", given)
    assert (outcome.mode, outcome.answer.text) == ("fallback", f"{first} says 1")


def test_a_budget_that_ends_leaves_the_best_response(loopback: Loopback) -> None:
    given = setting()
    for model in given.models:
        loopback.script(model, text="word " * 400)
    outcome = answer(loopback, "smacs", given, budget=Budget(0.004), max_tokens=450)
    assert outcome.stopped_by_budget and outcome.mode == "fallback"
    assert outcome.answer.model == prior(given)[0]
