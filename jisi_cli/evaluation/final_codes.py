"""The recorded final answers of a bank's train questions as numbers, so that votes on all of them are array work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.grading.final_answer import extract_any
from jisi_cli.grading.registry import reads_texts_alone
from jisi_cli.scoring import Rows

NO_ANSWER = -1
"""The code of a response without a final answer, and of a response that there is not."""


@dataclass(frozen=True)
class FinalAnswers:
    """What M models said in the end to n questions.

    Attributes:
        codes: Equal within a question where final answers are equal (n, M); `NO_ANSWER` where there is none.
        answered: Whether there is a response with words (n, M).
    """

    codes: NDArray[np.intp]
    answered: NDArray[np.bool_]

    def of(self, rows: Rows) -> FinalAnswers:
        """Return those of some questions."""
        return FinalAnswers(self.codes[rows], self.answered[rows])


def final_answers(
    bank: Bank, models: Sequence[str], rows: Rows, on_progress: Callable[[int, int], None] | None = None
) -> FinalAnswers:
    """Read the final answers of recorded responses. A model reads about a thousand responses in a second.

    Args:
        bank: The bank.
        models: M of its models.
        rows: Which questions (n,).
        on_progress: Told of (models done, models in all).
    """
    graders = [question.grader for question in bank.some_questions(rows)]
    # A grader of another program's says nothing here, as in a replay.
    graders = [grader if reads_texts_alone(grader) else None for grader in graders]
    seen: list[dict[str, int]] = [{} for _ in graders]
    codes = np.full((len(rows), len(models)), NO_ANSWER, dtype=np.intp)
    answered = np.zeros(codes.shape, dtype=bool)
    for place, model in enumerate(models):
        texts = bank.responses(model)
        for number, row in enumerate(rows.tolist()):
            text = texts[row] or ""
            answered[number, place] = bool(text.strip())
            final = extract_any(text, graders[number]) if answered[number, place] else None
            if final is not None:
                codes[number, place] = seen[number].setdefault(final, len(seen[number]))
        if on_progress is not None:
            on_progress(place + 1, len(models))
    return FinalAnswers(codes, answered)
