"""Which final answer do most responses give?"""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.grading.final_answer import extract_any
from jisi_cli.llm.answer import Answer
from jisi_cli.methods.consensus import Consensus, heaviest_group


def most_frequent(answers: Sequence[Answer], grader: str | None) -> Consensus | None:
    """Return the largest group of equal final answers; None when no response has one.

    A response without a final answer has no vote. Ties go to the group whose first member is earlier.

    Args:
        answers: The responses, best first.
        grader: The kind of answer that is wanted, where it is known.
    """
    finals = {place: extract_any(answer.text, grader) for place, answer in enumerate(answers)}
    return heaviest_group(range(len(answers)), [1.0] * len(answers), finals)


def agreement(group: Consensus, of: int) -> str:
    """Say how many agree, as a reason."""
    return f"{len(group.members)} of {of} responses agree"
