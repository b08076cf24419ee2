"""What holds for every method, the ones that join later included."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from jisi_cli.errors import InputError, NoAnswerError
from jisi_cli.evaluation.comparison import build_report
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.evaluation.runner import run_method
from jisi_cli.methods.protocol import Method, Outcome, Query, Silent
from jisi_cli.methods.registry import all_methods, make_method, method_info
from jisi_cli.methods.training import Training
from jisi_cli.types import Pool
from tests.methods.synthetic import Setting, WritingPool, changed, setting

METHODS = all_methods()
NAMES = [name for name, info in METHODS.items() if info.needs != "labels" and not info.argument] + ["model:c"]

Seen = tuple[object, ...]
"""What a user can see of one question: who answered what, how, and after which calls."""

every_method = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if method_info(name).trains else name for name in NAMES]
)

DRAWS = {"random", "avengers", "avengers-pro", "embedllm", "zooter", "model-sat", "routerdc", "routellm"}
DRAWS |= {"graphrouter", "graphrouter-oracle"}
"""Methods with a draw in them: a choice, first centres, first weights, minibatches."""

READINGS: dict[str, dict[str, object]] = {
    "paper": {},
    "openjisi": {"compat": "openjisi"},
    "thrifty": {"switch": "consensus", "probe_schedule": "2,1", "u": 0.5},
}
"""Hyperparameters under which the order of things must not matter either."""

every_reading = pytest.mark.parametrize(
    "reading",
    [name if not changes else pytest.param(name, marks=pytest.mark.slow) for name, changes in READINGS.items()],
)


def seen(outcome: Outcome | NoAnswerError) -> Seen:
    if isinstance(outcome, NoAnswerError):
        return ("no answer",)
    # Calls made at the same time may end in any order.
    calls = sorted((call.role, call.model, call.text) for call in outcome.calls)
    return outcome.answer.model, outcome.answer.text, outcome.mode, tuple(calls)


async def answer_all(method: Method, queries: Sequence[Query], pool: Pool) -> list[Seen]:
    found = []
    for query, plan in zip(queries, list(method.plan(queries)), strict=True):
        try:
            found.append(seen(await method.answer(query, plan, pool, Silent())))
        except NoAnswerError as error:
            found.append(seen(error))
    return found


def outcomes(name: str, given: Setting, *, seed: int = 42) -> list[Seen]:
    """Make a method from a bank's train data and answer all test questions."""
    method = make_method(name, replace(given.context, seed=seed))
    return asyncio.run(answer_all(method, given.tests.queries, WritingPool(given.tests.pool)))


def with_gaps(reading: str) -> Setting:
    return setting(gaps=0.2).with_settings(**READINGS[reading])


@functools.cache
def in_order(name: str, reading: str) -> list[Seen]:
    """Return what a method answers from that bank as it is; with another order, two tests ask."""
    return outcomes(name, with_gaps(reading))


def evaluated(name: str, given: Setting) -> list[Result]:
    method = make_method(name, given.context)
    with ResultFile(None) as file:
        results, _ = asyncio.run(run_method(Entry(name, method, ()), given.tests, given.tests.pool, file))
    return results


def decided(results: Sequence[Result]) -> list[object]:
    return [(result.model, result.mode, result.calls, result.support_size) for result in results]


@every_method
def test_the_same_seed_gives_the_same_answers(name: str) -> None:
    assert outcomes(name, setting()) == outcomes(name, setting())


@pytest.mark.slow
def test_another_seed_moves_only_what_draws_at_random() -> None:
    moved = {name for name in NAMES if outcomes(name, setting(), seed=1) != outcomes(name, setting(), seed=2)}
    assert "random" in moved
    assert moved <= DRAWS


@every_method
@every_reading
def test_the_order_of_the_banks_rows_changes_nothing(name: str, reading: str) -> None:
    order = np.random.default_rng(1).permutation(40).tolist()
    assert outcomes(name, with_gaps(reading).with_rows(order)) == in_order(name, reading)


@every_method
@every_reading
def test_the_order_of_the_banks_models_changes_nothing(name: str, reading: str) -> None:
    assert outcomes(name, with_gaps(reading).with_models([2, 0, 3, 1])) == in_order(name, reading)


@every_method
def test_the_order_of_models_settles_no_tie(name: str) -> None:
    given = setting()
    bank = given.context.bank
    equal = replace(bank, scores=np.ones_like(bank.scores))
    tied = replace(given, context=changed(given.context, bank=equal, costs=np.ones(4)))
    assert outcomes(name, tied.with_models([3, 2, 1, 0])) == outcomes(name, tied)


@every_method
def test_the_questions_around_a_question_change_nothing(name: str) -> None:
    given = setting()
    method = make_method(name, given.context)
    pool, queries = WritingPool(given.tests.pool), given.tests.queries
    together = asyncio.run(answer_all(method, queries, pool))
    alone = [asyncio.run(answer_all(method, [query], pool))[0] for query in queries]
    backwards = asyncio.run(answer_all(method, queries[::-1], pool))
    assert alone == together
    assert backwards[::-1] == together


@every_method
def test_one_model_is_enough(name: str) -> None:
    given = setting(models="c")
    assert {model for model, *_ in outcomes(name, given)} == {"c"}


@every_method
def test_one_bank_row_is_enough(name: str) -> None:
    given = setting(rows=1)
    assert all(model in given.models for model, *_ in outcomes(name, given))


@every_method
@pytest.mark.parametrize("gaps", [0.5, pytest.param(1.0, marks=pytest.mark.slow)])
def test_a_bank_with_gaps_is_enough(name: str, gaps: float) -> None:
    given = replace(setting(gaps=gaps), tests=setting().tests)
    assert all(model in given.models for model, *_ in outcomes(name, given))


@every_method
def test_a_model_that_never_answered_in_the_bank_is_no_obstacle(name: str) -> None:
    given = setting()
    bank = given.context.bank
    present = bank.present.copy()
    present[:, 0] = False
    given = replace(given, context=replace(given.context, bank=replace(bank, present=present)))
    assert all(model in given.models for model, *_ in outcomes(name, given))


@every_method
def test_failed_answers_of_the_pool_end_in_another_answer_or_in_no_answer(name: str) -> None:
    given = setting(gaps=0.5)
    # Only a fixed model has nobody to stand in for it.
    column = [given.models.index("c")] if name == "model:c" else [0, 1, 2, 3]
    nobody = np.isnan(given.tests.scores[:, column]).all(axis=1)
    assert nobody.any()
    assert [outcome == ("no answer",) for outcome in outcomes(name, given)] == nobody.tolist()


@every_method
@pytest.mark.parametrize("gaps", [pytest.param(0.0, marks=pytest.mark.slow), 0.4])
def test_every_final_answer_is_one_that_the_pool_gave(name: str, gaps: float) -> None:
    given = setting(gaps=gaps)
    method = make_method(name, given.context)
    for query, plan in zip(given.tests.queries, method.plan(given.tests.queries), strict=True):
        pool = WritingPool(given.tests.pool)
        try:
            outcome = asyncio.run(method.answer(query, plan, pool, Silent()))
        except NoAnswerError:
            continue
        assert outcome.answer in [answer for answer in pool.given if answer.ok]
        # What is charged is what was called.
        assert sorted(map(id, outcome.calls)) == sorted(map(id, pool.given))


@every_method
def test_no_test_label_is_read(name: str) -> None:
    given = setting()
    rng = np.random.default_rng(9)
    poisoned = replace(
        given.tests,
        scores=rng.random(given.tests.scores.shape),
        questions=[replace(question, reference="poison", order=7, split="test") for question in given.tests.questions],
    )
    assert decided(evaluated(name, replace(given, tests=poisoned))) == decided(evaluated(name, given))


@pytest.mark.slow
def test_only_oracles_look_at_where_a_question_comes_from() -> None:
    given = setting()
    # A model of its own for every dataset, so that an oracle cannot but move.
    bank = given.context.bank
    labels = np.array(given.context.datasets)
    scores = np.stack([labels == name for name in ("gsm", "law", "zoo", "gsm")], axis=1).astype(float)
    given = replace(given, context=replace(given.context, bank=replace(bank, scores=scores)))
    elsewhere = {"gsm": "law", "law": "zoo", "zoo": "new"}
    queries = [replace(query, dataset=elsewhere[query.dataset or ""]) for query in given.tests.queries]
    hidden = [replace(query, dataset=None) for query in given.tests.queries]
    moved = set()
    for name in NAMES:
        here = outcomes(name, given)
        for others in (queries, hidden):
            if outcomes(name, replace(given, tests=replace(given.tests, queries=others))) != here:
                moved.add(name)
    assert moved == {name for name in NAMES if name.endswith("-oracle")}
    assert moved


@every_method
@pytest.mark.parametrize("gaps", [pytest.param(0.0, marks=pytest.mark.slow), 0.4])
def test_the_scores_of_a_report_lie_between_0_and_1(name: str, gaps: float) -> None:
    given = setting(gaps=gaps)
    results = {other: evaluated(other, given) for other in dict.fromkeys((name, "best-single"))}
    report = build_report(results, ["best-single"], np.random.default_rng(0))[0]
    assert report.questions == len(given.tests)
    assert report.scored + report.unscored + report.needs_live + report.failed == report.questions
    if report.averages is not None:
        means = [*report.averages.datasets.values(), report.averages.average, report.averages.weighted]
        assert all(0 <= mean <= 1 for mean in means)
    for shares in (report.modes, *report.selection.values()):
        assert sum(shares.values()) == pytest.approx(1)
    assert all(result.score is None or 0 <= result.score <= 1 for result in results[name])


@every_method
def test_a_question_without_a_grader_is_answered_too(name: str) -> None:
    given = setting()
    queries = [replace(query, grader=None) for query in given.tests.queries]
    found = outcomes(name, replace(given, tests=replace(given.tests, queries=queries)))
    assert ("no answer",) not in found


def test_a_method_that_needs_something_else_says_so() -> None:
    context = setting().context
    with pytest.raises(InputError, match=r"no method is called `best`.*best-single"):
        make_method("best", context)
    with pytest.raises(InputError, match="no method is called `model:`"):
        make_method("model:", context)
    with pytest.raises(InputError, match="model:z: the bank has no such model; it has a, b, c, d"):
        make_method("model:z", context)
    with pytest.raises(InputError, match="reads the test labels"):
        make_method("oracle", context)
    with pytest.raises(InputError, match="needs prices"):
        make_method("cheapest", changed(context, costs=np.full(4, np.nan)))


@every_method
def test_a_method_says_that_it_trains_where_it_does(name: str) -> None:
    training = Training()
    make_method(name, replace(setting().context, training=training))
    assert training.trained == method_info(name).trains


def test_every_method_says_what_it_is_what_it_needs_and_where_it_is_from() -> None:
    for name, info in METHODS.items():
        assert method_info(f"{name}:c" if info.argument else name) is info
        assert info.name == name
        assert info.summary and info.source and info.needs
