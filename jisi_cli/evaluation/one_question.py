"""One question answered by one method: what becomes of it, what it cost, and the key of its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jisi_cli.collect.collect import lacks_its_end
from jisi_cli.errors import BudgetError, NoAnswerError
from jisi_cli.evaluation.results import BilledCall, Result, content_key
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.formats.record import Question
from jisi_cli.grading.final_answer import later_readings
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import reader_of
from jisi_cli.methods.decision import Evidence, evidence_of
from jisi_cli.methods.protocol import Method, Outcome, Silent
from jisi_cli.methods.shared_stages import SharedCoarse, SharedFine
from jisi_cli.methods.training import Training
from jisi_cli.models.live import query_hash
from jisi_cli.models.replay import ReplayPool
from jisi_cli.types import Answer, Pool, whole_sum


@dataclass(frozen=True)
class Entry:
    """A method that takes part, under the name that the report gives it.

    Attributes:
        name: As in the report.
        method: The method; None for a bound that is read off the labels.
        identity: What decides its answers besides the question; part of the content key.
        making: Seconds that making the method took in this run, training included.
        training: What training it took, in this run or an earlier one.
        needs_live: Whether it wants calls that no replay has, and is not even tried in one.
        among: The models that a bound chooses from; None for all that the test set has.
        coarse: What computes stage 1 for it and for others; None where it is not shared.
        fine: The same of stages 2 and 3.
        compares_answers: Whether it compares final answers, so that its results depend on how those are read.
        kept_as: What keys of its results call it, where an earlier version gave it another name.
    """

    name: str
    method: Method[Any] | None
    identity: tuple[object, ...]
    making: float = 0.0
    training: Training = field(default_factory=Training)
    needs_live: bool = False
    among: Sequence[str] | None = None
    coarse: SharedCoarse | None = None
    fine: SharedFine | None = None
    compares_answers: bool = False
    kept_as: str = ""


@dataclass(frozen=True, slots=True)
class MethodRun:
    """One method, on what it is run and how it is graded.

    Attributes:
        entry: The method.
        tests: The questions.
        pool: A replay of recorded answers, or live models.
        graders: What grades live answers.
        train: Dataset and index of each bank row that the method decides by.
        on_done: Told of each question that is answered.
    """

    entry: Entry
    tests: TestSet
    pool: Pool
    graders: GraderSet
    train: Sequence[tuple[str, str]]
    on_done: Callable[[], None]

    @property
    def live(self) -> bool:
        """Whether models are called: a replay knows its scores."""
        return self.pool.live


class _Heard(Silent):
    """A listener that keeps the calls, which an unanswered question cost, too."""

    def __init__(self) -> None:
        self.calls: list[Answer] = []

    def answered(self, answer: Answer) -> None:
        """Keep a call."""
        self.calls.append(answer)


async def answer_question(run: MethodRun, method: Method[Any], row: int, plan: object, key: str) -> Result:
    """Return what becomes of a question: a score, or why there is none.

    Args:
        run: The method, and on what it is run.
        method: The method itself.
        row: Which question.
        plan: What the method has decided about it without a call.
        key: Of the result.

    Raises:
        BudgetError: The budget does not suffice for it.
        InputError: It is to be graded by a grader that cannot be used.
    """
    tests, pool, live = run.tests, run.pool, run.live
    question, heard = tests.questions[row], _Heard()
    known = (key, question.dataset, question.index, run.entry.name)
    result = partial(Result, *known, query_hash=query_hash(question.query), split=tests.split)
    failed = partial(result, "failed", score=0.0 if tests.failed == "wrong" else None)
    try:
        outcome = await method.answer(tests.queries[row], plan, pool, heard)
    except NoAnswerError as error:
        return failed(error=str(error), **spent_on(heard.calls, None, live=live))
    if outcome.missing:
        # Not what the method would have said; a later run asks again, and finds the answers in the cache.
        return failed(error="; ".join(outcome.missing), **spent_on(outcome.calls, outcome.answer, live=live))
    if outcome.stopped_by_budget:
        raise BudgetError(f"the budget was used up at {question.dataset}/{question.index}; raise --max-cost and go on")
    if not live and any(call.error == ReplayPool.NOT_RECORDED for call in outcome.calls):
        mode, support, evidence = _wanted_mode(outcome), _support(outcome), _evidence(run, outcome)
        return result("needs-live", mode=mode, support_size=support, evidence=evidence)
    score = await _grade(run, question, outcome.answer) if live else tests.label(row, outcome.answer.model)
    return result(
        "unscored" if score is None else "scored",
        score=score,
        model=outcome.answer.model,
        mode=outcome.mode,
        winner_cost_usd=outcome.answer.list_cost_usd,
        **spent_on(outcome.calls, outcome.answer, live=live),
        support_size=_support(outcome),
        answer=outcome.answer.text if live else None,
        evidence=_evidence(run, outcome),
        confidence=outcome.confidence,
    )


async def _grade(run: MethodRun, question: Question, answer: Answer) -> float | None:
    """Return the score of a live answer; None where it cannot be read."""
    if lacks_its_end(answer.text, answer.cut_off, question, run.graders):
        return None
    return await run.graders.grade(question, answer.text)


def _wanted_mode(outcome: Outcome) -> str:
    return "aggregate" if any(call.role == "aggregator" for call in outcome.calls) else outcome.mode


def _support(outcome: Outcome) -> int | None:
    return len(outcome.decision.coarse.rows) if outcome.decision is not None else None


def _evidence(run: MethodRun, outcome: Outcome) -> Evidence | None:
    return evidence_of(outcome.decision, run.train) if outcome.decision is not None else None


# What one question cost: its calls, one by one and together.


def spent_on(calls: Sequence[Answer], final: Answer | None, *, live: bool) -> dict[str, Any]:
    """Return what a question cost, as fields of its result.

    Args:
        calls: All calls that were made for it.
        final: The answer that was given; None when there was none.
        live: Whether models were called; False for a replay of recorded answers.
    """
    tokens = whole_sum(answer.completion_tokens for answer in calls)
    return {
        "calls": len(calls),
        "cost_usd": whole_sum(_cost(answer) for answer in calls),
        "tokens": None if tokens is None else int(tokens),
        "bill": tuple(_billed(answer, final, live=live) for answer in calls),
    }


def _billed(answer: Answer, final: Answer | None, *, live: bool) -> BilledCall:
    return BilledCall(
        answer.model,
        role=answer.role,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        # Nothing is paid for what is only replayed.
        cost_usd=answer.cost_usd if live else 0.0,
        list_cost_usd=answer.list_cost_usd,
        price_source=answer.price_source,
        cached=answer.cached or not live,
        error=None if answer.ok else BilledCall.FAILED,
        is_answer=answer is final,
    )


def _cost(answer: Answer) -> float | None:
    # No list names the price of a failure; what was paid for it may be known.
    return answer.list_cost_usd if answer.ok or answer.list_cost_usd is not None else answer.cost_usd


# What tells its result from others.


def result_key(run: MethodRun, row: int) -> str:
    """Return the key of a question's result, which is the same only where the result would be.

    Args:
        run: The method, and on what it is run.
        row: Which question.
    """
    question = run.tests.questions[row]
    # A replay's results are made of what was recorded; a live run's of how they are graded.
    grader = run.graders.options.spec_for(question) if run.live else question.grader
    recorded = None if run.live else run.tests.fingerprints[row]
    asked = (question.dataset, question.index, question.query, question.reference, grader and str(grader))
    # Other train rows make other methods.
    split = () if run.tests.split is None else (f"split={run.tests.split}",)
    name = run.entry.kept_as or run.entry.name
    return content_key(
        *asked, name, recorded, *run.entry.identity, *split, *_reading(run, row), *question.said_before()
    )


def _reading(run: MethodRun, row: int) -> tuple[str, ...]:
    """Return how final answers are read that an earlier version read otherwise; the keys of other results stay.

    What a live run will answer is not known yet: it may be a bare reply, unless a grader has its own reading; and a
    question that shows double square brackets asks for them.
    """
    if not run.entry.compares_answers:
        return ()
    query = run.tests.queries[row]
    if run.live:
        if reader_of(query.grader) is not None:
            return ()
        return ("reads=[[ ]]", "reads=bare replies") if "[[" in query.text else ("reads=bare replies",)
    recorded = run.tests.pool.recorded(query.text, run.tests.questions[row].key)
    return tuple(f"reads={name}" for name in later_readings((answer.text, query.grader) for _, answer in recorded))
