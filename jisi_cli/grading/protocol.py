"""What a grader is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Grader(Protocol):
    """Reads the final answer in a response and compares it with the reference.

    A response is text from a model and may be anything: a grader never raises on it, never
    evaluates it, and reads no more than its end.
    """

    def grade(self, response: str, reference: str) -> float | None:
        """Return 1.0 when the response is right and 0.0 when it is wrong.

        None means that no final answer could be read: the response is unscored, not wrong.
        """
        ...

    def extract(self, response: str) -> str | None:
        """Return the final answer, normalised so that equal answers are equal strings.

        None when no final answer can be read. Reading an extracted answer again changes nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Submission:
    """One response as it is handed in for grading.

    Attributes:
        query: The question.
        reference: What decides: the right answer, a pattern, tests; the grader says which.
        response: What the model said.
        dataset: The question's data set.
    """

    query: str
    reference: str
    response: str
    dataset: str


class Ungraded(Exception):
    """A response could not be graded, for a reason that is worth telling: it is unscored."""


class OutOfTime(Ungraded):
    """Grading a response took longer than it may, or too much memory."""


class ProcessGrader(Protocol):
    """Grades in a process of its own; blocks while it does, so it is called in a thread."""

    def grade(self, submission: Submission) -> float | None:
        """Return a score in [0, 1], or None when no final answer could be read.

        Raises:
            Ungraded: For another reason than that.
        """
        ...

    def close(self) -> None:
        """End its processes, those in the middle of grading too."""
        ...


class ModelGrader(Protocol):
    """Grades by asking a model."""

    async def grade(self, submission: Submission) -> float | None:
        """Return a score in [0, 1], or None when no final answer could be read.

        Raises:
            Ungraded: For another reason than that.
            BudgetError: The call does not fit what is left of the budget.
        """
        ...
