r"""The grader for formulas that may be written in many ways: `\frac{1}{2}`, `0.5`, `x(x+1)` and `x^2+x`."""

from __future__ import annotations

import importlib.util

from jisi_cli.errors import missing_extra
from jisi_cli.grading.final_answer import accepted_answers, marked_answer, unmarked_text
from jisi_cli.grading.number import is_prose, last_number, read_number, sides, without_denied
from jisi_cli.grading.numeric import Numeric, delimited
from jisi_cli.grading.plain_text import to_plain
from jisi_cli.grading.registry import Submission, Ungraded, grader
from jisi_cli.grading.worker import Worker
from jisi_cli.lazy_pattern import lazy_pattern

_LONGEST = 1000
_LONGEST_BARE = 200
_TOO_LONG = f"a formula is longer than {_LONGEST:,} characters"
_DELIMITERS = lazy_pattern(r"\\[()\[\]]|(?<!\\)\$")
_WORDS = lazy_pattern(r"[^\W\d_]{2,}(?:[ ,-]+[^\W\d_]+)*")


@grader("math", reader="numeric", blocks=True)
class Math:
    r"""Compares formulas by what they mean, through the library math-verify.

    The final answer is the one that the response marks (see `final_answer`), else the response itself
    when it is nothing but a formula, else its last formula between `$` or `\(`, else its last number.
    Words are compared as words. SymPy runs in a process that can be killed.

    Args:
        seconds: Time for one comparison; beyond it the response is unscored.

    Raises:
        InputError: math-verify is not installed.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise missing_extra("the grader `math`", "math")
        self._worker = Worker("math", seconds)
        self._numeric = Numeric()

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 for an equal formula, 0.0 for another, None when there is none to read.

        Raises:
            Ungraded: The formulas are too long, or comparing them takes too long.
        """
        answer = _final_answer(submission.response)
        if answer is None or not submission.reference.strip():
            return None
        grade: float | None = None
        for accepted in accepted_answers(submission.reference):
            found = self._grade(answer, accepted.strip())
            if found == 1.0:
                return found
            grade = found if grade is None else grade
        return grade

    def close(self) -> None:
        """End the process that compares."""
        self._worker.close()

    def _grade(self, answer: str, reference: str) -> float | None:
        if len(reference) > _LONGEST:
            raise Ungraded(_TOO_LONG)
        if _is_words(to_plain(reference)):
            return float(_folded(answer) == _folded(reference))
        # Most answers need no process: numbers, and formulas that can be worked out here.
        grade = self._numeric.compare(answer, reference)
        if grade is not None or is_prose(to_plain(answer)) or _is_settled(answer, reference):
            return grade
        return self._compare(_bare(without_denied(answer)), _bare(reference))

    def _compare(self, answer: str, reference: str) -> float | None:
        if max(len(answer), len(reference)) > _LONGEST:
            raise Ungraded(_TOO_LONG)
        equal = self._worker.ask({"answer": answer, "reference": reference})
        return None if equal is None else float(bool(equal))


def _is_settled(answer: str, reference: str) -> bool:
    """Whether nothing more can be learned: two numbers, or equations of different names.

    Of an equation math-verify compares the last side alone: to it, `x = 5` is `y = 5`.
    """
    if read_number(answer) is not None and read_number(reference) is not None:
        return True
    given, expected = sides(answer), sides(reference)
    return len(given) > 1 and len(expected) > 1 and _bare(given[0]) != _bare(expected[0])


def _final_answer(response: str) -> str | None:
    marked = marked_answer(response)
    if marked == "":
        return None
    end = (marked or unmarked_text(response)).strip()
    is_formula = "\n" not in end and len(end) <= _LONGEST_BARE and not is_prose(to_plain(end))
    formulas = [] if is_formula else delimited(end)
    if formulas:
        return formulas[-1] or None
    return end or None if marked or is_formula else last_number(end)


def _is_words(plain: str) -> bool:
    # Three letters may be a product.
    return len(plain) > 3 and _WORDS.fullmatch(plain) is not None


def _bare(formula: str) -> str:
    return _DELIMITERS.sub(" ", formula).strip()


def _folded(text: str) -> str:
    return " ".join(to_plain(text).casefold().split()).rstrip(".")
