r"""Numbers and formulas as people write them: `$1,234.50`, `3 1/2`, `-5 %`, `1.5 million`, `≈ 42 ✓`, `2\sqrt{3}`.

Numbers are read exactly, as fractions: `0.1` is 1/10, and 10,000,000,000,000,001 keeps its last digit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from jisi_cli.grading.formula import exact_value
from jisi_cli.grading.number_words import number_in_words, scale_behind
from jisi_cli.grading.plain_text import to_plain
from jisi_cli.lazy_pattern import lazy_pattern

_MAGNITUDE = r"(?:(?:\d{1,3}(?:,\d{3}){1,99}(?!\d)|\d{1,300}(?!\d))(?:\.\d{0,300})?|\.\d{1,300})(?!\d)"
_EXPONENT = r"(?:[eE](?P<e>[+-]?\d{1,3})(?!\d)|\s?[*x×]\s?10\s?(?:\^|\*\*)\s?\{?(?P<power>[+-]?\d{1,3})\}?)"
_NUMBER = lazy_pattern(
    # A minus after a digit, letter or bracket subtracts; before one it is a sign.
    r"(?<![\w.^])(?P<sign>(?:(?<![\w)\]}])[-+])?)\s?[$€£¥₹₩₽₺₫₴฿]?\s?(?P<inner>-?)"
    r"(?:(?P<whole>\d{1,9})\s{1,2}(?:and\s)?(?=\d{1,9}\s?/\s?\d))?"
    rf"(?P<top>{_MAGNITUDE}){_EXPONENT}?"
    rf"(?:\s?/\s?(?P<bottom>{_MAGNITUDE})(?![\w/]))?"
)
_LARGEST = Fraction(10) ** 300
_FORMULA = lazy_pattern(
    r"[\\^√π*+_{}<>|×÷]|\b(?:sqrt|pi|log|ln|sin|cos|tan)\b|\d\s?/|\d[abcdeiknpqrtuvwxyz]\b|\)\(|\s-\s"
)
_DASH = r"\s(?:[-–—]\s)?"
_CONTINUED = (
    rf"{_DASH}\(?(?:or|times|plus|minus|over|root|square root|to the|sqrt|pi|mod|log|ln|sin|cos|tan|and\s+-?\d)\b"
)
# `18 apples (3 * 6)` and `18 (since 3 * 6)` are 18, but `6 sqrt(2)` and `3 or 4` go on.
_WORDS_FOLLOW = lazy_pattern(rf"(?!{_CONTINUED}){_DASH}\(?[^\W\d_]{{2,}}", re.IGNORECASE)
_WORD = lazy_pattern(r"[^\W\d_]{2,}")
_TWO_WORDS = lazy_pattern(r"[^\W\d_]{2,}[ ,]+[^\W\d_]{2,}")
_JOINERS = {"or", "and"}
_UNIT = lazy_pattern(r"(?:[^\W\d_]|[\u0900-\u0dff\u0e00-\u0effµ°%‰€£¥₹₩₽₺₫₴฿$²³/().,;:!?'\" \]\}>|*-]){0,80}")
_POWER_OF_UNIT = lazy_pattern(r"(?<=[^\W\d_])\^?\{?-?[123]\}?(?![\w{])")
_VARIABLE = lazy_pattern(r"(?:[abcdeiknpqrtuvwxyz]|pi|π|sqrt|log|ln|sin|cos|tan|mod)(?![^\W\d_])")
_SPACED_THOUSANDS = lazy_pattern(r"(-?\s?[$€£¥₹]?-?\d{1,3}(?:[ ']\d{3}){1,99})(?!\d)")
_ANSWER = lazy_pattern(r"A(?:ns)?\s?:")
_BASE = lazy_pattern(r"(?<=\d)_\{?\w{1,3}\}?")
_SYMBOLS = lazy_pattern("[✀-➿⌀-⏿■-◿☀-⛿⬀-⯿\U0001f000-\U0001faff©®™]")
_CODES = r"(?:USD|EUR|GBP|JPY|CNY|RMB|INR|AUD|CAD|CHF|KRW|RUB|BRL|MXN|Rs\.?|(?:US|A|C|HK|NZ|S|R)(?=\$))"
_LEADING = lazy_pattern(
    rf"\A(?:[\s≈~:=#'\"*_`\[<>|→]|\{{(?=[^{{}}]*\}}\W*$)|\((?=(?:[^(),]|,(?=\d{{3}}))*\)\W*$)|{_CODES}(?![a-zA-Z])|{_CODES}\s?(?=[\d$-])|"
    r"(?:approximately|approx\.?|about|around|roughly|exactly|nearly|precisely|just|only|circa|ca\.|env\.|environ|etwa|"
    r"ungefähr|около|примерно|aproximadamente|约为|大约|约|約)(?![a-zA-Z]))+",
    re.IGNORECASE,
)
_SIGN_WORD = lazy_pattern(r"(?:minus|negative|负|負|минус|moins|menos)\s?(?=[\d$.])", re.IGNORECASE)
_IMPLIES = lazy_pattern(r"=>|⇒|⟹|→|⟶|∴|\\(?:implies|Rightarrow|rightarrow|to|therefore)(?![a-zA-Z])")
_EQUALS = lazy_pattern(r"(?<![<>!:])=(?!=)|:=|≈|==|\\equiv(?![a-zA-Z])|≡")
_NAME = lazy_pattern(r"\\?[^\W\d_]{1,7}(?:_\{?\w{1,8}\}?)?'?")
_EQUATION = lazy_pattern(
    r"(?<![^\W\d_])[^\W\d_]\b\s?[-+*/^]|[-+*/]\s?[^\W\d_](?![^\W\d_])|\d\s?[a-z](?![^\W\d_])|[a-z]\^"
)
_FUNCTION_VALUE = lazy_pattern(r"[^\W\d_]{1,7}\s?\([^()=]{1,30}\)")
_BARS = lazy_pattern(r"\|\S[^|]{0,40}\S\||\|\S\|")
_PERCENT = lazy_pattern(r"\s?(?:%|per ?cent\b|pct\b|prozent\b|por ciento\b|pour cent\b|процент)", re.IGNORECASE)
_NO_CENTS = lazy_pattern(r"(?<=\d\.)-{1,2}(?=\W*$)")
_BRACKET = lazy_pattern(r"[(\[{)\]}]")
_EUROPEAN = lazy_pattern(r"(-?[$€£]?)(\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+)(?![\d.,]\d)")
_INDIAN = lazy_pattern(r"-?[$€£¥₹]?\d{1,2}(?:,\d{2})+,\d{3}(?!\d|,\d)")
_COMMA_DECIMAL = lazy_pattern(r"(-?[$€£¥]?\d{1,15}),(\d{1,2}|\d{4,15})(?![\d,.]*\d)")
_ONE_SEPARATOR = lazy_pattern(r"-?[$€£¥]?\d{1,3}[.,]\d{3}(?![\d.,]*\d)")
_VERB_NUMBER = lazy_pattern(
    r"\b(?:is|are|was|were|equals|be|makes?|gives?|yields?|total(?:s| of)?|得|是|为|共|est|es|ist)\s"
    r"(?:only |about |exactly )?(?=[-+]?[$€£]?\d)"
)
_BECAUSE = lazy_pattern(r"[,;]?\s\(?(?:because|since|as|where|which|given|so that|if)\b", re.IGNORECASE)
_SENTENCE_START = lazy_pattern(r"[.!](?=\s)|[。！\n]")
# Not `= (6 + 1) * 6` and "is (42)".
_ASIDE = lazy_pattern(
    r"(?<=[\w%°$€£*])(?<!\bis)(?<!\bare)(?<!\bwas)\s\((?=[^()=]{0,60}(?:[^\W\d_]{2}|[-+*/×]))|"
    r"[,;]?\s(?:because|since)\b|,\swhich\s(?!(?:is|are|was|means|leaves|makes|gives|brings|equals|totals|comes)\b)",
    re.IGNORECASE,
)
_SO = lazy_pattern(r"[=⇒→]|\b(?:so|thus|hence|therefore|leav(?:es|ing)|total)\b|\d\s?\)\s?[-+*/×]", re.IGNORECASE)
_LEAVES_OPEN = lazy_pattern(
    r"\A\s?(?:and|und|et|y|e|и|和)\s?\Z|\b(?:or|oder|ou)\b[^\d\n]{0,20}\Z|或|\?\s?\Z|\b(?:after|within|during|in|see)\s(?:\w+\s)?\Z",
    re.IGNORECASE,
)
_NEGATED = lazy_pattern(
    r"(?:\b(?:not|never|isn't|aren't|wasn't|cannot be|can't be|rather than|instead of|other than|anything but|"
    r"neither|nor|nicht|pas|не|no es|não é|non è)\s(?:be\s|equals?(?:\sto)?\s)?|(?:不是|并非|不等于|≠|!=)\s?)"
    r"(?:(?:\\boxed\{|[-$€£(\\]){0,2}[0-9][^\s,;]{0,40}[^\s.,;!?]|[-$€£(]?[0-9])|"
    r"[-$]?[0-9][0-9.,]{0,20}\s?(?:ではなく|じゃなく|이 아니라|가 아니라)",
    re.IGNORECASE,
)
_BUT = lazy_pattern(r"[\s,;:.]*(?:but|rather|instead|it is|it's|sondern|mais|sino|а|而是|但)?[\s,;:]*", re.IGNORECASE)
_LONGEST_FORMULA = 200


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was stated.

    Attributes:
        value: What it is, "million" and such multiplied in; a percentage keeps its face value (`15 %` is 15).
        face: The digits alone: 1.5 for "1.5 million".
        is_percent: Whether a percent sign follows.
        scale: What multiplies it: "million".
        unit: What else follows, blanks and full stops left out.
        variable: Name before a `=`; empty where there is none.
        places: Decimal places written; None for a fraction and a number with an exponent.
        other: What it would be if its only comma or full stop meant the opposite: 1.234 for `1,234`.
        is_one_of_several: Whether it is the first of several in a sentence that says of none that it is the answer.
    """

    value: Fraction
    face: Fraction
    is_percent: bool = False
    scale: str = ""
    unit: str = ""
    variable: str = ""
    places: int | None = None
    other: Fraction | None = None
    is_one_of_several: bool = False

    @property
    def is_comma_decimal(self) -> bool:
        """Whether its only comma is that of a decimal: `3,14`."""
        return self.other is not None and self.other == self.face


def read_number(text: str) -> Number | None:
    """Return the number that a text is, with all that stands beside it; None when it is anything else.

    Currency, a percent sign, a unit (`12 km/h`, `5 cm^2`), the base of a numeral (`221_3`), "about", marks of
    approval and brackets around it are read over, and so is `A:` before it. Of `x = 3` or `6/2 = 3` the
    last side counts; an equation between variables (`2x + 3y = 6`) is not a number.
    """
    plain = _SYMBOLS.sub(" ", _BASE.sub("", to_plain(text)))
    if _BARS.fullmatch(plain.strip()):
        return None
    opening = _ANSWER.match(plain)
    plain = _IMPLIES.split(plain[opening.end() if opening else 0 :])[-1]
    sides = [side.strip() for side in _EQUALS.split(plain)]
    variable = sides[0] if len(sides) > 1 and _NAME.fullmatch(sides[0]) else ""
    if len(sides) > 1 and not variable and _EQUATION.search(sides[0]) and not _FUNCTION_VALUE.fullmatch(sides[0]):
        return None
    number = _one_number(sides[-1])
    if number is None or (number.is_comma_decimal and _BRACKET.search(plain)):
        return None  # `(1,2)` is a pair
    return replace(number, variable=variable)


def parse_number(text: str) -> Fraction | None:
    """Return the value of the number that a text is (see `read_number`), or None when it is anything else."""
    number = read_number(text)
    return None if number is None or number.is_comma_decimal else number.value


def state_number(text: str) -> Number | None:
    """Return the number that a stated answer gives: all of it, else the one that its sentence says.

    A formula (`2√3`) and a list (`-1, 1`) give none. Of a sentence with several numbers that counts which follows
    "is" or stands before the reason; where that leaves several, the first.
    """
    number = read_number(text)
    if number is not None:
        return number
    plain = _LEADING.sub("", _SYMBOLS.sub(" ", to_plain(text)), count=1) if text else ""
    match = _NUMBER.match(plain)
    if match is not None and _WORDS_FOLLOW.match(plain, match.end()):
        return _plain_number(match, plain)
    spelled = number_in_words(plain)
    if spelled is not None:
        return Number(spelled, spelled)
    if _is_formula(plain):
        return None
    return _number_of_sentence(plain)


def stated_number(text: str) -> Fraction | None:
    """Return the value of the number that a stated answer gives (see `state_number`)."""
    number = state_number(text)
    return None if number is None else number.value


def last_number(text: str) -> str | None:
    """Return the last number in a text, as it is written there without LaTeX, and what multiplies it.

    A number that the text denies ("it is not 42") is none, and neither is one that is said beside the point
    ("42, which took 3 steps"). None where the last sentence leaves open which number is meant ("42 or 24").
    """
    plain = _NEGATED.sub(" ", to_plain(text))
    numbers = list(_NUMBER.finditer(plain))
    if not numbers:
        return None
    starts = [found.end() for found in _SENTENCE_START.finditer(plain, 0, numbers[-1].start())]
    start = starts[-1] if starts else 0
    number = _meant([number for number in numbers if number.start() >= start], plain)
    if number is None:
        return None
    _, end = scale_behind(plain, number.end())
    percent = re.match(r"\s?%", plain[end:])
    return plain[number.start() : end + (percent.end() if percent else 0)].strip()


def _meant(numbers: list[re.Match[str]], plain: str) -> re.Match[str] | None:
    """Return the number of a sentence that its claim ends with; None where it leaves open which."""
    aside = _ASIDE.search(plain, numbers[0].end())
    if (
        aside is not None
        and aside.start() < numbers[-1].start()
        and not _SO.search(plain, aside.start(), numbers[-1].start())
    ):
        numbers = [number for number in numbers if number.end() <= aside.start()]
    if len(numbers) < 2:
        return numbers[-1]
    between = plain[numbers[-2].end() : numbers[-1].start()]
    values = {_value(number) for number in numbers[-2:]}
    return None if len(values) > 1 and _LEAVES_OPEN.search(between) else numbers[-1]


def is_equation(text: str) -> bool:
    """Return whether a text relates variables (`2x + 3y = 6`) and so gives none of them a value."""
    found = sides(to_plain(text))
    return (
        len(found) > 1
        and not _NAME.fullmatch(found[0])
        and bool(_EQUATION.search(found[0]) and not _FUNCTION_VALUE.fullmatch(found[0]))
    )


def is_denied(text: str) -> bool:
    """Return whether a text says what a number is not."""
    return _NEGATED.search(to_plain(text)) is not None


def without_denied(text: str) -> str:
    """Return a stated answer without what it denies: "not 40 but 42" is "42", and "not 40" nothing."""
    return _BUT.sub("", _NEGATED.sub(" ", text).strip(), count=1) if _NEGATED.match(text.strip()) else text


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
    number = state_number(text)
    if number is not None and number.is_comma_decimal:
        number = None
    value = exact_value(last_side(text)) if number is None else number.value
    if value is not None and value <= _LARGEST:
        return canonical_number(value)
    plain = to_plain(text)
    return _canonical_formula(plain) if _is_formula(plain) else None


def last_side(text: str) -> str:
    """Return what follows the last `=` of a text."""
    return _EQUALS.split(_IMPLIES.split(text)[-1])[-1].strip()


def sides(text: str) -> list[str]:
    """Return what is between the `=` of a text, after the last arrow."""
    return [side.strip() for side in _EQUALS.split(_IMPLIES.split(text)[-1])]


def is_prose(text: str) -> bool:
    """Return whether two words stand side by side, as they do in a sentence and not in a formula."""
    return _TWO_WORDS.search(text) is not None


def _one_number(side: str) -> Number | None:
    side = _LEADING.sub("", side.strip().strip("*_`\"'").strip(), count=1).lstrip("()").strip()
    side = _NO_CENTS.sub("", _SIGN_WORD.sub("-", side, count=1))
    spaced = _SPACED_THOUSANDS.match(side)
    if spaced is not None:
        side = re.sub(r"(?<=\d)[ '](?=\d)", "", spaced[1]) + side[spaced.end() :]
    side, other = _separated(side)
    match = _NUMBER.match(side)
    if match is None:
        return None
    factor, end = scale_behind(side, match.end())
    rest = side[end:]
    face = _value(match)
    if face is None or not _is_unit(rest) or rest[:1] == "!":
        return None
    unit = re.sub(r"[\s.,;:!?'\"()\[\]{}|*>]", "", _POWER_OF_UNIT.sub(lambda found: found[0].strip("^{}"), rest))
    scale = side[match.end() : end].strip().lower()
    return Number(
        face * factor, face, _PERCENT.match(rest) is not None, scale, unit, places=_places(match), other=other
    )


def _separated(side: str) -> tuple[str, Fraction | None]:
    """Return a number with English separators, and its value if its only separator meant the opposite."""
    european = _EUROPEAN.match(side)
    if european is not None:
        return european[1] + european[2].replace(".", "").replace(",", ".") + side[european.end() :], None
    indian = _INDIAN.match(side)
    if indian is not None:
        return indian[0].replace(",", "") + side[indian.end() :], None
    comma = _COMMA_DECIMAL.match(side)
    if comma is not None:
        # `3,14` is a decimal in half of the world, and a list elsewhere.
        decimal = f"{comma[1]}.{comma[2]}"
        return decimal + side[comma.end() :], Fraction(re.sub("[$€£¥]", "", decimal))
    either = _ONE_SEPARATOR.match(side)
    if either is not None:
        digits = re.sub("[$€£¥]", "", either[0])
        return side, Fraction(digits.replace(",", ".") if "," in digits else digits.replace(".", ""))
    return side, None


def _plain_number(match: re.Match[str], plain: str) -> Number | None:
    face = _value(match)
    factor, end = scale_behind(plain, match.end())
    if face is None:
        return None
    is_percent = _PERCENT.match(plain, end) is not None
    scale = plain[match.end() : end].strip().lower()
    return Number(face * factor, face, is_percent, scale, places=_places(match))


def _number_of_sentence(plain: str) -> Number | None:
    reason = _BECAUSE.search(plain)
    claim = plain[: reason.start()] if reason else plain
    said = list(_VERB_NUMBER.finditer(claim))
    if said:
        match = _NUMBER.search(claim, said[-1].end())
        return _plain_number(match, plain) if match else None
    claim, plain = (_NEGATED.sub(" ", claim), plain) if _NUMBER.search(_NEGATED.sub(" ", claim)) else (claim, plain)
    matches = list(_NUMBER.finditer(claim)) or list(_NUMBER.finditer(plain))
    number = _plain_number(matches[0], plain) if matches else None
    others = {_value(match) for match in matches}
    return (
        number
        if number is None or len(others) < 2 or matches[0].start() == 0
        else replace(number, is_one_of_several=True)
    )


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


def _places(match: re.Match[str]) -> int | None:
    if match["bottom"] or match["e"] or match["power"]:
        return None
    return len(match["top"].partition(".")[2])


def _magnitude(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip(".") or "0")


def _is_unit(rest: str) -> bool:
    rest = _POWER_OF_UNIT.sub("", rest).strip()
    return _UNIT.fullmatch(rest) is not None and _VARIABLE.match(rest.lstrip("/ )]}")) is None and rest[:1] != "-"


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
