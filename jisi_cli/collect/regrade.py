"""Grading the responses of a bank again: no model is called, but for a judge where one is asked for."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from jisi_cli.bank.bank import Bank
from jisi_cli.collect.collect import lacks_its_end
from jisi_cli.errors import BudgetError, InputError, JisiError, did_you_mean
from jisi_cli.formats.record import Question, ScoreSource
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions, asks_model, compares_models
from jisi_cli.types import CutOff
from jisi_cli.workers import Workers

_BLOCK = 256
"""Responses that another process grades at once."""
OnGraded = Callable[[int, int], None]
"""Called after every response with (done, in all); one is done too when there is nothing to grade."""


@dataclass(slots=True)
class ModelGrades:
    """What grading one model's responses again has brought so far.

    Attributes:
        graded: Responses that were graded.
        unscored: How many of them have no score now.
        scores: The scores that have changed, or come from elsewhere now, by row; None where a response lost its score.
        before: Known scores of the graded responses, before.
        after: The same, now.
    """

    graded: int = 0
    unscored: int = 0
    scores: dict[int, float | None] = field(default_factory=dict)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    def add(self, row: int, old: float | None, new: float | None, *, same_source: bool = True) -> None:
        """Take in one response."""
        self.graded += 1
        self.unscored += new is None
        if new != old or not (same_source or new is None):
            self.scores[row] = new
        if old is not None:
            self.before.append(old)
        if new is not None:
            self.after.append(new)

    @property
    def lost(self) -> int:
        """Responses that had a score and have none now."""
        return sum(score is None for score in self.scores.values())

    def to_json(self) -> dict[str, Any]:
        """Return the counts and the mean scores as plain data."""
        return {
            "graded": self.graded,
            "unscored": self.unscored,
            "lost": self.lost,
            "changed": len(self.scores),
            "before": fmean(self.before) if self.before else None,
            "after": fmean(self.after) if self.after else None,
        }


@dataclass(slots=True)
class Regraded:
    """What grading a bank again has brought.

    Attributes:
        models: By model.
        graders: By row, the grader that was used, where the bank names another or none.
        sources: By row, where the new scores come from, unless it is a grader.
        left: Responses that were left as they are, because nothing says how to grade them.
        costly: Responses that a judge would have to be asked about, and was not.
        stopped: Why a budget ended it; None when it ended by itself.
    """

    models: dict[str, ModelGrades] = field(default_factory=dict)
    graders: dict[int, str] = field(default_factory=dict)
    sources: dict[int, ScoreSource] = field(default_factory=dict)
    left: int = 0
    costly: int = 0
    stopped: str | None = None

    @property
    def changed(self) -> int:
        """Responses whose score is another now."""
        return sum(len(grades.scores) for grades in self.models.values())


@dataclass(frozen=True, slots=True)
class Submitted:
    """A response that is to be graded.

    Attributes:
        question: What was asked.
        text: The response.
        cut_off: What cut it off; None where it is whole.
    """

    question: Question
    text: str
    cut_off: CutOff | None


@dataclass(frozen=True, slots=True)
class Graded:
    """What became of some responses.

    Attributes:
        scores: In their order; None for one that could not be graded.
        unscored: Why, with how many.
        warnings: What the user should know about how grading was done.
    """

    scores: Sequence[float | None]
    unscored: Counter[str]
    warnings: Sequence[str]


async def graded(responses: Sequence[Submitted], graders: GraderSet) -> list[float | None]:
    """Return the scores of some responses; None for one that could not be graded."""

    async def one(response: Submitted) -> float | None:
        if lacks_its_end(response.text, response.cut_off, response.question, graders):
            return None
        return await graders.grade(response.question, response.text)

    return list(await asyncio.gather(*map(one, responses)))


def grading_of(options: GradingOptions) -> Callable[[Sequence[Submitted]], Graded]:
    """Return what grades blocks of responses in another process, as `graded` does here.

    Args:
        options: Which graders grade what, and what they may do; none that asks a model.
    """

    async def grade_all(responses: Sequence[Submitted]) -> Graded:
        with GraderSet(options) as graders:
            scores = await graded(responses, graders)
            return Graded(scores, graders.unscored, graders.warnings)

    return lambda responses: asyncio.run(grade_all(responses))


@dataclass(frozen=True, slots=True)
class _Response:
    row: int
    question: Question
    text: str
    score: float | None
    is_graders: bool
    cut_off: CutOff | None

    @property
    def submitted(self) -> Submitted:
        """What a grader gets of it."""
        return Submitted(self.question, self.text, self.cut_off)


async def regrade(
    bank: Bank,
    graders: GraderSet,
    *,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    concurrency: int = 16,
    free_only: bool = False,
    on_graded: OnGraded | None = None,
    workers: Workers | None = None,
) -> Regraded:
    """Grade responses again, one by one; nothing is written (see `update_scores`).

    What a grader compares that needs all answers to a question is left to `agree_on`.

    Args:
        bank: The bank.
        graders: The graders.
        models: Whose responses; None for all.
        datasets: To which questions; None for all.
        concurrency: Responses being graded at one time.
        free_only: Count what only a judge can grade, and ask no judge.
        on_graded: Told how far it is.
        workers: Who grades what no judge is asked about; None for this process.

    Raises:
        InputError: A model, a data set or a grader cannot be used.
        JisiError: A grader cannot work on this machine.
    """
    chosen = chosen_rows(bank, models, datasets)
    questions = {row: q for row, q in chosen.items() if not compares_models(graders.options.spec_for(q))}
    graders.check(questions.values())
    names = bank.models if models is None else models
    work = _Work(graders, len(names) * len(questions), on_graded)
    found = work.found
    for name in names:
        grades = found.models.setdefault(name, ModelGrades())
        responses = list(_responses(bank, name, questions, graders, found, free_only=free_only))
        work.done += len(questions) - len(responses)
        if workers is not None:
            away = [response for response in responses if not _asks_model(response.question, graders)]
            responses = [response for response in responses if _asks_model(response.question, graders)]
            await work.elsewhere(grades, away, workers)
        await work.here(grades, responses, concurrency)
    if models is None and found.stopped is None:
        # With only some models or responses, the scores of a question are of two graders.
        found.graders = _other_graders(questions, graders)
    return found


def _asks_model(question: Question, graders: GraderSet) -> bool:
    spec = graders.options.spec_for(question)
    return spec is not None and asks_model(spec.name)


@dataclass(slots=True)
class _Work:
    """Grading under way.

    Attributes:
        graders: The graders.
        total: Responses in all, those with nothing to grade included.
        on_graded: Told how far it is.
        found: What it has brought.
        done: Responses that are done with.
    """

    graders: GraderSet
    total: int
    on_graded: OnGraded | None
    found: Regraded = field(default_factory=Regraded)
    done: int = 0

    async def here(self, grades: ModelGrades, responses: Sequence[_Response], concurrency: int) -> None:
        """Grade one model's responses in this process, so many at one time."""
        waiting = iter(responses)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(responses))):
                    group.create_task(self._worker(grades, waiting))
        except* JisiError as failed:
            raise failed.exceptions[0] from None

    async def elsewhere(self, grades: ModelGrades, responses: Sequence[_Response], workers: Workers) -> None:
        """Have one model's responses graded in other processes."""
        blocks = [responses[start : start + _BLOCK] for start in range(0, len(responses), _BLOCK)]
        submitted = ([response.submitted for response in block] for block in blocks)
        answers = workers.each(grading_of, (self.graders.options,), submitted)
        for block in blocks:
            found = await asyncio.to_thread(next, answers)
            self.graders.unscored.update(found.unscored)
            self.graders.warnings += [words for words in found.warnings if words not in self.graders.warnings]
            for response, score in zip(block, found.scores, strict=True):
                self._take(grades, response, score)

    async def _worker(self, grades: ModelGrades, responses: Iterator[_Response]) -> None:
        for response in responses:
            if self.found.stopped is not None:
                return
            try:
                (score,) = await graded([response.submitted], self.graders)
            except BudgetError as error:
                self.found.stopped = str(error)
                return
            self._take(grades, response, score)

    def _take(self, grades: ModelGrades, response: _Response, score: float | None) -> None:
        grades.add(response.row, response.score, score, same_source=response.is_graders)
        self.done += 1
        if self.on_graded is not None:
            self.on_graded(self.done, self.total)


def chosen_rows(bank: Bank, models: Sequence[str] | None, datasets: Sequence[str] | None) -> dict[int, Question]:
    """Return the questions of some data sets by row, None for all.

    Raises:
        InputError: The bank lacks a model or a data set.
    """
    for name in models or ():
        if name not in bank.models:
            near = did_you_mean(name, bank.models)
            raise InputError(f"--models: {bank.path} has no `{name}`{near}; it has {', '.join(bank.models)}")
    known = {question.dataset for question in bank.questions}
    for name in datasets or ():
        if name not in known:
            near = did_you_mean(name, known)
            raise InputError(f"--datasets: {bank.path} has no `{name}`{near}; it has {', '.join(sorted(known))}")
    rows = enumerate(bank.questions)
    return {row: question for row, question in rows if datasets is None or question.dataset in datasets}


def _responses(
    bank: Bank, model: str, questions: dict[int, Question], graders: GraderSet, found: Regraded, *, free_only: bool
) -> Iterator[_Response]:
    """Yield one model's responses that can be graded; count the others."""
    columns, texts, cut_off = bank.answers(model), bank.responses(model), bank.cut_off_responses(model)
    others = columns.scored_by("agreement") | columns.scored_by("label") | columns.scored_by("feedback")
    for row, question in questions.items():
        text = texts[row]
        if columns.status[row] not in ("ok", "unscored") or text is None or not text.strip():
            continue
        spec = graders.options.spec_for(question)
        if spec is None or question.reference is None:
            found.left += 1
        elif free_only and asks_model(spec.name):
            found.costly += 1
        else:
            score = float(columns.scores[row])
            known = None if math.isnan(score) else score
            yield _Response(row, question, text, known, not others[row], cut_off[row])


def _other_graders(questions: dict[int, Question], graders: GraderSet) -> dict[int, str]:
    used = {row: graders.options.spec_for(question) for row, question in questions.items()}
    return {
        row: spec.name
        for row, spec in used.items()
        if spec is not None and spec.name != questions[row].grader and questions[row].reference is not None
    }
