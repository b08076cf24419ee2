"""What is to be asked: the questions of files, and those that are generated, with where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jisi_cli.bank.manifest import Source
from jisi_cli.bank.sources import describe
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.issues import OnIssue
from jisi_cli.formats.questions import read_questions
from jisi_cli.formats.record import Question

if TYPE_CHECKING:
    from jisi_cli.collect.starter import Starter


@dataclass
class QuestionSources:
    """Where the questions of a collection come from.

    Attributes:
        paths: Files of questions.
        starter: How many questions are generated beside them; None for none.
        seed: Decides which.
        columns: Which columns of the files hold what, as the user says it.
    """

    paths: Sequence[Path]
    starter: int | None = None
    seed: int = 42
    columns: ColumnMap = field(default_factory=ColumnMap)
    _generated: Starter | None = field(default=None, init=False)

    def read(self, on_issue: OnIssue) -> Iterator[Question]:
        """Yield all questions, in the order of the files; those that are generated come last.

        Raises:
            InputError: A file cannot be read, or no such questions can be generated.
        """
        for path in self.paths:
            yield from read_questions(path, on_issue, columns=self.columns)
        if self.starter is not None:
            from jisi_cli.collect.starter import starter_questions

            self._generated = starter_questions(self.starter, self.seed)
            yield from self._generated.questions

    def described(self, answers: int) -> list[Source]:
        """Return how a manifest records them, once they have been read.

        Args:
            answers: Answers that were collected.
        """
        found = [describe(path, "questions", answers) for path in self.paths]
        if self._generated is not None:
            from jisi_cli.collect.starter import STARTER

            found.append(Source(self._generated.origin, STARTER, self._generated.sha256, answers))
        return found
