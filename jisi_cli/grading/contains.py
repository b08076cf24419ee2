"""The grader that looks for the reference somewhere in the response."""

from __future__ import annotations

import re

from jisi_cli.grading.final_answer import accepted_answers, answer_text, best
from jisi_cli.grading.plain_text import plain_characters, same_text
from jisi_cli.grading.registry import Submission, grader
from jisi_cli.lazy_pattern import lazy_pattern

_OWN_WORD = lazy_pattern(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff]")
"""A character of a script that writes no blanks between words."""


@grader("contains")
class Contains:
    """Looks for the reference in the response as whole words; case, spacing and the form of Unicode do not matter.

    `art` is not found in `party`, and `7` not in `17` or `7.5`. Any text of a JSON list is enough (see
    `accepted_answers`). Use `regex` for anything finer.
    """

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 where the reference occurs, 0.0 where it does not, None where either is empty."""
        text = _folded(answer_text(submission.response))
        wanted = map(_folded, accepted_answers(submission.reference))
        return best(_occurs(answer, text) for answer in wanted) if text else None


def _occurs(wanted: str, text: str) -> float | None:
    if not wanted:
        return None
    # Words and numbers end where letters and digits do; punctuation has no such end.
    before, after = (
        _edge(wanted[0], r"(?<!\d[.,])(?<!\w)", r"(?<!\w)"),
        _edge(wanted[-1], r"(?![.,]\d)(?!\w)", r"(?!\w)"),
    )
    return float(re.search(before + re.escape(wanted) + after, text) is not None)


def _edge(character: str, of_number: str, of_word: str) -> str:
    if character.isdigit():
        return of_number
    return of_word if character.isalpha() and not _OWN_WORD.match(character) else ""


def _folded(text: str) -> str:
    return " ".join(plain_characters(same_text(text)).casefold().split())
