"""The grader for questions whose answer is a number."""

from __future__ import annotations

from dataclasses import dataclass

from jisi_cli.grading.final_answer import END_LENGTH, marked_answer, settle
from jisi_cli.grading.latex import to_plain
from jisi_cli.grading.number import canonical_math, is_prose, last_number, stated_number

_LONGEST_BARE = 200


@dataclass(frozen=True, slots=True)
class Numeric:
    """Compares numbers; where the reference is a formula, compares formulas as they are written.

    The final answer is the one that the response marks (see `final_answer`), else the response
    itself when it is nothing but a number or formula, else the last number in it.

    Attributes:
        relative: Largest difference, as a share of the reference, that still counts as equal.
        absolute: Largest difference that counts as equal whatever the reference.
    """

    relative: float = 1e-6
    absolute: float = 1e-9

    def grade(self, response: str, reference: str) -> float | None:
        """Return 1.0 for the right number, 0.0 for any other answer, None when there is none to read.

        A marked answer in words ("no solution") is an answer, and wrong.
        """
        answer = _final_answer(response)
        if answer is None or canonical_math(reference) is None:
            return None
        expected, given = stated_number(reference), stated_number(answer)
        if expected is None or given is None:
            return float(canonical_math(answer) == canonical_math(reference))
        return float(abs(given - expected) <= max(self.absolute, self.relative * abs(expected)))

    def extract(self, response: str) -> str | None:
        """Return the final number in canonical form, or the final formula without its blanks."""
        return settle(_read, response)


def _read(response: str) -> str | None:
    answer = _final_answer(response)
    return None if answer is None else canonical_math(answer)


def _final_answer(response: str) -> str | None:
    """Return the final answer as it is written; None when there is none, or it was left blank."""
    marked = marked_answer(response)
    if marked is not None:
        return marked or None
    end = response[-END_LENGTH:].strip()
    if "\n" not in end and len(end) <= _LONGEST_BARE and not is_prose(to_plain(end)):
        return end if canonical_math(end) is not None else None
    return last_number(end)
