"""Recorded answers from a live pool: every question to every model, graded as it arrives.

Nothing is stored here. An answer that was paid for is in the client's cache before this module sees it, so a run that
was killed and is started again repeats only the calls that were in flight.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jisi_cli.bank.bank import Bank
from jisi_cli.config import ModelEntry
from jisi_cli.errors import BudgetError, InputError, JisiError, did_you_mean
from jisi_cli.formats.record import Question, Record
from jisi_cli.grading.final_answer import marked_answer
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import compares_models, reader_of
from jisi_cli.models.limits import Budget
from jisi_cli.types import Answer, CutOff, Pool, Request, Sampling, Spending, whole_characters

if TYPE_CHECKING:
    from jisi_cli.models.batch.batches import Batches
    from jisi_cli.models.live import LivePool


OnRecord = Callable[["Collected"], None]
"""Called after every answer with what has been collected so far."""


@dataclass(slots=True)
class Collected:
    """What a collection has brought so far.

    Attributes:
        total: Answers that are wanted in all.
        records: Answers, failures included, in the order in which they came.
        spending: Dollars paid.
        cached: Answers that came from the cache.
        failures: Number of failures by their reason.
        cut_off: Answers that were cut off before their end, by model and what cut them off.
        refused: Why models were not asked, or not again: their key is missing or was refused. Of such calls there are
            no records, so that a later run makes them.
        stopped: Why a budget ended the run; None when it ended by itself.
    """

    total: int
    records: list[Record] = field(default_factory=list)
    spending: Spending = field(default_factory=Spending)
    cached: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    cut_off: Counter[tuple[str, CutOff]] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def expected_usd(self) -> float | None:
        """Dollars to expect in the end, if what is left costs as much as what was called; None when unknown."""
        called = len(self.records) - self.cached
        spent = self.spending.cost_usd
        if spent is None or not called:
            return None if len(self.records) < self.total else spent
        return spent * (1 + (self.total - len(self.records)) / called)

    def add(self, record: Record, answer: Answer) -> None:
        """Take in one answer."""
        self.records.append(record)
        self.cached += answer.cached
        if answer.cut_off is not None:
            self.cut_off[answer.model, answer.cut_off] += 1
        if record.error is not None:
            self.failures[record.error] = self.failures.get(record.error, 0) + 1
        self.spending.add(answer)


class FirstCalls:
    """Asks a pool, but a model's first call alone: refused for its key, it spares all others."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._answered: set[str] = set()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ask(self, request: Request) -> Answer:
        """Ask one model once; see `Pool.ask`."""
        if request.model not in self._answered:
            async with self._turns[request.model]:
                if request.model not in self._answered:
                    answer = await self._pool.ask(request)
                    if not answer.cached:
                        self._answered.add(request.model)
                    return answer
        return await self._pool.ask(request)


Pair = tuple[Question, str]
"""A question and the model that is to be asked."""


async def collect(
    pairs: Sequence[Pair],
    pool: Pool,
    *,
    concurrency: int,
    graders: GraderSet | None = None,
    sampling: Sampling | None = None,
    on_record: OnRecord | None = None,
) -> Collected:
    """Ask a model for every pair.

    A failure is recorded as such and the rest goes on; a model whose key is refused is asked no more. A budget that is
    used up ends the run with what has come in, after the calls that are out have ended.

    Args:
        pairs: Questions, with the reference and the grader to use, and models of the pool.
        pool: Whom to ask.
        concurrency: Calls out at one time.
        graders: The graders; by default those that need no permission.
        sampling: Sampling parameters; the paper's by default.
        on_record: Told of every answer.

    Raises:
        InputError: A question names a grader that cannot be used, or has a grader and no reference.
        JisiError: A grader cannot work on this machine.
    """
    if graders is None:
        with GraderSet() as graders:
            return await collect(
                pairs, pool, concurrency=concurrency, graders=graders, sampling=sampling, on_record=on_record
            )
    check_graders({question.key: question for question, _ in pairs}.values(), graders)
    collected = Collected(total=len(pairs))
    work, first_calls = iter(pairs), FirstCalls(pool)

    async def worker() -> None:
        for question, model in work:
            if collected.stopped is not None:
                return
            try:
                answer = await first_calls.ask(request_for(question, model, sampling or Sampling()))
            except BudgetError as error:
                collected.stopped = str(error)
                return
            if answer.key_refused:
                collected.refused[model] = answer.error or ""
                collected.total -= 1
                continue
            collected.add(await _graded(question, answer, graders, collected), answer)
            if on_record is not None:
                on_record(collected)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, collected.total)):
                group.create_task(worker())
    except* JisiError as failed:
        raise failed.exceptions[0] from None
    return collected


def request_for(question: Question, model: str, sampling: Sampling) -> Request:
    """Return what is asked for a pair of a question and a model."""
    identity = (question.query, question.dataset, question.index)
    return Request(model, question.messages(), "expert", sampling, 0, None, *identity)


async def _graded(question: Question, answer: Answer, graders: GraderSet, collected: Collected) -> Record:
    """Return the record of one answer: failed, unscored, or with the grader's score."""
    score, spec = None, graders.options.spec_for(question)
    compared = compares_models(spec)  # when all answers are there
    if answer.ok and not compared and not lacks_its_end(answer.text, answer.cut_off, question, graders):
        try:
            score = await graders.grade(question, answer.text)
        except BudgetError as stopped:
            # The answer itself is paid for.
            collected.stopped = str(stopped)
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
        # How an answer is read is the question's own, whatever compares them.
        grader=question.grader if compared or spec is None else spec.name,
        order=question.order,
        error=error,
        finish_reason=answer.finish_reason if answer.ok else None,
    )


def lacks_its_end(text: str, cut_off: CutOff | None, question: Question, graders: GraderSet) -> bool:
    """Whether a response was cut off before its final answer was whole, so that it cannot be graded.

    `The answer is 4`, cut off there, may have become 42, and a reader of final answers would take it for 4.

    Args:
        text: The response.
        cut_off: What cut it off; None where it is whole.
        question: What was asked.
        graders: Says which grader reads it; those that look for no final answer read what there is.
    """
    spec = graders.options.spec_for(question)
    return spec is not None and reader_of(spec.name) is not None and ends_early(text, cut_off)


def ends_early(text: str, cut_off: CutOff | None) -> bool:
    """Whether a response was cut off before its final answer was whole."""
    if cut_off is None:
        return False
    marked = marked_answer(text)
    return not marked or (cut_off == "length" and text.rstrip().endswith(marked))


def check_graders(questions: Iterable[Question], graders: GraderSet | None = None) -> None:
    """Refuse questions that cannot be graded, before anything is paid.

    Raises:
        InputError: A question names no grader, or one that cannot be used, or has a grader and no reference.
    """
    graders = graders or GraderSet()
    graders.check(questions := list(questions))
    without = [question for question in questions if graders.options.spec_for(question) is None]
    if without:
        others = f" (and {len(without) - 1:,} more)" if len(without) > 1 else ""
        raise InputError(f"{without[0].where}{others}: {_ungradable(without[0])}")
    for question in questions:
        spec = graders.options.spec_for(question)
        if spec is not None and not compares_models(spec) and question.reference is None:
            raise InputError(
                f"{question.where}: the grader `{spec.name}` needs a reference; add `gt` to the question, or give "
                f"{_KEYLESS}"
            )


_KEYLESS = "--grader agreement, which needs no answer key (`jisi bank label` then adds what you know)"


def _ungradable(question: Question) -> str:
    """Return why no answer to a question could be graded, with what can be done."""
    if question.reference is None:
        return f"no right answer (`gt`) and no grader, so that no answer could be graded; give {_KEYLESS}"
    return (
        "no grader, so that no answer could be graded; give --grader NAME (numeric, exact, choice, contains, …), add "
        '"grader" to the question, or give --grader agreement'
    )


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


def known_answers(bank: Bank, *, retry_failed: bool) -> set[tuple[str, str, str]]:
    """Return (dataset, index, model) of the answers that need not be asked for.

    Args:
        bank: The bank that is extended.
        retry_failed: Ask again what failed.
    """
    settled = {"ok", "unscored"} if retry_failed else {"ok", "unscored", "failed"}
    return {
        (*key, model)
        for model in bank.models
        for key, status in zip(bank.keys, bank.answers(model).status.tolist(), strict=True)
        if status in settled
    }


def chosen_questions(
    questions: Iterable[Question], datasets: Container[str] | None, limit: int | None
) -> list[Question]:
    """Return the questions of some datasets, the first `limit` of each; None means all."""
    kept: list[Question] = []
    per_dataset: Counter[str] = Counter()
    for question in questions:
        wanted = datasets is None or question.dataset in datasets
        if wanted and (limit is None or per_dataset[question.dataset] < limit):
            per_dataset[question.dataset] += 1
            kept.append(question)
    return kept


def chosen_models(wanted: Collection[str] | None, pool: Sequence[ModelEntry]) -> list[str]:
    """Return the models to ask, in the pool's order; None means all.

    Raises:
        InputError: The pool lacks one.
    """
    names = [entry.name for entry in pool]
    missing = sorted(set(wanted or ()) - set(names))
    if missing:
        near = did_you_mean(missing[0], names)
        raise InputError(f"--models: the pool has no `{missing[0]}`{near}; it has {', '.join(names) or 'none'}")
    return [name for name in names if wanted is None or name in wanted]


class EmbeddingReserve:
    """Holds back the part of a budget that embedding the answers will need: answers without vectors make no bank.

    Args:
        budget: The run's budget; None for no limit.
        worst_case: Returns what embedding some texts can cost at most, in dollars; None where it costs nothing.
    """

    def __init__(self, budget: Budget | None, worst_case: Callable[[Sequence[str]], float | None] | None) -> None:
        self._budget, self._worst_case = budget, worst_case
        self._seen: set[str] = set()

    def hold_back(self, texts: Iterable[str]) -> None:
        """Hold back the cost of texts that have not been seen before."""
        if self._budget is None or self._worst_case is None:
            return
        new = {whole_characters(text) for text in texts} - self._seen
        self._seen.update(new)
        self._budget.hold_back(self._worst_case(sorted(new)) or 0.0)


@dataclass(frozen=True, slots=True)
class Batched:
    """What is there to be collected.

    Attributes:
        pool: Whom to ask for it.
        pairs: What was asked, and has an answer or failed for good.
        stopped: Why a budget ended it; None where none did.
        refused: Why models were not asked, or not for all; of what they were not asked there are to be no records.
    """

    pool: Pool
    pairs: Sequence[Pair]
    stopped: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


async def ask_by_batch(
    pairs: Sequence[Pair], pool: LivePool, batches: Batches, sampling: Sampling | None = None
) -> Batched:
    """Ask for every pair by batch, and wait until all have ended.

    Args:
        pairs: Questions and models, as `collect` takes them.
        pool: The live pool.
        batches: Submits and waits.
        sampling: Sampling parameters; the paper's by default.

    Raises:
        InputError, NoAnswerError: See `Batches.fetch`.
    """
    from jisi_cli.models.batch.pool import BatchedPool

    requests = [request_for(question, model, sampling or Sampling()) for question, model in pairs]
    fetched = await batches.fetch(requests)
    batched = BatchedPool(pool, fetched)
    there, refused = [], {}
    for pair, request in zip(pairs, requests, strict=True):
        why = batched.why_unasked(request)
        if why is None:
            there.append(pair)
        elif fetched.stopped is None:
            refused[request.model] = why
    return Batched(batched, there, fetched.stopped, refused)


async def under_way(pairs: Sequence[Pair], pool: LivePool, sampling: Sampling | None = None) -> int:
    """Return how many of some pairs a batch has been asked for that has brought no answer yet.

    Args:
        pairs: Questions and models, as `collect` takes them.
        pool: The live pool.
        sampling: Sampling parameters; the paper's by default.
    """
    from jisi_cli.models.batch.journal import BatchJournal, journal_folder

    if not journal_folder().is_dir():
        return 0
    calls = [pool.call_of(request_for(question, model, sampling or Sampling())) for question, model in pairs]
    wanted = {call.key: call for call in calls}
    journal = BatchJournal(journal_folder())
    try:
        keys = {key for batch in journal.open_with(wanted) for key in batch.worst}
    except InputError:  # whoever asks by batch will hear of it
        return 0
    finally:
        journal.close()
    return sum([await pool.kept(wanted[key]) is None for key in keys])
