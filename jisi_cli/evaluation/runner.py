"""Running methods over a test set: planned in blocks, answered one by one, scored from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jisi_cli.collect.collect import lacks_its_end
from jisi_cli.errors import BudgetError, NoAnswerError
from jisi_cli.evaluation.ahead import ask_ahead
from jisi_cli.evaluation.at_once import for_each
from jisi_cli.evaluation.elsewhere import Block, Dealt, Replayed, block_size
from jisi_cli.evaluation.results import BilledCall, Result, ResultFile, content_key
from jisi_cli.evaluation.test_set import TestSet, blocks
from jisi_cli.formats.record import Question
from jisi_cli.grading.final_answer import later_readings
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions, reader_of
from jisi_cli.methods.decision import Evidence, evidence_of
from jisi_cli.methods.protocol import Method, Outcome, Silent
from jisi_cli.methods.shared_stages import Shared, SharedCoarse, SharedFine
from jisi_cli.methods.training import Training
from jisi_cli.models.live import query_hash
from jisi_cli.models.replay import ReplayPool
from jisi_cli.types import Answer, Pool, whole_sum
from jisi_cli.workers import Workers

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


_BLOCK = 1024
"""Questions whose similarities are one matrix product."""

OnResult = Callable[[Result], None]


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
class Timing:
    """Seconds that one method took.

    Attributes:
        plan: For deciding what needs no call, for all questions that no earlier run had settled; with what it took
            when it was done for another method.
        answer: For the rest of it, the waiting for models included; likewise.
        make: For making the method in this run; little where what it trained before was kept.
        train: For training it, in this run or the earlier one whose result was kept; None where nothing is trained,
            or it is not known.
        train_from_cache: Whether this run found what an earlier one had trained.
        chosen: Which of its settings the method chose on train rows; None where it chose nothing.
    """

    plan: float
    answer: float
    make: float = 0.0
    train: float | None = None
    train_from_cache: bool = False
    chosen: str | None = None

    @property
    def score(self) -> float:
        """For scoring all those questions: planning and answering."""
        return self.plan + self.answer

    def to_json(self) -> dict[str, Any]:
        """Return the seconds as plain data."""
        seconds = {name: value for name, value in asdict(self).items() if name != "chosen"}
        return {**seconds, "score": self.score}


async def run_method(
    entry: Entry,
    tests: TestSet,
    pool: Pool,
    file: ResultFile,
    *,
    concurrency: int = 1,
    graders: GraderSet | None = None,
    on_result: OnResult | None = None,
    train: Sequence[tuple[str, str]] = (),
    on_done: Callable[[], None] = lambda: None,
    dealt: Dealt | None = None,
) -> tuple[list[Result], Timing]:
    """Answer every question with one method, except those that an earlier run settled.

    Args:
        entry: The method.
        tests: The questions.
        pool: A replay of recorded answers, or live models.
        file: Where results are found and written.
        concurrency: Questions under way at one time; 1 for a replay.
        graders: What grades live answers; by default those that need no permission.
        on_result: Told of every result, old ones included.
        train: Dataset and index of each bank row that the method decides by, to name neighbours in the results.
        on_done: Told of each question that is answered now or was before.
        dealt: What other processes answer of a replay; None where this one answers all.

    Raises:
        BudgetError: The budget is used up; what was answered is in the file.
        InputError: A question is to be graded by a grader that cannot be used, or the file cannot be written.
    """
    if graders is None:
        with GraderSet() as graders:
            return await run_method(
                entry,
                tests,
                pool,
                file,
                concurrency=concurrency,
                graders=graders,
                on_result=on_result,
                train=train,
                on_done=on_done,
                dealt=dealt,
            )
    run = _Run(entry, tests, pool, graders, train, on_done)
    if run.live:
        graders.check(tests.questions)
    keys, open_rows = _open(run, file) if dealt is None else dealt.opened[entry.name]
    if entry.needs_live and not run.live:
        return _untried(entry.name, tests, keys), Timing(0.0, 0.0)
    spent = [0.0, 0.0]
    if entry.method is not None:
        for _ in range(len(keys) - len(open_rows)):
            on_done()
        for part in blocks(len(open_rows), _BLOCK if dealt is None else dealt.size):
            await _block(run, entry.method, file, open_rows[part], keys, concurrency, spent, dealt)
    else:
        for row in open_rows:
            file.write(_bound(entry, tests, row, keys[row]))
    found = [file.known[key] for key in keys]
    results = [result if result.method == entry.name else replace(result, method=entry.name) for result in found]
    for result in results:
        if on_result is not None:
            on_result(result)
    training = entry.training
    took = (entry.making, training.seconds, training.from_cache, training.chosen)
    return results, Timing(spent[0], spent[1], *took)


@dataclass(frozen=True, slots=True)
class Ran:
    """What running several methods over a test set brought.

    Attributes:
        results: For each entry by name its results, all in the order of the questions.
        timings: What each took; none for an entry that was not tried.
        graders: What graded live answers, with what it cost and what it could not grade.
    """

    results: dict[str, list[Result]]
    timings: dict[str, Timing]
    graders: GraderSet


async def run_entries(
    entries: Sequence[Entry],
    tests: TestSet,
    pool: Pool,
    *,
    out: Path | None = None,
    grading: GradingOptions | None = None,
    concurrency: int = 1,
    train: Sequence[tuple[str, str]] = (),
    on_ran: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    workers: Workers | None = None,
    ahead: Pool | None = None,
) -> Ran:
    """Run one method after another.

    Args:
        entries: The methods.
        tests: The questions.
        pool: A replay of recorded answers, or live models.
        out: The file of results, which a later run goes on with.
        grading: Which graders grade live answers, and what they may do.
        concurrency: Questions under way at one time; 1 for a replay.
        train: Dataset and index of each bank row that methods decide by.
        on_ran: Told, in words, what each method took.
        on_progress: Told of (questions done, in all), each method's own counted.
        workers: Who answers a replay; None for this process.
        ahead: Where all that the methods ask is asked first, all at once, so that `pool` has it; None for nowhere.

    Raises:
        BudgetError: The budget is used up; what was answered is in the file.
        InputError: See `run_method`.
    """
    results, timings = {}, {}
    done, total = 0, len(tests) * sum(entry.method is not None and not entry.needs_live for entry in entries)

    def count() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    with ResultFile(out) as file, GraderSet(grading or GradingOptions(), pool) as graders:
        dealt = None
        if ahead is not None:
            graders.check(tests.questions)
            runs = [_Run(entry, tests, pool, graders, train, count) for entry in entries]
            work = [(run.entry.method, _open(run, file)[1]) for run in runs if run.entry.method is not None]
            await ask_ahead(work, tests, ahead)
        if workers is not None and not pool.live:
            opened = {entry.name: _open(_Run(entry, tests, pool, graders, train, count), file) for entry in entries}
            able = [entry for entry in entries if entry.method is not None]
            answer = partial(workers.each, answering, (able, train))
            names, size = [entry.name for entry in able], block_size(len(tests), workers.size)
            dealt = Dealt(tests, size, opened, names, answer, count)
        for entry in entries:
            results[entry.name], timing = await run_method(
                *(entry, tests, pool, file),
                concurrency=concurrency,
                graders=graders,
                train=train,
                on_done=count,
                dealt=dealt,
            )
            if entry.needs_live:
                continue
            timings[entry.name] = timing
            if on_ran is not None:
                took = f"{timing.make:.2f} s making, {timing.plan:.2f} s planning, {timing.answer:.2f} s answering"
                on_ran(f"{entry.name}: {took}")
    return Ran(results, timings, graders)


@dataclass(frozen=True, slots=True)
class _Run:
    """One method, on what it is run and how it is graded."""

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


def _open(run: _Run, file: ResultFile) -> tuple[list[str], list[int]]:
    """Return the keys of all results of a method, and the questions that no earlier run settled."""
    keys = [_key(run, row) for row in range(len(run.tests))]
    return keys, [row for row, key in enumerate(keys) if not _settled(file.known.get(key))]


async def _block(
    run: _Run,
    method: Method[Any],
    file: ResultFile,
    rows: Sequence[int],
    keys: Sequence[str],
    concurrency: int,
    spent: list[float],
    dealt: Dealt | None,
) -> None:
    """Answer a block here, or take what was answered elsewhere."""
    if dealt is None:
        await _run_block(run, method, file, rows, keys, concurrency, spent)
        return
    found = await dealt.take(run.entry.name, rows)
    for result in found.results:
        file.write(result)
    spent[0] += found.plan
    spent[1] += found.answer


def answering(entries: Sequence[Entry], train: Sequence[tuple[str, str]]) -> Callable[[Block], Mapping[str, Replayed]]:
    """Return what answers blocks of a replay in another process.

    Args:
        entries: The methods.
        train: Dataset and index of each bank row that they decide by.
    """
    named = {entry.name: entry for entry in entries}

    async def answered(block: Block) -> dict[str, Replayed]:
        return {name: await _replay_block(named[name], block, train) for name in block.keys}

    return lambda block: asyncio.run(answered(block))


async def _replay_block(entry: Entry, block: Block, train: Sequence[tuple[str, str]]) -> Replayed:
    assert entry.method is not None
    tests, keys, spent = block.tests, block.keys[entry.name], [0.0, 0.0]
    with ResultFile(None) as file, GraderSet() as graders:
        run = _Run(entry, tests, tests.pool, graders, train, lambda: None)
        await _run_block(run, entry.method, file, range(len(tests)), keys, 1, spent)
        return Replayed([file.known[key] for key in keys], *spent)


async def _run_block(
    run: _Run,
    method: Method[Any],
    file: ResultFile,
    rows: Sequence[int],
    keys: Sequence[str],
    concurrency: int,
    spent: list[float],
) -> None:
    # Each is charged for the whole of all stages, or the order of methods would decide what they seem to take.
    started = time.perf_counter() + _saved(run.entry.coarse)
    plans = list(method.plan([run.tests.queries[row] for row in rows]))
    spent[0] += time.perf_counter() + _saved(run.entry.coarse) - started
    started = time.perf_counter() + _saved(run.entry.fine)

    async def one(work: tuple[int, Any]) -> None:
        row, plan = work
        file.write(await _run_one(run, method, row, plan, keys[row]))
        run.on_done()

    await for_each(zip(rows, plans, strict=True), one, concurrency)
    spent[1] += time.perf_counter() + _saved(run.entry.fine) - started


def _saved(stage: Shared[Any] | None) -> float:
    return stage.saved if stage else 0.0


class _Heard(Silent):
    """A listener that keeps the calls, which an unanswered question cost, too."""

    def __init__(self) -> None:
        self.calls: list[Answer] = []

    def answered(self, answer: Answer) -> None:
        """Keep a call."""
        self.calls.append(answer)


async def _run_one(run: _Run, method: Method[Any], row: int, plan: object, key: str) -> Result:
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


async def _grade(run: _Run, question: Question, answer: Answer) -> float | None:
    """Return the score of a live answer; None where it cannot be read."""
    if lacks_its_end(answer.text, answer.cut_off, question, run.graders):
        return None
    return await run.graders.grade(question, answer.text)


def _settled(known: Result | None) -> bool:
    """Whether a result of an earlier run is used again: a failed question is asked again.

    In a replay, too, where the embedder may have failed; what was recorded as failed fails again at no cost.
    """
    return known is not None and known.status != "failed"


def _key(run: _Run, row: int) -> str:
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


def _reading(run: _Run, row: int) -> tuple[str, ...]:
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


def _untried(name: str, tests: TestSet, keys: Sequence[str]) -> list[Result]:
    """What a replay can say of a method that wants other calls than those that were recorded."""
    return [
        Result(key, question.dataset, question.index, name, "needs-live", split=tests.split)
        for key, question in zip(keys, tests.questions, strict=True)
    ]


def _bound(entry: Entry, tests: TestSet, row: int, key: str) -> Result:
    """The best recorded answer of a question; the cheapest way to it is not known, so no cost is claimed."""
    question, among = tests.questions[row], entry.among
    unscored = Result(key, question.dataset, question.index, entry.name, "unscored", split=tests.split)
    taking_part = np.array([among is None or model in among for model in tests.models])
    scores = np.where(taking_part, tests.scores[row], np.nan)
    if np.isnan(scores).all():
        return unscored
    best = int(np.nanargmax(scores))
    return replace(
        unscored, status="scored", score=float(scores[best]), model=tests.models[best], mode="route", calls=1
    )


def _wanted_mode(outcome: Outcome) -> str:
    return "aggregate" if any(call.role == "aggregator" for call in outcome.calls) else outcome.mode


def _support(outcome: Outcome) -> int | None:
    return len(outcome.decision.coarse.rows) if outcome.decision is not None else None


def _evidence(run: _Run, outcome: Outcome) -> Evidence | None:
    return evidence_of(outcome.decision, run.train) if outcome.decision is not None else None
