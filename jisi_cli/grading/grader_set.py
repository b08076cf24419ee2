"""The graders of one run: chosen for each question, opened when first needed, closed together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from jisi_cli.errors import InputError
from jisi_cli.formats.record import Question
from jisi_cli.grading.registry import (
    Grader,
    GraderInfo,
    GraderSpec,
    GradingOptions,
    Setup,
    Submission,
    Ungraded,
    open_grader,
)
from jisi_cli.types import Pool, Spending
from jisi_cli.workers import usable_cores

_UNREAD = "no final answer could be read"


class GraderSet:
    """Grades responses, as far as the user allows it; a context manager.

    Args:
        options: What the user chose and allowed.
        pool: Whom a judge is asked through; None where none may be asked.
    """

    def __init__(self, options: GradingOptions | None = None, pool: Pool | None = None) -> None:
        self.options = options or GradingOptions()
        self.bill = Spending()
        self.unscored: Counter[str] = Counter()
        """Why responses have no score: `grader: reason` -> how many."""
        self.warnings: list[str] = []
        """What the user should know about how grading was done."""
        self._pool = pool
        self._graders: dict[GraderSpec, tuple[Grader, GraderInfo]] = {}
        self._slots = asyncio.Semaphore(usable_cores())

    def check(self, questions: Iterable[Question]) -> None:
        """Check that all questions can be graded, before anything is paid for.

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
                raise InputError(f"{question.where}: {error}") from None

    async def grade(self, question: Question, response: str) -> float | None:
        """Return the score of a response; None when it has no grader or reference, or cannot be graded.

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
        for grader, _ in self._graders.values():
            close = getattr(grader, "close", None)
            if close is not None:
                close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _grade(self, spec: GraderSpec, submission: Submission) -> float | None:
        grader, info = self._open(spec)
        if info.blocks:
            async with self._slots:
                score = await asyncio.to_thread(grader.grade, submission)
        else:
            score = grader.grade(submission)
        return score if score is None or isinstance(score, float | int) else await score

    def _open(self, spec: GraderSpec) -> tuple[Grader, GraderInfo]:
        if spec not in self._graders:
            options = self.options
            setup = Setup(spec.argument, options.allow_code, self._pool, self.bill, self.warnings.append)
            self._graders[spec] = open_grader(spec.name, setup, by_user=options.names(spec.name))
        return self._graders[spec]
