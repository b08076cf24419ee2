"""The recorded final answers of train questions as arrays, so that votes on all of them are array work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.methods import final_answers
from jisi_cli.scoring import Rows
from jisi_cli.scoring.agreement import NO_ANSWER
from jisi_cli.workers import Workers


@dataclass(frozen=True)
class AnswerCodes:
    """What M models said in the end to n questions.

    Attributes:
        codes: Equal within a question where final answers are equal (n, M); `NO_ANSWER` where there is none.
        answered: Whether there is a response with words (n, M).
        closed: Whether the question's grader reads final answers (n,).
    """

    codes: NDArray[np.int64]
    answered: NDArray[np.bool_]
    closed: NDArray[np.bool_]

    def of(self, rows: Rows) -> AnswerCodes:
        """Return those of some questions."""
        return AnswerCodes(self.codes[rows], self.answered[rows], self.closed[rows])


def answer_codes(
    bank: Bank,
    models: Sequence[str],
    on_progress: Callable[[int, int], None] | None = None,
    workers: Workers | None = None,
) -> AnswerCodes:
    """Read all final answers of a bank's train rows, which takes about a millisecond each, and keep them.

    Args:
        bank: The bank.
        models: M of its models.
        on_progress: Told of (models done, models in all).
        workers: Who reads them; None for this process.
    """
    answers = final_answers.BankAnswers(bank, models)
    codes = np.empty((len(bank.train_rows), len(models)), dtype=np.int64)
    unread = [model for model in range(len(models)) if workers is not None and not answers.is_read(model)]
    read_elsewhere = iter(()) if workers is None else workers.each(_reading, (bank, models), unread)
    for model in range(len(models)):
        if model in unread:
            answers.take(model, next(read_elsewhere))
        codes[:, model] = [answers.code(row, model) for row in range(len(codes))]
        if on_progress is not None:
            on_progress(model + 1, len(models))
    answers.keep()
    says_something = (codes != final_answers.NO_TEXT) & (codes != final_answers.NO_ANSWER)
    closed = np.array([answers.is_closed(row) for row in range(len(codes))], dtype=bool)
    return AnswerCodes(np.where(says_something, codes, NO_ANSWER), codes != final_answers.NO_TEXT, closed)


def _reading(bank: Bank, models: Sequence[str]) -> Callable[[int], final_answers.Codes]:
    """Return what reads all answers of a model, in another process."""
    answers = final_answers.BankAnswers(bank, models)
    rows = range(len(bank.train_rows))
    return lambda model: np.array([answers.code(row, model) for row in rows], dtype=np.int64)


def without_reading(bank: Bank, models: Sequence[str]) -> AnswerCodes:
    """Return which models have a response to a bank's train rows, without reading what they say in the end."""
    answered = [~bank.blank_responses(model)[bank.train_rows] for model in models]
    given = np.stack(answered, axis=1)
    return AnswerCodes(np.full(given.shape, NO_ANSWER), given, np.zeros(len(given), dtype=bool))
