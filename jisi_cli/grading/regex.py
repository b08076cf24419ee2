"""The grader whose reference is a pattern."""

from __future__ import annotations

from jisi_cli.grading.final_answer import answer_text
from jisi_cli.grading.protocol import Submission
from jisi_cli.grading.worker import Worker


class Regex:
    """Searches the response for the reference, a regular expression of Python's.

    It may match anywhere; `^`, `$` and flags such as `(?i)` are the pattern's own to set. A process
    that can be killed does the search, so that no pattern holds up the rest.

    Args:
        seconds: Time for one response; beyond it the response is unscored.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._worker = Worker("regex_worker.py", seconds)

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 where the pattern occurs, 0.0 where it does not, None for an empty response.

        Raises:
            Ungraded: The reference is no pattern, or the search takes too long.
        """
        text = answer_text(submission.response)
        if not text.strip():
            return None
        request = {"pattern": submission.reference, "text": text}
        return float(bool(self._worker.ask(request)))

    def close(self) -> None:
        """End the process that searches."""
        self._worker.close()
