"""The grader of banks without an answer key: what the weightiest models agree on is right."""

from __future__ import annotations

from jisi_cli.grading.registry import Submission, Ungraded, grader


@grader("agreement", compares=True)
class Agreement:
    """Stands for a vote over all answers to a question, which `jisi_cli.collect.agreement` holds on a whole bank."""

    def grade(self, submission: Submission) -> float | None:
        """Grade nothing: one answer by itself agrees with none.

        Raises:
            Ungraded: Always.
        """
        raise Ungraded("it compares the answers of all models to a question, so it grades banks alone")
