"""The cascade: whom it asks, when it stops, how sure it is, and where it leaves a question to the paper's stages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jisi_cli.errors import BudgetError, InputError, NoAnswerError
from jisi_cli.hyperparameters import CascadeSettings, stated_options
from jisi_cli.methods.cascade_training import fitted
from jisi_cli.methods.decision import percent
from jisi_cli.methods.final_answers import NO_ANSWER, NO_TEXT
from jisi_cli.methods.jisi_cascade import JisiCascade
from jisi_cli.methods.protocol import Outcome, Query, Silent
from jisi_cli.methods.registry import make_method, method_info
from jisi_cli.scoring.cascade import FIRST_PRIOR, LATER_PRIOR
from jisi_cli.types import Answer, Request
from tests.methods.synthetic import Respond, Setting, ToldPool, changed, setting

NAME = "jisi-cascade"


def cascade(given: Setting | None = None, settings: str = "", **changes: Any) -> JisiCascade:
    made = make_method(NAME + settings, changed((given or setting()).context, **changes))
    assert isinstance(made, JisiCascade)
    return made


def says(answer: str) -> Respond:
    return lambda request: Answer(request.model, answer, completion_tokens=5)


def number(value: object) -> Respond:
    return says(f"The answer is {value}.")


def fails(request: Request) -> Answer:
    return Answer(request.model, "", error="503 overloaded")


def too_dear(request: Request) -> Answer:
    raise BudgetError("the budget is used up")


def order_of(method: JisiCascade, query: Query) -> list[str]:
    (plan,) = method.plan([query])
    return [method.bank.model_names[model] for model in plan.ranking]


def outcome_of(
    method: JisiCascade, respond: Mapping[str, Respond], query: Query | None = None
) -> tuple[Outcome, ToldPool]:
    """Answer a question; `respond` is by the place in the order of asking (`1`, `2`, ...)."""
    query = query or setting().tests.queries[0]
    order = order_of(method, query)
    pool = ToldPool({model: respond[str(place)] for place, model in enumerate(order, start=1)})
    (plan,) = method.plan([query])
    return asyncio.run(method.answer(query, plan, pool, Silent())), pool


def asked(pool: ToldPool) -> list[str]:
    return [call.model for call in pool.asked]


ALL_AGREE = {str(place): number(7) for place in range(1, 5)}
ALL_DIFFER = {str(place): number(place) for place in range(1, 5)}


# Whom it asks, and when it stops.


def test_models_are_asked_one_after_another_most_reliable_first_until_it_is_sure() -> None:
    method = cascade(settings=":tau=0.6")
    outcome, pool = outcome_of(method, ALL_AGREE)
    order = order_of(method, setting().tests.queries[0])
    assert asked(pool) == order[: len(asked(pool))]
    assert 1 < len(asked(pool)) < 4
    assert outcome.confidence is not None and outcome.confidence >= 0.6
    assert (outcome.mode, outcome.answer.model) == ("consensus", order[0])
    assert outcome.reason.endswith(f" sure: {len(asked(pool))} of {len(asked(pool))} agree")
    assert {call.role for call in outcome.calls} == {"probe"}


def test_the_surer_it_must_be_the_more_are_asked() -> None:
    counts = [len(asked(outcome_of(cascade(settings=f":tau={tau}"), ALL_AGREE)[1])) for tau in (0.0, 0.6, 0.8, 1.0)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (1, 4)


def test_no_more_answers_are_asked_for_than_allowed() -> None:
    outcome, pool = outcome_of(cascade(settings=":tau=1:max_calls=2:aggregate=never"), ALL_DIFFER)
    assert len(asked(pool)) == 2
    assert outcome.mode == "consensus"


@pytest.mark.parametrize("place", ["1", "2", "3"])
@pytest.mark.parametrize("failure", [fails, says("  ")], ids=["an error", "no words"])
def test_a_model_that_fails_is_no_answer_and_the_next_takes_its_place(place: str, failure: Respond) -> None:
    method = cascade(settings=":tau=1:max_calls=3")
    outcome, pool = outcome_of(method, ALL_AGREE | {place: failure})
    assert len(asked(pool)) == 4
    assert outcome.decision is not None and outcome.decision.belief is not None
    answered = [model for group in outcome.decision.belief.groups for model in group]
    failed = order_of(method, setting().tests.queries[0])[int(place) - 1]
    assert len(answered) == 3 and failed not in answered
    assert outcome.decision.answered == tuple(answered)
    assert len(outcome.calls) == 4


def test_the_answer_is_that_of_the_best_ranked_member_of_the_best_group() -> None:
    method = cascade(settings=":tau=1:aggregate=never")
    outcome, pool = outcome_of(method, ALL_AGREE | {"1": number(9)})
    assert outcome.answer.model == asked(pool)[1]
    assert outcome.decision is not None and outcome.decision.belief is not None
    belief = outcome.decision.belief
    assert belief.groups == (tuple(asked(pool)[1:]), (asked(pool)[0],))
    assert sum(belief.probabilities) + belief.none == pytest.approx(1, abs=1e-8)
    assert outcome.confidence == belief.probabilities[0] == max(belief.probabilities)
    assert outcome.reason.endswith("sure: 3 of 4 agree")


def test_without_any_answer_there_is_an_error_that_names_all() -> None:
    with pytest.raises(NoAnswerError, match=r"503 overloaded.*503 overloaded"):
        outcome_of(cascade(), dict.fromkeys("1234", fails))


# Budgets.


def test_a_budget_that_ends_in_the_middle_leaves_the_best_answer_so_far() -> None:
    outcome, pool = outcome_of(cascade(settings=":tau=1"), ALL_AGREE | {"3": too_dear})
    assert len(asked(pool)) == 3
    assert outcome.stopped_by_budget
    assert (outcome.mode, outcome.answer.model) == ("fallback", asked(pool)[0])
    assert "2 of 2 agree; the budget left no room for another model" in outcome.reason


def test_a_first_model_that_is_too_dear_leaves_the_question_to_the_others() -> None:
    outcome, pool = outcome_of(cascade(settings=":tau=0"), ALL_AGREE | {"1": too_dear})
    assert outcome.answer.model == asked(pool)[1]
    assert outcome.stopped_by_budget
    with pytest.raises(BudgetError):
        outcome_of(cascade(), dict.fromkeys("1234", too_dear))


# Where it ends unsure.


def writes(request: Request) -> Answer:
    final = 7 if request.role == "aggregator" else request.model
    return Answer(request.model, f"All in all, the answer is {final}")


def test_where_no_answer_is_sure_enough_the_aggregator_writes_one() -> None:
    method = cascade(settings=":tau=1")
    query = setting().tests.queries[0]
    order = order_of(method, query)
    pool = ToldPool({model: writes for model in order})
    (plan,) = method.plan([replace(query, grader=None)])
    outcome = asyncio.run(method.answer(replace(query, grader=None), plan, pool, Silent()))
    assert (outcome.mode, outcome.answer.model) == ("aggregate", order[0])
    assert pool.count("aggregator") == 1
    assert outcome.confidence is None  # 7 is nobody's answer
    assert outcome.decision is not None and outcome.decision.belief is not None
    assert outcome.decision.aggregatees == tuple(model for group in outcome.decision.belief.groups for model in group)
    prompt = pool.asked[-1].messages[-1]["content"]
    places = [prompt.index(f"the answer is {model}") for model in outcome.decision.aggregatees]
    assert places == sorted(places)


def test_an_aggregators_answer_is_as_sure_as_the_group_it_sides_with() -> None:
    def respond(place: int) -> Respond:
        return lambda request: number(2 if request.role == "aggregator" else place)(request)

    outcome, _ = outcome_of(cascade(settings=":tau=1"), {str(place): respond(place) for place in range(1, 5)})
    assert outcome.mode == "aggregate"
    assert outcome.decision is not None and outcome.decision.belief is not None
    chances = dict(zip(outcome.decision.belief.groups, outcome.decision.belief.probabilities, strict=True))
    assert outcome.confidence == chances[outcome.decision.answered[1],]


def test_a_broken_aggregator_leaves_the_most_probable_answer() -> None:
    def respond(place: int) -> Respond:
        return lambda request: fails(request) if request.role == "aggregator" else number(place)(request)

    outcome, pool = outcome_of(cascade(settings=":tau=1"), {str(place): respond(place) for place in range(1, 5)})
    assert (outcome.mode, outcome.answer.model) == ("fallback", asked(pool)[0])
    assert pool.count("aggregator") == 4
    assert "no aggregator answered" in outcome.reason


def test_models_that_agree_need_no_aggregator_however_unsure_they_are() -> None:
    outcome, pool = outcome_of(cascade(settings=":tau=1"), ALL_AGREE)
    assert (outcome.mode, pool.count("aggregator")) == ("consensus", 0)


def test_aggregate_never_gives_the_most_probable_answer() -> None:
    for method in (cascade(settings=":tau=1:aggregate=never"), cascade(settings=":tau=1", aggregation="never")):
        assert method.settings.aggregate == "never"
        outcome, pool = outcome_of(method, ALL_DIFFER)
        assert (outcome.mode, pool.count("aggregator")) == ("consensus", 0)


# Open questions.


def open_query() -> Query:
    return replace(setting().tests.queries[0], grader=None)


@pytest.mark.slow
def test_an_open_question_takes_the_papers_stages_and_asks_nobody_twice() -> None:
    method = cascade()
    outcome, pool = outcome_of(method, dict.fromkeys("1234", says("Spiders are lovely, aren't they?")), open_query())
    first = order_of(method, open_query())[0]
    assert outcome.confidence is None
    assert outcome.mode in ("route", "aggregate")
    assert outcome.decision is not None and outcome.decision.fine is not None
    questions = [call.model for call in pool.asked if call.role != "aggregator"]
    assert questions[0] == first
    assert len(questions) == len(set(questions))
    assert set(questions) == {first, *outcome.decision.candidates, *outcome.decision.aggregatees}
    assert len(outcome.calls) == len(pool.asked)


@pytest.mark.slow
def test_a_model_that_failed_before_an_open_question_is_not_asked_again() -> None:
    method = cascade()
    respond = dict.fromkeys("1234", says("Spiders are lovely, aren't they?")) | {"1": fails}
    _, pool = outcome_of(method, respond, open_query())
    questions = [call.model for call in pool.asked if call.role != "aggregator"]
    assert len(questions) == len(set(questions))


def test_a_question_whose_grader_reads_answers_is_never_open() -> None:
    query = setting().tests.queries[0]
    assert query.grader == "numeric"
    outcome, _ = outcome_of(
        cascade(settings=":tau=1:aggregate=never"), ALL_AGREE | {"1": says("I do not know.")}, query
    )
    assert outcome.decision is not None and outcome.decision.belief is not None
    assert len(outcome.decision.belief.groups) == 2


# One model; the order of things; settings.


def test_with_one_model_it_is_that_model() -> None:
    given = setting(models="c")
    method = cascade(given)
    query = given.tests.queries[0]
    (plan,) = method.plan([query])
    outcome = asyncio.run(method.answer(query, plan, ToldPool({"c": number(7)}), Silent()))
    assert (outcome.answer.model, outcome.mode, len(outcome.calls)) == ("c", "consensus", 1)


@pytest.mark.slow
def test_the_order_of_models_and_rows_changes_no_bit_of_how_sure_it_is() -> None:
    given = setting(gaps=0.2)
    moved = given.with_models([2, 0, 3, 1]).with_rows(np.random.default_rng(1).permutation(40).tolist())
    found = []
    for each in (given, moved):
        method, sure = cascade(each, ":tau=1:aggregate=never"), []
        for query, plan in zip(given.tests.queries, method.plan(given.tests.queries), strict=True):
            outcome = asyncio.run(method.answer(query, plan, each.tests.pool, Silent()))
            sure.append((outcome.answer.model, outcome.confidence, outcome.reason))
        found.append(sure)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (":tau=1.5", "tau must be a number from 0 to 1"),
        (":mean_calls=0.5", "--calls (mean_calls) must be a number from 1"),
        (":gamma=2", "gamma must be a number from 0 to 1"),
        (":aggregate=always", "aggregate auto or never"),
        (":max_calls=0", "max_calls is a whole number from 1"),
        (":k=3", "no setting `k=3`"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        cascade(settings=settings)


def test_options_reach_the_method_and_what_stands_behind_its_name_wins() -> None:
    context = replace(setting().context, options={"tau": 0.9, "prior": 5.0})
    assert make_method(NAME, context).settings == CascadeSettings(tau=0.9, prior=5.0)
    assert make_method(f"{NAME}:tau=0.7", context).settings == CascadeSettings(tau=0.7, prior=5.0)


def test_a_tau_behind_the_name_is_not_chosen_by_a_ceiling_that_was_stated_before() -> None:
    context = replace(setting().context, options={"mean_calls": 2.0})
    assert make_method(f"{NAME}:tau=0.7", context).settings == CascadeSettings(tau=0.7)
    with pytest.raises(InputError, match="chooses tau"):
        make_method(f"{NAME}:tau=0.7:mean_calls=2", context)
    method_info(NAME).check_options({"tau": 0.5, "n_base": 10, "k": 2})
    with pytest.raises(InputError, match="--tau is a setting of jisi-cascade"):
        method_info("jisi").check_options({"tau": 0.5})
    with pytest.raises(InputError, match="--max-calls is a setting of jisi-cascade"):
        method_info("knn").check_options({"max_calls": 2})


# What it learns.


class GivenAnswers:
    """Final answers made up from the scores of a bank: all right answers are equal, wrong ones are of few kinds."""

    def __init__(self, given: Setting, kinds: int = 3, *, closed: bool = True) -> None:
        rng = np.random.default_rng(5)
        wrong = 4 + rng.integers(kinds, size=given.context.bank.scores.shape)
        self.codes = np.where(given.context.bank.scores >= 0.5, 3, wrong)
        self.closed, self.read = closed, 0

    identity = "given"

    def code(self, row: int, model: int) -> int:
        self.read += 1
        return int(self.codes[row, model])

    def is_closed(self, row: int) -> bool:
        return self.closed

    def keep(self) -> None:
        pass


def taught(rows: int, edit: Callable[[GivenAnswers], None] = lambda answers: None) -> tuple[Setting, GivenAnswers]:
    given = setting(rows=rows)
    answers = GivenAnswers(given)
    edit(answers)
    return replace(given, context=changed(given.context, answers=answers)), answers


UNFITTED = [list(FIRST_PRIOR), *[list(LATER_PRIOR)] * 3]
"""The weights after one to four answers where there is nothing to fit."""


@pytest.mark.slow
def test_with_few_questions_the_priors_mean_serves() -> None:
    given, _ = taught(49)
    found = fitted(given.context, CascadeSettings())
    assert found.weights.tolist() == UNFITTED
    more, _ = taught(80)
    assert not (fitted(more.context, CascadeSettings()).weights == np.array(UNFITTED)).all(axis=1).any()


@pytest.mark.slow
def test_nothing_is_learned_from_scores_that_agreement_gave() -> None:
    given, _ = taught(120)
    half = np.arange(120) % 2 == 0
    agreed = fitted(changed(given.context, unrepresentative=half), CascadeSettings())
    assert len(agreed.sure) == 60
    assert (fitted(changed(given.context, unrepresentative=~half), CascadeSettings()).weights != agreed.weights).any()
    few = changed(given.context, unrepresentative=np.arange(120) < 71)
    assert fitted(few, CascadeSettings()).weights.tolist() == UNFITTED


@pytest.mark.slow
def test_what_is_learned_is_sure_as_often_as_it_is_right() -> None:
    given = setting(rows=400, tests=400)
    answers = GivenAnswers(given, kinds=2)  # as the test answers are made up
    sure, right = {}, {}
    for name in ("fitted", "independent"):
        method = cascade(given, ":tau=1:aggregate=never", answers=answers)
        if name == "independent":
            method.weights = np.tile([1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0], (4, 1))
        found = [
            asyncio.run(method.answer(query, plan, given.tests.pool, Silent()))
            for query, plan in zip(given.tests.queries, method.plan(given.tests.queries), strict=True)
        ]
        sure[name] = np.mean([outcome.confidence for outcome in found])
        right[name] = np.mean([given.tests.label(row, outcome.answer.model) for row, outcome in enumerate(found)])
    assert sure["fitted"] == pytest.approx(right["fitted"], abs=0.04)
    assert abs(sure["independent"] - right["independent"]) > 0.06


@pytest.mark.slow
def test_final_answers_that_are_never_asked_for_are_not_read() -> None:
    given, answers = taught(100)
    fitted(given.context, CascadeSettings(max_calls=2))
    assert answers.read == 200


@pytest.mark.slow
def test_what_was_learned_is_found_again_unless_the_final_answers_are_others() -> None:
    given, answers = taught(100)
    first = fitted(given.context, CascadeSettings())
    before = answers.read
    assert (fitted(given.context, CascadeSettings(tau=0.5)).weights == first.weights).all()
    assert answers.read == before
    answers.identity = "others"
    fitted(given.context, CascadeSettings())
    assert answers.read > before


def test_open_questions_teach_nothing() -> None:
    def open_up(answers: GivenAnswers) -> None:
        answers.codes[:60] = NO_ANSWER
        answers.closed = False

    given, _ = taught(100, open_up)
    assert len(fitted(given.context, CascadeSettings()).sure) == 40


@pytest.mark.slow
def test_a_response_without_words_is_no_answer_to_learn_from() -> None:
    def silence(answers: GivenAnswers) -> None:
        answers.codes[:, 0] = NO_TEXT

    given, _ = taught(100, silence)
    found = fitted(given.context, CascadeSettings())
    assert np.isnan(found.sure[:, 3]).all() and not np.isnan(found.sure[:, 2]).any()


@pytest.mark.slow
def test_a_ceiling_on_calls_is_kept_on_train_and_reported_as_the_tau_it_chose() -> None:
    given, _ = taught(200)
    learned = fitted(given.context, CascadeSettings())
    for calls in (1.0, 1.5, 2.5):
        method = cascade(replace(given), f":mean_calls={calls}")
        tau = method.settings.tau
        went_on = np.maximum.accumulate(learned.sure, axis=1)[:, :-1] < tau
        assert 1 + went_on.sum(axis=1).mean() <= calls
    assert cascade(given, ":mean_calls=4").settings.tau == 1.0


def test_a_ceiling_on_a_bank_that_cannot_say_is_a_ceiling_on_every_question() -> None:
    method = cascade(settings=":mean_calls=2.5", options={"tau": 1.0})
    assert len(asked(outcome_of(method, ALL_AGREE)[1])) == 2
    # The aggregator's call would be one beyond it.
    assert method.settings.aggregate == "never"
    assert "at most 2 calls" in method.context.training.chosen


def test_a_threshold_that_is_stated_later_ends_a_ceiling_stated_before() -> None:
    assert stated_options(({"mean_calls": 2.0}, "file"), ({"tau": 0.9}, "option")) == {"tau": 0.9}
    assert stated_options(({"tau": 0.9}, "file"), ({"mean_calls": 2.0}, "option"))["mean_calls"] == 2.0


def test_nothing_is_shown_as_quite_sure() -> None:
    assert [percent(chance) for chance in (1.0, 0.999, 0.87, 0.0)] == ["99 %", "99 %", "87 %", "0 %"]
