"""Where `jisi eval` takes its questions from: a bank's test rows, recorded answers, or bare questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import MANIFEST_NAME
from jisi_cli.bank.sources import Selection, stage_records
from jisi_cli.cli.output import Output, count
from jisi_cli.cli.questions import Problems, read_lines
from jisi_cli.cli.session import Session
from jisi_cli.collect.collect import chosen_questions
from jisi_cli.config import Price
from jisi_cli.errors import BankError, InputError
from jisi_cli.evaluation.test_set import TestSet, from_bank, from_questions, from_records
from jisi_cli.formats.questions import read_questions
from jisi_cli.formats.registry import QUESTIONS, detect, read_records


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """What the command line says about the test set."""

    test: str | None
    format: str | None
    datasets: Sequence[str] | None
    limit: int | None
    live: bool
    strict: bool


def read_test_set(session: Session, request: SourceRequest, prices: Mapping[str, Price], out: Output) -> TestSet:
    """Return the test set; without TEST the test rows of the session's own bank.

    Raises:
        InputError: There is no question in it, or a replay has no recorded answers.
        BankError: It is a bank of another embedder.
    """
    path = Path(request.test) if request.test not in (None, "-") else None
    if request.test is None or (path is not None and (path / MANIFEST_NAME).exists()):
        bank = session.bank if path is None or path == session.bank.path else Bank(path, session.bank.failed)
        _check_fit(session, bank)
        tests = from_bank(bank, session.models, _rows(bank, request), prices)
    else:
        tests = _from_lines(session, path, request, prices, Problems(out, strict=request.strict))
    _warn_of_train_rows(session, tests)
    return tests


def _from_lines(
    session: Session, path: Path | None, request: SourceRequest, prices: Mapping[str, Price], problems: Problems
) -> TestSet:
    try:
        if path is None or (request.format or detect(path)) == QUESTIONS:
            return _questions(session, path, request, problems)
        return _answers(session, path, request, prices, problems)
    finally:
        problems.summarise()


def _warn_of_train_rows(session: Session, tests: TestSet) -> None:
    """Say when the bank holds the very questions that it is tested on, with everybody's score on them."""
    questions = session.bank.questions
    train = {questions[row].query for row in session.bank.train_rows.tolist()}
    known = sum(question.query in train for question in tests.questions)
    if known:
        session.out.warn(
            f"{count(known, 'question')} of {len(tests):,} in {tests.source} are train rows of {session.bank.path}; "
            "scores on them flatter every method that learns from it"
        )


def _answers(
    session: Session, path: Path, request: SourceRequest, prices: Mapping[str, Price], problems: Problems
) -> TestSet:
    records = read_records(path, request.format, on_issue=problems)
    datasets = None if request.datasets is None else frozenset(request.datasets)
    staging = stage_records(records, Selection(frozenset(session.models), datasets, request.limit))
    if not staging.questions:
        raise InputError(f"{path}: no answer of the models {', '.join(session.models)} in it")
    return from_records(staging, session.models, session.query_embedder, str(path), prices, session.bank.failed)


def _questions(session: Session, path: Path | None, request: SourceRequest, problems: Problems) -> TestSet:
    found = read_questions(read_lines(Path("-")) if path is None else path, problems)
    questions = chosen_questions(found, request.datasets, request.limit)
    where = str(path) if path is not None else "standard input"
    if not questions:
        raise InputError(f"{where}: no question in it; it needs one JSON object with `query` a line")
    if not request.live:
        raise InputError(f"{where}: questions without recorded answers; add --live to ask the models")
    return from_questions(questions, session.query_embedder, where, session.bank.failed)


def _check_fit(session: Session, bank: Bank) -> None:
    """Refuse a bank whose vectors mean something else, or that has none of the models."""
    ours, theirs = session.bank.manifest.embedder, bank.manifest.embedder
    if ours != theirs:
        raise BankError(
            f"{bank.path} was embedded by {theirs.describe()}, and {session.bank.path} by {ours.describe()}; "
            "build one of them again with the other's embedder"
        )
    if not set(session.models) & set(bank.models):
        raise InputError(f"{bank.path} has none of the models {', '.join(session.models)}")
    for model in session.models:
        if model not in bank.models:
            session.out.warn(f"{bank.path} has no answer of {model}, so others answer for it; --models leaves it out")


def _rows(bank: Bank, request: SourceRequest) -> NDArray[np.intp]:
    wanted = None if request.datasets is None else set(request.datasets)
    known = {question.dataset for question in bank.questions}
    unknown = sorted((wanted or set()) - known)
    if unknown:
        raise InputError(f"--datasets: {bank.path} has no `{unknown[0]}`; it has {', '.join(sorted(known))}")
    kept, per_dataset = [], dict.fromkeys(known, 0)
    for row in bank.test_rows.tolist():
        name = bank.questions[row].dataset
        if (wanted is None or name in wanted) and (request.limit is None or per_dataset[name] < request.limit):
            per_dataset[name] += 1
            kept.append(row)
    return np.array(kept, dtype=np.intp)
