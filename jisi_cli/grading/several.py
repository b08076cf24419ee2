"""Answers of several parts: lists, pairs, sets and intervals of numbers and formulas, whatever their blanks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jisi_cli.grading.formula import constant_value
from jisi_cli.grading.number import last_side, read_number
from jisi_cli.grading.plain_text import to_plain
from jisi_cli.lazy_pattern import lazy_pattern

_CLOSERS = {"(": ")]", "[": "])", "{": "}"}
_SEPARATOR = lazy_pattern(
    r"\s*(?:,?\s(?:and|or|und|oder|et|ou|y|o|e|и|или)\s(?!=)|[;,]\s+|;|,(?=[^\W\d_](?:_\{?\w{1,8}\}?)?\s?=)|和|或)\s*",
    re.IGNORECASE,
)
_THOUSANDS = lazy_pattern(r"-?[$€£]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_EITHER_SIGN = lazy_pattern(r"(?:\\pm(?![a-zA-Z])|±|\+/-|\+-)\s?(?P<rest>.+)")
_NAME = lazy_pattern(r"[^\W\d_](?:_\{?\w{1,8}\}?)?\s?(?:=|\\in(?![a-zA-Z])|∈)\s?")
_MOST = 50

Compare = Callable[[str, str], float | None]


@dataclass(frozen=True, slots=True)
class Several:
    """An answer of several parts.

    Attributes:
        parts: The parts as they are written.
        brackets: The bracket on either side; empty for a bare list.
    """

    parts: tuple[str, ...]
    brackets: str = ""

    def compare(self, expected: Several, compare: Compare) -> float | None:
        """Grade these parts by those of a reference.

        Order counts within round and square brackets and not within braces; where neither side has brackets,
        another order is unscored, since the question alone says whether it counts.
        """
        if len(self.parts) != len(expected.parts):
            return 0.0
        in_order = _all(compare(given, wanted) for given, wanted in zip(self.parts, expected.parts, strict=True))
        if "{" in self.brackets + expected.brackets or not (self.brackets or expected.brackets):
            if in_order == 1.0:
                return 1.0
            matched = _matched(list(self.parts), expected.parts, compare)
            if not matched:
                return 0.0 if in_order is not None else None
            return 1.0 if "{" in self.brackets + expected.brackets else None
        names = [found[0] for part in self.parts if (found := _NAME.match(part))]
        if in_order == 1.0 and len(names) == len(self.parts) and names == sorted(set(names)):
            return 1.0  # `x = 1, y = 2` is (1, 2)
        if in_order == 1.0 and self.brackets != expected.brackets:
            # `[1, 2]` and `(1, 2)` differ as intervals; without brackets nothing is said.
            return 0.0 if self.brackets and expected.brackets else None
        return in_order


def several(text: str) -> Several | None:
    """Return the parts of an answer that has several; None for one that has one, or is a sentence."""
    plain = to_plain(text.replace("\\{", "{").replace("\\}", "}")).strip().strip("$").strip().rstrip(".").strip()
    plain = re.sub(r"\\(?:cup)(?![a-zA-Z])|∪", " and ", plain)
    named = _NAME.match(plain)
    bare = plain[named.end() :].strip() if named else plain
    sign = _EITHER_SIGN.fullmatch(bare)
    if sign is not None and _is_part(sign["rest"]):
        return Several((sign["rest"], f"-{sign['rest']}"))
    closers = _CLOSERS.get(bare[:1])
    if closers is not None and bare[-1:] in closers and _is_closed(bare):
        parts = _split_at_commas(bare[1:-1])
        is_list = 1 < len(parts) <= _MOST and not _THOUSANDS.fullmatch(bare[1:-1].strip())
        return Several(tuple(parts), bare[0] + bare[-1]) if is_list and all(map(_is_part, parts)) else None
    return _bare_list(plain)


def _bare_list(plain: str) -> Several | None:
    if re.search(r"[(\[{]", plain) and not re.search(r"[)\]}]\s*(?:,|;|\band\b|\bor\b)", plain):
        parts = [part for part in _SEPARATOR.split(plain) if part] if _balanced_parts(plain) else []
    else:
        parts = [part for part in _SEPARATOR.split(plain) if part]
    number = read_number(plain)
    if (
        len(parts) < 2
        and (number is None or number.is_comma_decimal)
        and re.fullmatch(r"[^,()\[\]{}]+(?:,[^,()\[\]{}]+){2,}", plain)
    ):
        parts = plain.split(",")
    parts = list(dict.fromkeys(part.strip() for part in parts))
    if any("=" in part and not _NAME.match(part) for part in parts):
        return None  # steps of a calculation
    if not 1 < len(parts) <= _MOST or not all(map(_is_part, parts)):
        return None
    values = {_worth(part) for part in parts}
    # "1/2 or 0.5" says one thing twice.
    return Several(tuple(parts if len(values) > 1 or None in values else parts[:1]))


def _balanced_parts(plain: str) -> bool:
    return all(part.count("(") == part.count(")") for part in _SEPARATOR.split(plain) if part)


def _is_closed(text: str) -> bool:
    """Whether the bracket that opens a text is closed by its last character."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return place == len(text) - 1
    return False


def _split_at_commas(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character in ",;":
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]


def _is_part(text: str) -> bool:
    """Whether a text is short enough, and number or formula enough, to be a part."""
    text = text.strip()
    if not text or len(text) > 80:
        return False
    return bool(
        read_number(text) is not None
        or constant_value(last_side(text)) is not None
        or re.fullmatch(r"[^\W\d_]|[-+]?(?:∞|\\infty|inf|infinity|oo)", last_side(text))
        or several_brackets(text)
        or re.search(r"[\\^√π]|\d[a-z]\b", text)
        or (re.fullmatch(r"[-+*/\w\s().^]{1,40}", last_side(text)) and not re.search(r"[^\W\d_]{3,}", text))
    )


def several_brackets(text: str) -> bool:
    """Whether a text is itself in brackets with commas."""
    return text[:1] in _CLOSERS and "," in text and _is_closed(text)


def _worth(part: str) -> object:
    number = read_number(part)
    if number is not None:
        return number.value / 100 if number.is_percent else number.value
    return constant_value(last_side(part))


def _all(grades: Iterable[float | None]) -> float | None:
    found = list(grades)
    if 0.0 in found:
        return 0.0
    return None if None in found else 1.0


def _matched(given: list[str], expected: tuple[str, ...], compare: Compare) -> bool:
    """Whether each expected part has one given part of its own."""
    for wanted in expected:
        found = next((part for part in given if compare(part, wanted) == 1.0), None)
        if found is None:
            return False
        given.remove(found)
    return True
