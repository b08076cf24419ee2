r"""What a formula is worth: `2^{10}`, `\frac{\sqrt{3}}{2}`, `x(x+1)`, read from LaTeX or plain text.

A formula without irrational parts is worked out exactly. One with variables is compared with another at a few places,
which tells apart all but those that differ nowhere near; nothing is handed to Python to evaluate.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from jisi_cli.grading.plain_text import plain_characters
from jisi_cli.lazy_pattern import lazy_pattern

Value = Fraction | complex

_LONGEST = 300
_DEEPEST = 25
_LARGEST_EXPONENT = 4000
_MOST_BITS = 20_000
_LARGEST_FACTORIAL = 200
_CLEANED = tuple(
    (lazy_pattern(pattern), replacement)
    for pattern, replacement in (
        (r"\\\\(?=[a-zA-Z])", r"\\"),
        (r"\\(?:left|right|displaystyle|limits|big|Big|bigl|bigr)(?![a-zA-Z])|\\[,;:! ]|\$|\\[()\[\]]|~", " "),
        (r"\\(?:text|mathrm|textbf|mathbf|operatorname)\s?\{\s?(sin|cos|tan|log|ln|exp)\s?\}", r"\\\1"),
        (r"\\(?:text|mbox|textit)\s?\{[^{}]{0,100}\}|\^\s?\{?\\circ\}?|°", " "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\frac\s?(\d)\s?(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s?(\d)\s?(?=\{)", r"\\frac{\1}"),
        (r"\\(?:times|cdot)(?![a-zA-Z])|×|\*\*(?=$)", "*"),
        (r"\\div(?![a-zA-Z])|÷", "/"),
        (r"\*\*", "^"),
        (r"(?<=\d)\{,\}(?=\d)|(?<=\d)\\,(?=\d{3})", ""),
        (r"\\\{", "{"),
        (r"\\\}", "}"),
    )
)
_TOKEN = lazy_pattern(
    r"\s*(?:(?P<number>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)|(?P<name>\\[a-zA-Z]+|sqrt|sin|cos|tan|log|"
    r"ln|exp|pi)|(?P<letter>[a-zA-Zα-ωΑ-Ω](?:_(?:\{\w{1,8}\}|\w))?)|(?P<sign>[-+*/^!()\[\]{}|√_]))"
)
_WORD = lazy_pattern(r"(?<![\\a-zA-Z])(?!sqrt|sin|cos|tan|log|ln|exp|pi)[a-zA-Z]{4,}")
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "ln": cmath.log,
    "log": cmath.log10,
    "exp": cmath.exp,
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
}
_CONSTANTS: dict[str, Value] = {"π": complex(math.pi), "e": complex(math.e), "i": 1j}
_PLACES = (0.731, 1.287, 2.413)
_CLOSERS = {"(": ")", "[": "]", "{": "}", "|": "|"}


class _Unreadable(Exception):
    """The text is no formula that is understood here."""


def exact_value(text: str) -> Fraction | None:
    """Return what a formula without variables and irrational parts is worth; None for any other text."""
    value = _evaluated(text, {})
    return value if isinstance(value, Fraction) else None


def constant_value(text: str) -> Value | None:
    """Return what a formula without variables is worth; None for any other text."""
    return _evaluated(text, {})


def equal_formulas(one: str, other: str) -> bool | None:
    """Return whether two formulas have the same value wherever they are tried; None when one cannot be read.

    Of equations, `2x+3y=6` and `4x+6y=12` are equal: the differences of their sides are proportional.
    """
    if one.count("=") != other.count("=") or one.count("=") > 1:
        return None
    names = set().union(*(_variables(side) for side in (*one.split("="), *other.split("="))))
    ratios = []
    for shift in range(len(_PLACES)):
        place = {name: complex(_PLACES[shift] + 0.618 * number) for number, name in enumerate(sorted(names))}
        first, second = _difference(one, place), _difference(other, place)
        if first is None or second is None:
            return None
        if "=" not in one:
            if not _close(first, second):
                return False
        elif abs(complex(second)) < 1e-12 or abs(complex(first)) < 1e-12:
            return None
        else:
            ratios.append(complex(first) / complex(second))
    return all(_close(ratio, ratios[0]) for ratio in ratios)


def _difference(formula: str, place: Mapping[str, Value]) -> Value | None:
    left, equals, right = formula.partition("=")
    value = _evaluated(left, place)
    if not equals or value is None:
        return value
    other = _evaluated(right, place)
    return None if other is None else complex(value) - complex(other)


def _close(one: Value, other: Value) -> bool:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    first, second = complex(one), complex(other)
    return abs(first - second) <= 1e-9 * max(abs(first), abs(second))


def _variables(text: str) -> set[str]:
    tokens = _tokens(text) or []
    return {token for kind, token in tokens if kind == "letter" and token not in _CONSTANTS}


def _evaluated(text: str, place: Mapping[str, Value]) -> Value | None:
    tokens = _tokens(text)
    if not tokens:
        return None
    try:
        parser = _Parser(tokens, {**_CONSTANTS, **place})
        value = parser.expression()
        parser.expect_end()
        return None if isinstance(value, complex) and not cmath.isfinite(value) else value
    except (_Unreadable, ArithmeticError, ValueError):
        return None


def _tokens(text: str) -> list[tuple[str, str]] | None:
    text = plain_characters(text)
    for pattern, replacement in _CLEANED:
        text = pattern.sub(replacement, text)
    text = text.strip().rstrip(".")
    if not text or len(text) > _LONGEST or _WORD.search(text):
        return None
    tokens = []
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            return None
        tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
        place = found.end()
    return tokens


class _Parser:
    """Works a list of tokens out, by recursive descent."""

    def __init__(self, tokens: list[tuple[str, str]], names: Mapping[str, Value]) -> None:
        self._tokens, self._names = tokens, names
        self._next = self._depth = 0
        self._in_bars = False

    def expect_end(self) -> None:
        if self._next < len(self._tokens):
            raise _Unreadable

    def expression(self) -> Value:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Unreadable
        value = self._term()
        while self._sign() in ("+", "-"):
            value = self._added(value)
        self._depth -= 1
        return value

    def _added(self, value: Value) -> Value:
        sign = self._take()
        other = self._term()
        return _apply(lambda a, b: a + b if sign == "+" else a - b, value, other)

    def _term(self) -> Value:
        value = self._factor()
        while True:
            sign = self._sign()
            if sign in ("*", "/"):
                self._take()
                other = self._factor()
                value = _apply(lambda a, b, s=sign: a * b if s == "*" else a / b, value, other)
            elif self._multiplies():
                value = _apply(lambda a, b: a * b, value, self._power())
            else:
                return value

    def _multiplies(self) -> bool:
        """Whether what comes next multiplies without a sign, as in `2x` and `x(x+1)`; `3 4` does not."""
        if self._next >= len(self._tokens):
            return False
        kind, token = self._tokens[self._next]
        return kind in ("name", "letter") or token in ("(", "√") or (token == "|" and not self._in_bars)

    def _factor(self) -> Value:
        sign = self._sign()
        if sign in ("+", "-"):
            self._take()
            value = self._factor()
            return -value if sign == "-" else value
        return self._power()

    def _power(self) -> Value:
        value = self._atom()
        while self._sign() == "!":
            self._take()
            value = _factorial(value)
        if self._sign() == "^":
            self._take()
            return _raised(value, self._factor())
        return value

    def _atom(self) -> Value:
        kind, token = self._pop()
        if kind == "number":
            return Fraction(token.replace(",", "").rstrip(".") or "0")
        if kind == "letter":
            return self._named(token)
        if kind == "name":
            return self._command(token.lstrip("\\"))
        if token == "√":
            return _raised(self._atom(), Fraction(1, 2))
        if token in _CLOSERS:
            return self._group(token)
        raise _Unreadable

    def _group(self, opener: str) -> Value:
        bars, self._in_bars = self._in_bars, opener == "|"
        value = self.expression()
        self._in_bars = bars
        if self._pop()[1] != _CLOSERS[opener]:
            raise _Unreadable
        if opener != "|":
            return value
        return abs(value) if isinstance(value, Fraction) else complex(abs(value))

    def _named(self, name: str) -> Value:
        if name not in self._names:
            raise _Unreadable
        return self._names[name]

    def _command(self, name: str) -> Value:
        if name == "pi":
            return _CONSTANTS["π"]
        if name in ("frac", "binom"):
            above, below = self._braced(), self._braced()
            if name == "frac":
                return _apply(lambda a, b: a / b, above, below)
            return _binomial(above, below)
        if name == "sqrt":
            root: Value = Fraction(2)
            if self._sign() == "[":
                self._take()
                root = self._group("[")
            return _raised(self._atom(), _apply(lambda a, b: a / b, Fraction(1), root))
        if name in _FUNCTIONS:
            return self._function(name)
        return self._named(name)

    def _function(self, name: str) -> Value:
        base: Value | None = None
        if self._sign() == "_":
            self._take()
            base = self._atom()
        power: Value = Fraction(1)
        if self._sign() == "^":
            self._take()
            power = self._atom()
        value = _FUNCTIONS[name](complex(self._factor()))
        if base is not None:
            value = value / _FUNCTIONS[name](complex(base))
        return _raised(value, power)

    def _braced(self) -> Value:
        if self._sign() != "{":
            raise _Unreadable
        self._take()
        return self._group("{")

    def _sign(self) -> str | None:
        if self._next < len(self._tokens) and self._tokens[self._next][0] == "sign":
            return self._tokens[self._next][1]
        return None

    def _take(self) -> str:
        return self._pop()[1]

    def _pop(self) -> tuple[str, str]:
        if self._next >= len(self._tokens):
            raise _Unreadable
        self._next += 1
        return self._tokens[self._next - 1]


def _apply(operation: Callable[..., Value], one: Value, other: Value) -> Value:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        value = operation(one, other)
        if isinstance(value, Fraction) and value.numerator.bit_length() + value.denominator.bit_length() > _MOST_BITS:
            raise _Unreadable
        return value
    return operation(complex(one), complex(other))


def _raised(value: Value, power: Value) -> Value:
    if isinstance(value, Fraction) and isinstance(power, Fraction):
        if power.denominator == 1:
            bits = value.numerator.bit_length() + value.denominator.bit_length()
            if abs(power) > _LARGEST_EXPONENT or bits * abs(power) > _MOST_BITS:
                raise _Unreadable
            return value ** int(power)
        root = _exact_root(value, power)
        if root is not None:
            return root
        if power.denominator % 2 and value < 0:
            return complex(-(float(-value) ** float(power)) if power.numerator % 2 else float(-value) ** float(power))
    return complex(value) ** complex(power)


def _exact_root(value: Fraction, power: Fraction) -> Fraction | None:
    """Return a square root that is a fraction, raised to the numerator of its power."""
    if power.denominator != 2 or value < 0 or abs(power.numerator) > 100:
        return None
    above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if above**2 != value.numerator or below**2 != value.denominator:
        return None
    return Fraction(above, below) ** power.numerator


def _factorial(value: Value) -> Value:
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 <= value <= _LARGEST_FACTORIAL:
        raise _Unreadable
    return Fraction(math.factorial(int(value)))


def _binomial(above: Value, below: Value) -> Value:
    if not isinstance(above, Fraction) or not isinstance(below, Fraction):
        raise _Unreadable
    if above.denominator != 1 or below.denominator != 1 or not 0 <= below <= above <= _LARGEST_EXPONENT:
        raise _Unreadable
    return Fraction(math.comb(int(above), int(below)))
