"""Loosely typed values from files, turned into the types of a `Record`. Unknown is None, never 0."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import ClassVar, TypeVar

from jisi_cli.formats.issues import ImportIssue, Location, OnIssue, Row, UnusableError
from jisi_cli.formats.record import Split, Status
from jisi_cli.types import MOST_TOKENS, is_dollars, is_tokens

_NAMED = 12
"""Columns that a message names."""
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_UNKNOWN_WORDS = {"", "nan", "null", "none", "na", "n/a"}

Number = TypeVar("Number", int, float)


def first(row: Row, names: tuple[str, ...]) -> object:
    """Return the value of the first of `names` that is in the row and not None; None when there is none."""
    for name in names:
        value = row.get(name)
        if value is not None:
            return value
    return None


def text(value: object) -> str | None:
    """Return text as it is, whole numbers without `.0`, lists or objects as JSON, and a date as ISO 8601 writes it.

    Bytes are read as UTF-8: a Parquet column that is not marked as text usually holds it. Half of a surrogate pair,
    which models do emit and which UTF-8 cannot hold, becomes U+FFFD.
    """
    found = value if isinstance(value, str) else _written(value)
    if found is None or found.isascii():
        return found
    try:
        found.encode()  # a third of the time of a search
    except UnicodeEncodeError:
        return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return found


def _written(value: object) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    # No division here: a decimal of more than 28 digits refuses it.
    if (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, Decimal) and value == value.to_integral_value()
    ):
        value = int(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool | int | float | list | Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)  # JSON has no dates and no decimals, and would put quotes around them


def required(value: object, what: str) -> str:
    """Return text that must not be missing.

    Raises:
        UnusableError: It is missing, blank, or not a single value.
    """
    if not isinstance(value, str) and isinstance(value, Mapping | list):
        raise UnusableError(f"{what} must be text, not a list or an object")
    found = text(value)
    if found is None or not found.strip():
        raise UnusableError(f"no {what}")
    return found


def question(row: Row, names: tuple[str, ...]) -> str:
    """Return the first of `names` that holds text.

    Raises:
        UnusableError: None of them does, or one holds a list or an object.
    """
    for name in names:
        if row.get(name) not in (None, ""):
            return required(row[name], "question")
    raise UnusableError("no question")


def name(value: object, what: str, default: str) -> str:
    """Return an identifier as text; the default when it is missing or blank.

    Raises:
        UnusableError: It is a list, an object or a truth value.
    """
    if not isinstance(value, str) and isinstance(value, Mapping | list | bool):
        raise UnusableError(f"{what} must be text or a number, not {shown(value)}")
    found = text(value)
    return found if found and found.strip() else default


def order(index: str) -> int | None:
    """Return the numeric order that an index stands for: its value when it is an integer, else None."""
    return int(index) if _INTEGER.fullmatch(index) else None


def number(value: object, what: str) -> float | None:
    """Return a finite number; numbers and truth values may be written as text; NaN and blank are None.

    Raises:
        UnusableError: It is not a number, or infinite.
    """
    if isinstance(value, str):
        value = _spelled(value, what)
    if value is None:
        return None
    if not isinstance(value, int | float | Decimal):
        raise UnusableError(f"{what} {shown(value)} is not a number")
    if isinstance(value, float) and math.isnan(value):
        return None
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if math.isinf(found):
        raise UnusableError(f"{what} is infinite")
    return found


def _spelled(value: str, what: str) -> float | None:
    word = value.strip().lower()
    if word in _UNKNOWN_WORDS:
        return None
    if word in ("true", "false"):
        return float(word == "true")
    try:
        return float(word)
    except ValueError:
        raise UnusableError(f"{what} {shown(value)} is not a number") from None


def score(value: object) -> float | None:
    """Return a correctness in [0, 1]; None when unknown.

    Raises:
        UnusableError: It is not a number, or outside [0, 1].
    """
    found = number(value, "score")
    if found is not None and not 0 <= found <= 1:
        raise UnusableError(f"score {found:g} is not between 0 and 1")
    return found


def tokens(value: object, what: str) -> int | None:
    """Return a count of tokens; None when unknown.

    Raises:
        UnusableError: It is not a whole number from 0.
    """
    if isinstance(value, bool):
        raise UnusableError(f"{what} {shown(value)} is not a number")
    found = number(value, what)
    if found is None:
        return None
    if found != int(found) or not 0 <= found <= MOST_TOKENS:
        raise UnusableError(f"{what} {found:g} is not a count of tokens")
    return int(found)


def dollars(value: object) -> float | None:
    """Return a cost in USD; None when unknown.

    Raises:
        UnusableError: It is not a number, negative, or more than any answer costs.
    """
    found = number(value, "cost")
    if found is not None and not is_dollars(found):
        raise UnusableError(
            f"cost {found:g} is negative" if found < 0 else f"cost {found:g} is more than any answer costs"
        )
    return found


def status(response: str | None, verdict: float | None, stated: object = None) -> Status:
    """Return the status of an answer: what the source states, corrected where its own values contradict it.

    Args:
        response: The recorded text; None when the source has none.
        verdict: The recorded score.
        stated: What the source itself says; None when it says nothing.

    Raises:
        UnusableError: The source states a status that jisi does not know.
    """
    said = (text(stated) or "").strip().lower()
    match said:
        case "failed" | "missing":
            return "failed" if said == "failed" else "missing"
        case "" | "ok" | "unscored":
            if verdict is not None:
                return "ok"
            return "missing" if response is None else "unscored"
        case _:
            raise UnusableError(f"status {shown(said)} is none of ok, missing, failed, unscored")


def split(value: object) -> Split | None:
    """Return which side of the paper's split a source puts a question on; None for any other word."""
    match value:
        case "train":
            return "train"
        case "test":
            return "test"
        case _:
            return None


def shown(value: object) -> str:
    """Return a value short enough for a one-line message."""
    written = text(value) or "nothing"
    written = " ".join(written.split())
    return f"`{written[:40]}…`" if len(written) > 41 else f"`{written}`"


def shown_names(columns: Iterable[object]) -> str:
    """Return the names of columns in one line, the first twelve of them."""
    first = [shown(column) for column in islice(columns, _NAMED + 1)]
    return ", ".join(first[:_NAMED]) + (", …" if len(first) > _NAMED else "")


class Numbers:
    """Reads the numbers of answers: an answer is kept without an unusable one, and one warning counts them."""

    _KEPT: ClassVar[dict[str, str]] = {
        "score": "such answers are unscored: {}; `jisi bank grade` grades them",
        "tokens": "such counts of tokens are unknown: {}",
        "cost": "such costs are unknown: {}",
    }

    def __init__(self) -> None:
        self._unusable: dict[tuple[str, str], tuple[ImportIssue, int]] = {}

    def score(self, value: object, location: Location) -> float | None:
        """Return a correctness in [0, 1]; None when unknown or unusable."""
        if type(value) is float and 0 <= value <= 1:  # as nearly all are
            return value
        return self._read("score", location, lambda: score(value))

    def tokens(self, value: object, what: str, location: Location) -> int | None:
        """Return a count of tokens; None when unknown or unusable."""
        if type(value) is int and is_tokens(value):
            return value
        return self._read("tokens", location, lambda: tokens(value, what))

    def dollars(self, value: object, location: Location) -> float | None:
        """Return a cost in USD; None when unknown or unusable."""
        if type(value) is float and is_dollars(value):
            return value
        return self._read("cost", location, lambda: dollars(value))

    def report(self, on_issue: OnIssue) -> None:
        """Report each kind of unusable number once per file: the first one, and how many there are."""
        for (_, kind), (first, count) in self._unusable.items():
            message = f"{first.message}; {self._KEPT[kind].format(f'{count:,}')}"
            on_issue(ImportIssue(first.source, first.line, message, doubt=True))
        self._unusable.clear()

    def _read(self, kind: str, location: Location, read: Callable[[], Number | None]) -> Number | None:
        try:
            return read()
        except UnusableError as why:
            first, count = self._unusable.get((location.source, kind), (location.issue(why), 0))
            self._unusable[location.source, kind] = first, count + 1
            return None
