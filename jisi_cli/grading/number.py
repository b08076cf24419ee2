r"""Numbers and formulas as people write them: `$1,234.50`, `3 1/2`, `-5 %`, `1.5e3`, `2\sqrt{3}`.

Numbers are read exactly, as fractions: `0.1` is 1/10, and 10,000,000,000,000,001 keeps its last digit.
"""

from __future__ import annotations

import re
from fractions import Fraction

from jisi_cli.grading.latex import to_plain

_MAGNITUDE = r"(?:(?:\d{1,3}(?:,\d{3}){1,99}(?!\d)|\d{1,300}(?!\d))(?:\.\d{0,300})?|\.\d{1,300})(?!\d)"
_EXPONENT = r"(?:[eE](?P<e>[+-]?\d{1,3})(?!\d)|\s?[*x×]\s?10\s?(?:\^|\*\*)\s?\{?(?P<power>[+-]?\d{1,3})\}?)"
_NUMBER = re.compile(
    # A minus after a digit, letter or bracket subtracts; before one it is a sign.
    r"(?<![\w.^])(?P<sign>(?:(?<![\w)\]}])[-+])?)\s?[$€£¥]?\s?(?P<inner>-?)"
    r"(?:(?P<whole>\d{1,9})\s{1,2}(?=\d{1,9}\s?/\s?\d))?"
    rf"(?P<top>{_MAGNITUDE}){_EXPONENT}?"
    rf"(?:\s?/\s?(?P<bottom>{_MAGNITUDE})(?![\w/]))?"
)
_LARGEST = Fraction(10) ** 300
_FORMULA = re.compile(
    r"[\\^√π*+_{}<>|×÷]|\b(?:sqrt|pi|log|ln|sin|cos|tan)\b|\d\s?/|\d[abcdeiknpqrtuvwxyz]\b|\)\(|\s-\s"
)
_CONTINUED = r"\s\(?(?:or|and|times|plus|minus|over|root|square root|to the|sqrt|pi|mod)\b"
# `18 apples (3 * 6)` and `18 (since 3 * 6)` are 18, but `6 sqrt(2)` and `3 or 4` go on.
_WORDS_FOLLOW = re.compile(rf"(?!{_CONTINUED})\s\(?[a-zA-Z]{{2,}}", re.IGNORECASE)
_WORD = re.compile(r"[a-zA-Z]{2,}")
_TWO_WORDS = re.compile(r"[a-zA-Z]{2,}[ ,]+[a-zA-Z]{2,}")
_JOINERS = {"or", "and"}
_UNIT = re.compile(r"[a-zA-Zµ°%€£¥$²³/().,;:!' -]{0,80}")
_POWER_OF_UNIT = re.compile(r"(?<=[a-zA-Z])\^?\{?[23]\}?(?![\w{])")
_VARIABLE = re.compile(r"(?:[abcdeiknpqrtuvwxyz]|pi|sqrt|log|ln|sin|cos|tan|mod)(?![a-zA-Z])")
_SPACED_THOUSANDS = re.compile(r"-?[$€£¥]?-?\d{1,3}(?: \d{3}){1,99}")
_ANSWER = re.compile(r"A(?:ns)?\s?:")
_BASE = re.compile(r"(?<=\d)_\{?\w{1,3}\}?")
_LONGEST_FORMULA = 200


def parse_number(text: str) -> Fraction | None:
    """Return the number that a text is, or None when it is anything else.

    Currency, a percent sign, a unit (`12 km/h`, `5 cm^2`) and the base of a numeral (`221_3`) are
    read over, and so is `A:` before it; a percentage keeps its face value (`15 %` is 15). Of `x = 3` or
    `6/2 = 3` the last side counts.
    """
    plain = _BASE.sub("", to_plain(text))
    opening = _ANSWER.match(plain)
    side = re.split(r"[=≈]", plain[opening.end() if opening else 0 :])[-1].strip().strip("*_`\"'()").strip()
    if _SPACED_THOUSANDS.fullmatch(side):
        side = side.replace(" ", "")
    match = _NUMBER.match(side)
    if match is None or not _is_unit(side[match.end() :]):
        return None
    return _value(match)


def stated_number(text: str) -> Fraction | None:
    """Return the number that a stated answer gives: all of it, else the first number of a sentence.

    A formula (`2√3`) and a list (`-1, 1`) give none.
    """
    value = parse_number(text)
    if value is not None:
        return value
    plain = to_plain(text)
    match = _NUMBER.match(plain)
    if match is not None and _WORDS_FOLLOW.match(plain, match.end()):
        return _value(match)
    if _is_formula(plain):
        return None
    match = _NUMBER.search(plain)
    return _value(match) if match else None


def last_number(text: str) -> str | None:
    """Return the last number in a text, as it is written there without LaTeX."""
    numbers = list(_NUMBER.finditer(to_plain(text)))
    return numbers[-1][0] if numbers else None


def canonical_number(value: Fraction) -> str:
    """Write a number so that equal numbers are equal strings.

    Whole numbers are written out; others are rounded to six decimals (six significant digits below
    0.1), so that 1/3 and 0.3333333 agree.
    """
    nearest = round(value)
    if value == nearest or (abs(value) >= 1 and abs(value - nearest) < Fraction(1, 2 * 10**6)):
        return str(nearest)
    digits = f"{float(value):.6f}" if abs(value) >= Fraction(1, 10) else f"{float(value):.6g}"
    return digits.rstrip("0").rstrip(".") if "." in digits and "e" not in digits else digits


def canonical_math(text: str) -> str | None:
    """Return a stated answer as a canonical number or formula; None when it is neither."""
    value = stated_number(text)
    if value is not None:
        return canonical_number(value)
    plain = to_plain(text)
    return _canonical_formula(plain) if _is_formula(plain) else None


def is_prose(text: str) -> bool:
    """Return whether two words stand side by side, as they do in a sentence and not in a formula."""
    return _TWO_WORDS.search(text) is not None


def _value(match: re.Match[str]) -> Fraction | None:
    value = _magnitude(match["top"])
    value *= Fraction(10) ** int(match["e"] or match["power"] or 0)
    if match["bottom"]:
        bottom = _magnitude(match["bottom"])
        if not bottom:
            return None
        value /= bottom
    value += int(match["whole"] or 0)
    if value > _LARGEST:
        return None
    return -value if "-" in (match["sign"], match["inner"]) else value


def _magnitude(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip(".") or "0")


def _is_unit(rest: str) -> bool:
    rest = _POWER_OF_UNIT.sub("", rest).strip()
    return _UNIT.fullmatch(rest) is not None and _VARIABLE.match(rest) is None and rest[:1] != "-"


def _is_formula(plain: str) -> bool:
    prose = any(word.lower() not in _JOINERS for word in _WORD.findall(plain))
    return not prose or _FORMULA.search(plain) is not None


def _canonical_formula(plain: str) -> str | None:
    # A list keeps its items apart: `1, 988` is not 1988.
    listed = re.sub(r"\s+,\s*|,\s+", ";", plain.replace("$", ""))
    formula = re.sub(r"\s+(?=\W)|(?<=\W)\s+", "", re.sub(r"\s+", " ", listed)).strip(" .,;:*_`\"'")
    if len(formula) > _LONGEST_FORMULA or not re.search(r"\w", formula):
        return None
    return None if is_prose(formula) else formula
