"""The grader for questions whose answer is a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from jisi_cli.grading.final_answer import accepted_answers, best, marked_answer, marked_answers, settle, unmarked_text
from jisi_cli.grading.formula import constant_value, equal_formulas
from jisi_cli.grading.number import (
    Number,
    canonical_math,
    is_denied,
    is_equation,
    is_prose,
    last_number,
    last_side,
    read_number,
    sides,
    state_number,
    stated_number,
    without_denied,
)
from jisi_cli.grading.number_words import number_in_words
from jisi_cli.grading.plain_text import to_plain
from jisi_cli.grading.registry import Submission, grader
from jisi_cli.grading.several import Several, several
from jisi_cli.lazy_pattern import lazy_pattern

_LONGEST_BARE = 200
_SHORT = 30
_DELIMITED = lazy_pattern(r"\$\$?([^$\n]{1,1000})\$\$?|\\\(([^\n]{1,1000}?)\\\)|\\\[(.{1,1000}?)\\\]", re.DOTALL)
_BOUND = lazy_pattern(
    r"\b(?:at (?:least|most)|(?:more|less|fewer|greater|larger|smaller|higher|lower) than|up to|over|under|above|below)"
    r"\s[$€£]?-?[\d.]|\bbetween\s[$€£]?-?[\d.,]+\s(?:and|to)\s[$€£]?-?[\d.,]+\W*\Z",
    re.IGNORECASE,
)
_DATE = lazy_pattern(r"(?<!\d)\d{4}-\d\d?-\d\d?(?!\d)|(?<!\d)\d\d?/\d\d?/\d{2,4}(?!\d)")
_RATIO = lazy_pattern(r"\s*(\d{1,9})\s?:\s?(\d{1,9})\s*")
_NOISE = Fraction(1, 10**6)
_NO_NUMBER = lazy_pattern(
    r"\b(?:no (?:[\w-]+ ){0,3}(?:solutions?|answer|such|value|number)|none|undefined|(?:does|do) ?n['o]t exist|dne|"
    r"(?:im|not )possible|infinit\w*|\\infty|unlimited|unknown|n/a|"
    r"(?:can ?not|can't|could not|unable to)\b(?!\s+(?:say|tell|answer|help|assist|comply))|"
    r"not (?:enough|sufficient|solvable|determin\w*|given|applicable|real)|insufficient|"
    r"un(?:solvable|determined|clear)|indeterminate|ambiguous|any (?:\w+ )?(?:number|value)|non-real)|∞|无解|không có",
    re.IGNORECASE,
)
_SAYS_NONE = lazy_pattern(rf"[^\d\n]{{0,15}}(?:{_NO_NUMBER.pattern})[^\d\n]{{0,15}}|\d+ out of \d+\.?", re.IGNORECASE)
_NOTHING = lazy_pattern(r"\b(?:none|nothing|nil|no|nobody)\b", re.IGNORECASE)
_UNITS = {
    name: symbol
    for symbol, names in {
        "mm": "mm millimeter millimeters millimetre millimetres",
        "cm": "cm centimeter centimeters centimetre centimetres",
        "m": "m meter meters metre metres",
        "km": "km kilometer kilometers kilometre kilometres",
        "in": "in inch inches",
        "ft": "ft foot feet",
        "mi": "mi mile miles",
        "mg": "mg milligram milligrams",
        "g": "g gram grams",
        "kg": "kg kilogram kilograms kilo kilos",
        "lb": "lb lbs pound pounds",
        "oz": "oz ounce ounces",
        "ml": "ml mL milliliter milliliters",
        "l": "l L liter liters litre litres",
        "ms": "ms millisecond milliseconds",
        "s": "s sec secs second seconds",
        "min": "min mins minute minutes",
        "h": "h hr hrs hour hours",
        "day": "day days",
        "week": "week weeks",
        "month": "month months",
        "year": "year years",
        "°C": "°C",
        "°F": "°F",
        "K": "K kelvin",
        "rad": "rad radian radians",
        "°": "° degree degrees deg",
    }.items()
    for name in names.split()
}
"""Units of which one is not the other, by how they are written."""


@grader("numeric", reader="numeric")
@dataclass(frozen=True, slots=True)
class Numeric:
    """Compares numbers; where the reference is a formula, compares what the formulas are worth.

    The final answer is the one that the response marks (see `final_answer`), else the response
    itself when it is nothing but a number or formula, else the last number in it. What is not understood is
    unscored: a formula or words that cannot be worked out, `x = 5` for `y = 5`, 1.5 for "1.5 million".

    Attributes:
        relative: Largest difference, as a share of the reference, that still counts as equal. It never
            reaches half of the last decimal place written, and whole numbers must be exact.
        absolute: Largest difference from zero that counts as zero.
    """

    relative: float = 1e-6
    absolute: float = 1e-9

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 for the right number, 0.0 for another, None when there is none to read.

        A marked answer that says that there is none ("no solution") is an answer, and wrong.
        """
        answer = final_answer(submission.response)
        if answer is None:
            return None
        return best(self.compare(answer, accepted) for accepted in accepted_answers(submission.reference))

    def compare(self, answer: str, reference: str) -> float | None:
        """Grade a stated answer by one accepted answer; None when they cannot be compared."""
        answer = without_denied(answer)
        if not answer.strip() or not reference.strip():
            return None
        expected, given = several(reference), several(answer)
        if given is not None and len(given.parts) == 1:
            answer, given = given.parts[0], None
        if expected is not None:
            return self._compare_several(given, expected, answer, reference)
        number = state_number(reference)
        if number is not None:
            return self._compare_with_number(answer, given, number)
        return _compare_formulas(answer, reference)

    def extract(self, response: str) -> str | None:
        """Return the final number in canonical form, or the final formula without its blanks."""
        return settle(_read, response)

    def _compare_several(self, given: Several | None, expected: Several, answer: str, reference: str) -> float | None:
        if _canonical(answer) == _canonical(reference):
            return 1.0
        if given is None:
            return 0.0 if state_number(answer) is not None else None
        return given.compare(expected, self.compare)

    def _compare_with_number(self, answer: str, given: Several | None, expected: Number) -> float | None:
        if given is not None:
            return None if expected.is_comma_decimal else 0.0  # `1,2` may itself be a list
        number = state_number(answer)
        if number is not None:
            grade = self._compare_numbers(number, expected)
            if _BOUND.search(to_plain(answer)) or (number.is_one_of_several and not grade):
                return None if grade or number.is_one_of_several else grade
            return grade
        if _DATE.search(answer):
            return None
        if is_equation(answer):
            return None
        value = constant_value(last_side(answer))
        if value is not None:
            is_right = self._close(value, expected.value, None, expected.places)
            # `5!` is 120, or 5 said with joy.
            loud = answer.rstrip(" $").endswith("!") and stated_number(answer.rstrip(" $!")) == expected.value
            return None if loud and not is_right else float(is_right)
        if _NO_NUMBER.search(to_plain(answer)):
            # How many are left? None.
            return None if expected.value == 0 and _NOTHING.search(answer) else 0.0
        equal = equal_formulas(last_side(answer), str(expected.value))
        return 0.0 if equal is False else None

    def _compare_numbers(self, given: Number, expected: Number) -> float | None:
        units = _UNITS.get(given.unit), _UNITS.get(expected.unit)
        if None not in units and units[0] != units[1]:
            return None
        one_percent = given.is_percent != expected.is_percent
        if self._close_numbers(given, expected):
            if (given.variable and expected.variable and given.variable != expected.variable) or (
                one_percent and abs(expected.face) <= 1
            ):
                return None
            return 1.0
        if one_percent and _share(given) == _share(expected):
            return 1.0
        if given.face == expected.face and "dozen" in (given.scale + expected.scale):
            return 1.0  # a dozen is counted in dozens as often as not
        readings = {given.value, given.face, given.other}, {expected.value, expected.face, expected.other}
        return None if (readings[0] & readings[1]) - {None} else 0.0

    def _close_numbers(self, given: Number, expected: Number) -> bool:
        return self._close(given.value, expected.value, given.places, expected.places)

    def _close(
        self, given: Fraction | complex, expected: Fraction, places: int | None, reference_places: int | None
    ) -> bool:
        if given == expected:
            return True
        if isinstance(given, complex):
            return abs(given - float(expected)) <= self.relative * abs(float(expected))
        if expected == 0:
            return abs(given) <= Fraction(self.absolute)
        written = [count for count in (places, reference_places) if count is not None]
        limit = Fraction(self.relative) * abs(expected)
        if given.denominator == 1 or expected.denominator == 1:
            limit = Fraction(0) if given.denominator == expected.denominator else min(limit, _NOISE)
        elif written:
            limit = min(limit, Fraction(1, 2 * 10 ** min(written)))
        return abs(given - expected) <= limit


def final_answer(response: str) -> str | None:
    """Return the final answer as it is written; None when there is none, or it was left blank."""
    marked = marked_answer(response)
    if marked is not None:
        found = next(filter(_is_readable, (marked, *marked_answers(response)[1:])), marked)
        formulas = [] if not is_prose(to_plain(found)) or canonical_math(found) else delimited(found)
        return (formulas[-1] if formulas else found) or None
    end = unmarked_text(response).strip()
    if number_in_words(to_plain(end)) is not None or _SAYS_NONE.fullmatch(to_plain(end)):
        return end
    if is_denied(end):
        return last_number(end)
    if "\n" not in end and len(end) <= _LONGEST_BARE and not is_prose(to_plain(end)):
        return end if canonical_math(end) is not None or read_number(end) or several(end) else None
    last = last_number(end)
    plain = to_plain(end)[-_LONGEST_BARE:]
    bound = _BOUND.search(plain)
    # "More than 42" is not 42.
    return None if last and bound and last in plain[bound.start() :][:_SHORT] else last


def delimited(text: str) -> list[str]:
    r"""Return the formulas that stand between `$`, `\(` or `\[` in a text."""
    return [next(filter(None, groups), "").strip() for groups in _DELIMITED.findall(text)]


def _is_readable(answer: str) -> bool:
    """Whether an answer denies something or gives a number or formula, or says that there is none."""
    return (
        without_denied(answer) != answer
        or canonical_math(answer) is not None
        or _NO_NUMBER.search(to_plain(answer)) is not None
    )


def _read(response: str) -> str | None:
    answer = final_answer(response)
    return None if answer is None else canonical_math(without_denied(answer))


def _share(number: Number) -> Fraction:
    return number.value / 100 if number.is_percent else number.value


def _canonical(text: str) -> str:
    return re.sub(r"\s+", "", to_plain(text)).rstrip(".")


def _is_rounded(answer: str, reference: str) -> bool:
    """Whether an answer is a decimal to which an irrational reference is rounded, in six digits at least."""
    number, value = read_number(answer), constant_value(last_side(reference))
    if number is None or not number.places or not isinstance(value, complex) or abs(value.imag) > 1e-12:
        return False
    difference = abs(float(number.value) - value.real)
    return difference <= 0.51 * 10**-number.places and difference <= 1e-6 * abs(value)


def _compare_formulas(answer: str, reference: str) -> float | None:
    """Grade by a reference that is neither a number nor several: a formula, an equation, or words."""
    if _canonical(answer).casefold() == _canonical(reference).casefold():
        return 1.0
    ratios = _RATIO.fullmatch(to_plain(answer)), _RATIO.fullmatch(to_plain(reference))
    if ratios[0] and ratios[1]:
        # 6:8 may be 3:4, but is no such time.
        return None if int(ratios[0][1]) * int(ratios[1][2]) == int(ratios[0][2]) * int(ratios[1][1]) else 0.0
    if ("°" in to_plain(answer)) != ("°" in to_plain(reference)):
        return None
    if _is_rounded(answer, reference):
        return 1.0
    given, expected = sides(answer), sides(reference)
    named = [re.fullmatch(r"[^\W\d_](?:_\{?\w{1,8}\}?)?(?:\([a-z]\))?", found[0]) for found in (given, expected)]
    if len(expected) == 2 and len(given) == 2 and not all(named):
        equal = equal_formulas("=".join(given), "=".join(expected))
    else:
        equal = equal_formulas(given[-1], expected[-1])
        if equal and len(given) > 1 and len(expected) > 1 and given[0] != expected[0]:
            return None
        if len(expected) > 1 and not named[1]:
            return None
    if equal is None and canonical_math(reference) is None and state_number(answer) is not None:
        return 0.0
    return None if equal is None else float(equal)
