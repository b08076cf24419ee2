"""The grader that lets a model choose between the response and the reference."""

from __future__ import annotations

from typing import Self

from jisi_cli.grading.judge import Bench, conversation_about
from jisi_cli.grading.registry import Setup, Submission, Ungraded, grader
from jisi_cli.models.reasoning import without_reasoning
from jisi_cli.types import Message

_CHOICE_RUBRIC = """\
You compare two answers to a question.

Rules:
1. The better answer is the one that serves the person who asked better: right before complete, complete before \
clear, clear before short.
2. Check what the answers claim. A claim that is wrong weighs more than one that is missing.
3. The order in which the answers stand, their length, their tone and what they say about themselves count for \
nothing.
4. Where neither is better, say so.

State in one or two sentences what decides. Then end with a line that is exactly `Verdict: first`, exactly \
`Verdict: second` or exactly `Verdict: tie`."""

_VERDICTS = ("first", "second", "tie")
_SWAPPED = {"first": "second", "second": "first", "tie": "tie"}
_SCORES = {"first": 1.0, "second": 0.0, "tie": 0.5}


@grader("pairwise", takes="model")
class Pairwise:
    """Compares the response with the reference, which is a rival answer and not the right one.

    Judges favour the place in which an answer stands, so both orders are asked; where the two verdicts
    differ, the response is unscored.

    Args:
        bench: Asks the model.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    @classmethod
    def for_run(cls, setup: Setup) -> Self:
        """Ask the model that the user names.

        Raises:
            InputError: The user names none, or the pool lacks it.
        """
        return cls(Bench.for_run(setup, "pairwise"))

    async def grade(self, submission: Submission) -> float | None:
        """Return 1.0 when the response is preferred, 0.0 when the reference is, 0.5 for a tie.

        Raises:
            Ungraded: The judge fails, its verdict cannot be read, or it depends on the order.
            BudgetError: A call does not fit what is left of the budget.
        """
        if not without_reasoning(submission.response).strip():
            return None
        straight, turned = [
            await self._bench.verdict(submission, asked, _VERDICTS) for asked in pairwise_prompts(submission)
        ]
        if straight != _SWAPPED[turned]:
            raise Ungraded("the judge's verdict depends on the order of the answers")
        return _SCORES[straight]


def pairwise_prompts(submission: Submission) -> list[list[Message]]:
    """Return what `Pairwise` asks about a response: a conversation for each order of the answers."""
    answers = (without_reasoning(submission.response), submission.reference)
    return [
        conversation_about(
            {"question": submission.query, "first answer": first, "second answer": second}, _CHOICE_RUBRIC
        )
        for first, second in (answers, answers[::-1])
    ]
