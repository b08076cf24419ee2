"""The graders of one run: chosen for each question, opened when first needed, closed together."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from jisi_cli.errors import InputError
from jisi_cli.formats.record import Question
from jisi_cli.grading.judge import Bench, Judge, JudgeBill, Pairwise
from jisi_cli.grading.registry import (
    ASSISTED,
    COSTLY,
    GRADERS,
    Grader,
    GraderSpec,
    GradingOptions,
    ModelGrader,
    ProcessGrader,
    Submission,
    Ungraded,
    known_graders,
    load_grader,
)
from jisi_cli.types import Pool

_UNREAD = "no final answer could be read"


class GraderSet:
    """Grades responses, as far as the user allows it; a context manager.

    Args:
        options: What the user chose and allowed.
        pool: Whom a judge is asked through; None where none may be asked.
    """

    def __init__(self, options: GradingOptions | None = None, pool: Pool | None = None) -> None:
        self.options = options or GradingOptions()
        self.bill = JudgeBill()
        self.unscored: Counter[str] = Counter()
        """Why responses have no score: `grader: reason` -> how many."""
        self.warnings: list[str] = []
        """What the user should know about how grading was done."""
        self._pool = pool
        self._texts: dict[str, Grader] = {}
        self._processes: dict[GraderSpec, ProcessGrader] = {}
        self._models: dict[GraderSpec, ModelGrader] = {}
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)

    def check(self, questions: Iterable[Question]) -> None:
        """Make sure that all questions can be graded, before anything is paid for.

        Raises:
            InputError: A grader does not exist, is not allowed, or lacks what it needs.
        """
        seen: set[GraderSpec] = set()
        for question in questions:
            spec = self.options.spec_for(question)
            if spec is None or spec in seen:
                continue
            seen.add(spec)
            try:
                self._open(spec)
            except InputError as error:
                raise InputError(f"{question.dataset}/{question.index}: {error}") from None

    async def grade(self, question: Question, response: str) -> float | None:
        """Return the score of a response; None when nothing says how to grade it, or it cannot be graded.

        Raises:
            InputError: As `check` says.
            BudgetError: A judge's call does not fit what is left of the budget.
        """
        spec = self.options.spec_for(question)
        if spec is None or question.reference is None:
            return None
        submission = Submission(question.query, question.reference, response, question.dataset)
        try:
            score = await self._grade(spec, submission)
        except Ungraded as reason:
            self.unscored[f"{spec.name}: {reason}"] += 1
            return None
        if score is None:
            self.unscored[f"{spec.name}: {_UNREAD}"] += 1
        return score

    def close(self) -> None:
        """End all processes."""
        for grader in self._processes.values():
            grader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _grade(self, spec: GraderSpec, submission: Submission) -> float | None:
        self._open(spec)
        if spec.name in GRADERS:
            return self._texts[spec.name].grade(submission.response, submission.reference)
        if spec in self._models:
            return await self._models[spec].grade(submission)
        async with self._slots:
            return await asyncio.to_thread(self._processes[spec].grade, submission)

    def _open(self, spec: GraderSpec) -> None:
        if spec.name in self._texts or spec in self._processes or spec in self._models:
            return
        self._refuse(spec)
        if spec.name in GRADERS:
            self._texts[spec.name] = load_grader(spec.name)
        elif spec.name in COSTLY:
            self._models[spec] = self._model_grader(spec)
        else:
            self._processes[spec] = _process_grader(spec, self.warnings.append)

    def _refuse(self, spec: GraderSpec) -> None:
        """Raise what a grader lacks."""
        name = spec.name
        if name not in GRADERS and name not in ASSISTED:
            if ":" in name:
                # A file of questions chooses no programs, and no models to pay for.
                raise InputError(f"`{name}` names no grader; a program or a judge is named on the command line alone")
            raise InputError(f"no grader is called `{name}`; the graders are {known_graders()}")
        if name == "code" and not self.options.allow_code:
            raise InputError("the grader `code` runs what models wrote; add --allow-code, or --grader with another")
        if name == "command" and not spec.argument:
            raise InputError("the grader `command` runs a program of yours; name it with --grader-command")
        if name in COSTLY and not spec.argument:
            raise InputError(f"the grader `{name}` asks a model; name one of the pool with --judge")

    def _model_grader(self, spec: GraderSpec) -> ModelGrader:
        model = spec.argument or ""
        models = self._pool.models if self._pool is not None else ()
        if self._pool is None or model not in models:
            raise InputError(f"the pool has no judge `{model}`; it has {', '.join(models) or 'none'}")
        bench = Bench(self._pool, model, self.bill)
        return Judge(bench) if spec.name == "judge" else Pairwise(bench)


def _process_grader(spec: GraderSpec, warn: Callable[[str], None]) -> ProcessGrader:
    if spec.name == "code":
        from jisi_cli.grading.code import Code

        return Code(warn=warn)
    if spec.name == "command":
        from jisi_cli.grading.command import Command

        return Command(spec.argument or "")
    if spec.name == "math":
        from jisi_cli.grading.math import Math

        return Math()
    from jisi_cli.grading.regex import Regex

    return Regex()
