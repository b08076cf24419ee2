"""Numbers in words: "forty-two", "one and a half", `四十二`, and the words that multiply ("million", `万`, "тысяч")."""

from __future__ import annotations

import re
from fractions import Fraction

from jisi_cli.lazy_pattern import lazy_pattern

_SMALL = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {
    word: 20 + 10 * place
    for place, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"])
}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    word: value
    for value, words in enumerate(
        (
            *("half halves", "third thirds", "quarter quarters fourth fourths", "fifth fifths", "sixth sixths"),
            *("seventh sevenths", "eighth eighths", "ninth ninths", "tenth tenths"),
        ),
        start=2,
    )
    for word in words.split()
}
_CHINESE_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {
    "〇": 0,
    "两": 2,
    "兩": 2,
}
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000}
_CHINESE_LARGE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_CHINESE = lazy_pattern(r"(?P<number>[零〇一二两兩三四五六七八九十百千万萬亿億]{1,20})\s?[^\W\d_a-zA-Z]{0,3}[.!]?")

_SCALES = (
    (10**2, r"hundred|hundert|cent[oi]s"),
    (10**3, r"thousands?|тысяч[аи]?|тыс\.?|tausend|mil|mille|ألف|千(?![米克瓦卡])|천|k"),
    (10**4, "万|萬|만"),
    (10**5, r"lakhs?"),
    (
        10**6,
        r"millions?|mio\.?|mln\.?|mn|миллион(?:а|ов)?|млн\.?|millionen|millones|millón|milh(?:ões|ão)|milion[ei]|مليون",
    ),
    (10**7, r"crores?"),
    (10**8, "亿|億|억"),
    (10**9, r"billions?|bn|milliards?|milliarden|миллиард(?:а|ов)?|млрд\.?"),
    (10**12, r"trillions?|tn"),
    (12, r"dozens?"),
)
_SCALE = tuple((factor, lazy_pattern(rf"\s?(?:{words})(?![a-zA-Z])", re.IGNORECASE)) for factor, words in _SCALES)
_MEGA = lazy_pattern(r"M(?![\w/])")


def scale_behind(text: str, start: int) -> tuple[int, int]:
    """Return the factor of a word such as "million" that stands at `start`, and where it ends: 1 where none does."""
    if _MEGA.match(text, start):
        return 10**6, start + 1
    for factor, words in _SCALE:
        found = words.match(text, start)
        if found is not None:
            return factor, found.end()
    return 1, start


def number_in_words(text: str) -> Fraction | None:
    """Return the number that a text spells in English or Chinese words; None when it says anything else."""
    folded = text.strip().strip(".!").casefold()
    chinese = _CHINESE.fullmatch(folded)
    if chinese is not None:
        return Fraction(_chinese(chinese["number"]))
    words = re.split(r"[\s-]+", folded)
    sign = -1 if words[0] in ("minus", "negative") else 1
    if sign < 0:
        words = words[1:]
    value = _english([word for word in words if word != "and"])
    return None if value is None else sign * value


def _english(words: list[str]) -> Fraction | None:
    if not words or not set(words) & {*_SMALL, *_PARTS, *_LARGE, "hundred"}:
        return None
    if words[-1] in _PARTS:
        return _with_part(words)
    total, group, any_digit = 0, 0, False
    for word in words:
        if word in _SMALL:
            group, any_digit = group + _SMALL[word], True
        elif word == "a" and not any_digit:
            group, any_digit = 1, True
        elif word == "hundred":
            group *= 100
        elif word in _LARGE:
            total, group = total + group * _LARGE[word], 0
        else:
            return None
    return Fraction(total + group) if any_digit else None


def _with_part(words: list[str]) -> Fraction | None:
    """Read "one half", "three quarters" and "two and a half"."""
    count = words[-2] if len(words) > 1 else "a"
    above = 1 if count in ("a", "an") else _SMALL.get(count)
    if above is None:
        return None
    part = Fraction(above, _PARTS[words[-1]])
    if len(words) <= 2:
        return part
    whole = _english(words[:-2])
    return None if whole is None else whole + part


def _chinese(characters: str) -> int:
    if not set(characters) & {*_CHINESE_UNITS, *_CHINESE_LARGE}:
        return int("".join(str(_CHINESE_DIGITS[character]) for character in characters))
    total = group = digit = 0
    for character in characters:
        if character in _CHINESE_DIGITS:
            digit = _CHINESE_DIGITS[character]
        elif character in _CHINESE_UNITS:
            group, digit = group + (digit or 1) * _CHINESE_UNITS[character], 0
        else:
            total, group, digit = (total + group + digit) * _CHINESE_LARGE[character], 0, 0
    return total + group + digit
