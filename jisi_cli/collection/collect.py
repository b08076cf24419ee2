"""Recorded answers from a live pool: every question to every model, graded as it arrives.

Nothing is kept here. An answer that was paid for is in the client's cache before this module sees
it, so a run that was killed and is started again repeats nothing but the calls that were in flight.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field

from jisi_cli.bank.records import Question, Record
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.grading.registry import load_grader
from jisi_cli.llm.answer import Answer, Pool, Sampling
from jisi_cli.llm.live import LivePool

OnRecord = Callable[["Collected"], None]
"""Called after every answer with what has been collected so far."""


@dataclass(slots=True)
class Collected:
    """What a collection has brought so far.

    Attributes:
        total: Answers that are wanted in all.
        records: Answers, failures included, in the order in which they came.
        cost_usd: Dollars paid; None once a call's price was unknown.
        cached: Answers that came from the cache.
        failures: Number of failures by their reason.
        stopped: Why a budget ended the run; None when it ended by itself.
    """

    total: int
    records: list[Record] = field(default_factory=list)
    cost_usd: float | None = 0.0
    cached: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None

    def add(self, record: Record, answer: Answer) -> None:
        """Take in one answer."""
        self.records.append(record)
        self.cached += answer.cached
        if record.error is not None:
            self.failures[record.error] = self.failures.get(record.error, 0) + 1
        if answer.cost_usd is not None and self.cost_usd is not None:
            self.cost_usd = math.fsum((self.cost_usd, answer.cost_usd))
        elif answer.ok:
            self.cost_usd = None


Pair = tuple[Question, str]
"""A question and the model that is to be asked."""


async def collect(
    pairs: Sequence[Pair],
    pool: Pool,
    *,
    concurrency: int,
    sampling: Sampling | None = None,
    on_record: OnRecord | None = None,
) -> Collected:
    """Ask a model for every pair.

    A failure is recorded as such and the rest goes on; a budget that is used up ends the run with
    what has come in, after the calls that are out have ended.

    Args:
        pairs: Questions, with the reference and the grader to use, and models of the pool.
        pool: Whom to ask.
        concurrency: Calls out at one time.
        sampling: Sampling parameters; the paper's by default.
        on_record: Told of every answer.

    Raises:
        InputError: A question names a grader that does not exist, or has a grader and no reference.
    """
    _check_graders({question.key: question for question, _ in pairs}.values())
    collected = Collected(total=len(pairs))
    work = iter(pairs)

    async def worker() -> None:
        for question, model in work:
            if collected.stopped is not None:
                return
            try:
                answer = await _about(pool, question).ask(
                    model, [{"role": "user", "content": question.query}], role="expert", sampling=sampling
                )
            except BudgetError as error:
                collected.stopped = str(error)
                return
            collected.add(graded(question, answer), answer)
            if on_record is not None:
                on_record(collected)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, collected.total)):
            group.create_task(worker())
    return collected


def _about(pool: Pool, question: Question) -> Pool:
    """Let a pool that keeps a ledger know whose question it serves."""
    return pool.about(dataset=question.dataset, query=question.query) if isinstance(pool, LivePool) else pool


def graded(question: Question, answer: Answer) -> Record:
    """Return the record of one answer: failed, unscored, or with the grader's score."""
    score = None
    if answer.ok and question.grader is not None and question.reference is not None:
        score = load_grader(question.grader).grade(answer.text, question.reference)
    error = None if answer.ok else answer.error or "the model returned nothing"
    return Record(
        dataset=question.dataset,
        index=question.index,
        query=question.query,
        model=answer.model,
        reference=question.reference,
        response=answer.text if answer.ok else None,
        prompt_tokens=answer.prompt_tokens if answer.ok else None,
        completion_tokens=answer.completion_tokens if answer.ok else None,
        cost_usd=answer.list_cost_usd if answer.ok else None,
        score=score,
        status="failed" if error is not None else "unscored" if score is None else "ok",
        grader=question.grader,
        order=question.order,
        error=error,
    )


def _check_graders(questions: Iterable[Question]) -> None:
    for question in questions:
        if question.grader is None:
            continue
        load_grader(question.grader)
        if question.reference is None:
            where = f"{question.dataset}/{question.index}"
            raise InputError(f"{where}: the grader `{question.grader}` needs a reference; add `gt` to the question")


def pairs_of(
    questions: Sequence[Question], models: Sequence[str], known: Container[tuple[str, str, str]] = ()
) -> list[Pair]:
    """Return what is to be asked: every question to every model, but for what is known.

    Question by question, so that what an interrupted run leaves is complete for its first questions.

    Args:
        questions: The questions.
        models: The models.
        known: (dataset, index, model) of answers that are there already.
    """
    return [(question, model) for question in questions for model in models if (*question.key, model) not in known]
