"""Where an evaluation takes its questions from: a bank's test rows, recorded answers, or bare questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import MANIFEST_NAME
from jisi_cli.bank.sources import Selection, stage_answers
from jisi_cli.collect.collect import chosen_questions
from jisi_cli.config import Price
from jisi_cli.embed.protocol import Embedder
from jisi_cli.errors import BankError, InputError, did_you_mean
from jisi_cli.evaluation.test_set import TestSet, from_bank, from_questions, from_records
from jisi_cli.files import read_lines
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.issues import OnIssue
from jisi_cli.formats.questions import read_questions
from jisi_cli.formats.registry import MAPPED, QUESTIONS, detect, read_answers


@dataclass(frozen=True, slots=True)
class TestReader:
    """Reads test sets for methods that are made from a bank.

    Attributes:
        bank: The bank.
        models: Its models in use.
        embedder: Returns the bank's embedder, for questions that come without a vector.
        prices: List prices, for answers without recorded dollars.
        warn: Told what a reader of the scores should know.
        datasets: Only questions of these data sets; None for all.
        limit: Questions per data set; None for all.
        columns: Which columns of a table hold what, as the user says it.
    """

    __test__ = False  # not a test class, whatever its name suggests to pytest

    bank: Bank
    models: Sequence[str]
    embedder: Callable[[], Embedder]
    prices: Mapping[str, Price]
    warn: Callable[[str], None]
    datasets: Sequence[str] | None = None
    limit: int | None = None
    columns: ColumnMap = field(default_factory=ColumnMap)

    def read(self, test: Path | None, format: str | None, on_issue: OnIssue, *, live: bool) -> TestSet:
        """Return a test set; without `test` the test rows of the bank itself.

        Args:
            test: A bank, recorded answers, or questions; `-` for questions on standard input.
            format: Format of recorded answers; None finds it out.
            on_issue: Told of lines that cannot be used.
            live: Whether models are called, so that bare questions will do.

        Raises:
            InputError: There is no question in it, or a replay has no recorded answers.
            BankError: It is a bank of another embedder.
        """
        if test is None or (test / MANIFEST_NAME).exists():
            bank = self.bank if test is None or test == self.bank.path else Bank(test, self.bank.failed)
            self._check_fit(bank)
            rows = self._rows(bank)
            tests = from_bank(bank, self.models, rows, self.prices)
            self._warn_of_agreement(bank, rows)
        elif str(test) == "-" or self._format(test, format) == QUESTIONS:
            tests = self._questions(test, on_issue, live=live)
        else:
            tests = self._answers(test, format, on_issue)
        self._warn_of_train_rows(tests)
        return tests

    def _format(self, test: Path, format: str | None) -> str:
        if format is None and self.columns:
            return MAPPED if self.columns.names_answers else QUESTIONS
        return format or detect(test)

    def _answers(self, path: Path, format: str | None, on_issue: OnIssue) -> TestSet:
        datasets = None if self.datasets is None else frozenset(self.datasets)
        selection = Selection(frozenset(self.models), datasets, self.limit)
        staging = stage_answers(read_answers(path, format, on_issue=on_issue, columns=self.columns), selection)
        if not staging.questions:
            raise InputError(f"{path}: no answer of the models {', '.join(self.models)} in it")
        return from_records(staging, self.models, self.embedder(), str(path), self.prices, self.bank.failed)

    def _questions(self, path: Path, on_issue: OnIssue, *, live: bool) -> TestSet:
        is_piped = str(path) == "-"
        found = read_questions(read_lines(path) if is_piped else path, on_issue, columns=self.columns)
        questions = chosen_questions(found, self.datasets, self.limit)
        where = "standard input" if is_piped else str(path)
        if not questions:
            raise InputError(f"{where}: no question in it; each row needs a `question`, or `messages`")
        if not live:
            raise InputError(f"{where}: questions without recorded answers; add --live to ask the models")
        return from_questions(questions, self.embedder(), where, self.bank.failed)

    def _check_fit(self, bank: Bank) -> None:
        """Refuse a bank whose vectors mean something else, or that has none of the models."""
        ours, theirs = self.bank.manifest.embedder, bank.manifest.embedder
        if ours != theirs:
            raise BankError(
                f"{bank.path} was embedded by {theirs.describe()}, and {self.bank.path} by {ours.describe()}; "
                "build one of them again with the other's embedder"
            )
        if not set(self.models) & set(bank.models):
            raise InputError(f"{bank.path} has none of the models {', '.join(self.models)}")
        for model in self.models:
            if model not in bank.models:
                self.warn(f"{bank.path} has no answer of {model}, so others answer for it; --models leaves it out")

    def _rows(self, bank: Bank) -> NDArray[np.intp]:
        wanted = None if self.datasets is None else set(self.datasets)
        known = {question.dataset for question in bank.questions}
        unknown = sorted((wanted or set()) - known)
        if unknown:
            near = did_you_mean(unknown[0], known)
            raise InputError(f"--datasets: {bank.path} has no `{unknown[0]}`{near}; it has {', '.join(sorted(known))}")
        kept, per_dataset = [], dict.fromkeys(known, 0)
        for row in bank.test_rows.tolist():
            name = bank.questions[row].dataset
            if (wanted is None or name in wanted) and (self.limit is None or per_dataset[name] < self.limit):
                per_dataset[name] += 1
                kept.append(row)
        return np.array(kept, dtype=np.intp)

    def _warn_of_agreement(self, bank: Bank, rows: NDArray[np.intp]) -> None:
        """Say when it is a vote of the models, not a key, that says which answers are right."""
        agreed = np.zeros(bank.rows, dtype=bool)
        for model in bank.models:
            agreed |= bank.answers(model).scored_by("agreement")
        number = int(agreed[rows].sum())
        if number:
            self.warn(
                f"{number:,} of {len(rows):,} test questions of {bank.path} are scored by the models' agreement, not "
                "by a key; that flatters methods that vote"
            )

    def _warn_of_train_rows(self, tests: TestSet) -> None:
        """Say when the bank holds the very questions that it is tested on, with every model's score on them."""
        questions = self.bank.questions
        train = {questions[row].query for row in self.bank.train_rows.tolist()}
        known = sum(question.query in train for question in tests.questions)
        if known:
            self.warn(
                f"{known:,} question{'' if known == 1 else 's'} of {len(tests):,} in {tests.source} are train rows of "
                f"{self.bank.path}; scores on them flatter every method that learns from it"
            )
