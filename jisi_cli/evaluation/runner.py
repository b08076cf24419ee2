"""Running methods over a test set: planned in blocks, of a replay answered in blocks, too, and scored from outside."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jisi_cli.evaluation.ahead import ask_ahead
from jisi_cli.evaluation.at_once import for_each
from jisi_cli.evaluation.elsewhere import Block, Dealt, Replayed, block_size
from jisi_cli.evaluation.one_question import Entry, MethodRun, answer_question, result_key
from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.evaluation.test_set import TestSet, blocks
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions
from jisi_cli.methods.protocol import Method
from jisi_cli.methods.shared_stages import Shared
from jisi_cli.types import Pool
from jisi_cli.workers import Workers

_BLOCK = 1024
"""Questions that are planned at once, and of a replay are under way at one time."""

OnResult = Callable[[Result], None]


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
        concurrency: Live questions under way at one time; of a replay a block is.
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
    run = MethodRun(entry, tests, pool, graders, train, on_done)
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
        concurrency: Live questions under way at one time; of a replay a block is.
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
        runs = [MethodRun(entry, tests, pool, graders, train, count) for entry in entries]
        if ahead is not None:
            graders.check(tests.questions)
            work = [(run.entry.method, _open(run, file)[1]) for run in runs if run.entry.method is not None]
            await ask_ahead(work, tests, ahead)
        if workers is not None and not pool.live:
            opened = {run.entry.name: _open(run, file) for run in runs}
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


def _open(run: MethodRun, file: ResultFile) -> tuple[list[str], list[int]]:
    """Return the keys of all results of a method, and the questions that no earlier run settled."""
    keys = [result_key(run, row) for row in range(len(run.tests))]
    return keys, [row for row, key in enumerate(keys) if not _settled(file.known.get(key))]


async def _block(
    run: MethodRun,
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
        run = MethodRun(entry, tests, tests.pool, graders, train, lambda: None)
        await _run_block(run, entry.method, file, range(len(tests)), keys, 1, spent)
        return Replayed([file.known[key] for key in keys], *spent)


async def _run_block(
    run: MethodRun,
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

    found: dict[int, Result] = {}
    waiting = deque(rows)

    def write() -> None:
        while waiting and waiting[0] in found:
            file.write(found[waiting.popleft()])

    async def one(work: tuple[int, Any]) -> None:
        row, plan = work
        result = await answer_question(run, method, row, plan, keys[row])
        if run.live:
            file.write(result)
        else:  # in the order of the questions, whichever of them is answered first
            found[row] = result
            write()
        run.on_done()

    try:
        # The questions of a replay wait for no model, so that all of a block can be decided together.
        await for_each(zip(rows, plans, strict=True), one, concurrency if run.live else len(rows))
    finally:
        for row in filter(found.__contains__, waiting):
            file.write(found[row])
    spent[1] += time.perf_counter() + _saved(run.entry.fine) - started


def _saved(stage: Shared[Any] | None) -> float:
    return stage.saved if stage else 0.0


def _settled(known: Result | None) -> bool:
    """Whether a result of an earlier run is used again: a failed question is asked again.

    In a replay, too, where the embedder may have failed; what was recorded as failed fails again at no cost.
    """
    return known is not None and known.status != "failed"


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
