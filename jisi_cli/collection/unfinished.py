"""Answers that were cut off before their final answer was whole: they cannot be read, so they are unscored."""

from __future__ import annotations

from jisi_cli.bank.records import Question
from jisi_cli.finish_reason import CutOff
from jisi_cli.grading.final_answer import marked_answer
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import READERS


def lacks_its_end(text: str, cut_off: CutOff | None, question: Question, graders: GraderSet) -> bool:
    """Whether a response was cut off before its final answer was whole.

    `The answer is 4`, cut off there, may have become 42, and a reader of final answers would take it for 4.

    Args:
        text: The response.
        cut_off: What cut it off; None where it is whole.
        question: What was asked.
        graders: Says which grader reads it; those that look for no final answer read what there is.
    """
    spec = graders.options.spec_for(question)
    if cut_off is None or spec is None or spec.name not in READERS:
        return False
    marked = marked_answer(text)
    return not marked or (cut_off == "length" and text.rstrip().endswith(marked))
