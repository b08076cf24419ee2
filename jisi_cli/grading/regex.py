"""The grader whose reference is a pattern."""

from __future__ import annotations

from collections import Counter

from jisi_cli.grading.final_answer import answer_text
from jisi_cli.grading.registry import OutOfTime, Submission, Ungraded, grader
from jisi_cli.grading.worker import Worker

_MOST_SLOW = 3
"""Answers that may take a pattern too long."""


@grader("regex", blocks=True)
class Regex:
    """Searches the response for the reference, a regular expression of Python's.

    It may match anywhere; `^`, `$` and flags such as `(?i)` are the pattern's own to set. A process
    that can be killed does the search, so that no pattern holds up the rest.

    Args:
        seconds: Time for one response; beyond it the response is unscored. A pattern that takes longer several times
            is not tried any more: a stranger's bank may name one for each of thousands of answers.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._worker = Worker("regex", seconds)
        self._slow: Counter[str] = Counter()

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 where the pattern occurs, 0.0 where it does not, None for an empty response.

        Raises:
            Ungraded: The reference is no pattern, or the search takes too long.
        """
        text = answer_text(submission.response)
        if not text.strip():
            return None
        pattern = submission.reference
        if self._slow[pattern] >= _MOST_SLOW:
            raise Ungraded("its pattern took too long for other answers")
        try:
            return float(bool(self._worker.ask({"pattern": pattern, "text": text})))
        except OutOfTime:
            self._slow[pattern] += 1
            raise

    def close(self) -> None:
        """End the process that searches."""
        self._worker.close()
