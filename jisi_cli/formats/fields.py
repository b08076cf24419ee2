"""Loosely typed values from files, made into the types of a `Record`. Unknown is None, never 0."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal

from jisi_cli.formats.record import Row, Split, Status, Unusable
from jisi_cli.types import MOST_TOKENS, is_dollars

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_UNKNOWN_WORDS = {"", "nan", "null", "none", "na", "n/a"}


def first(row: Row, names: tuple[str, ...]) -> object:
    """Return the value of the first of `names` that is in the row and not None; None when there is none."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def text(value: object) -> str | None:
    """Return text as it is, whole numbers without `.0`, lists or objects as JSON, and a date as ISO 8601 writes it.

    Bytes are read as UTF-8, which a Parquet column that is not marked as text holds as a rule. Half of a surrogate
    pair, which models do emit and which no UTF-8 file can hold, becomes U+FFFD.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    # Not by the rest of a division, which a decimal of more than 28 digits refuses.
    if (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, Decimal) and value == value.to_integral_value()
    ):
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    elif isinstance(value, bool | int | float | list | Mapping):
        value = json.dumps(value, ensure_ascii=False, default=str)
    elif not isinstance(value, str):
        value = str(value)  # JSON has no dates and no decimals, and would put quotes around them
    if not _HALF_PAIR.search(value):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def required(value: object, what: str) -> str:
    """Return text that must be there.

    Raises:
        Unusable: It is missing, blank, or not a single value.
    """
    if isinstance(value, Mapping | list):
        raise Unusable(f"{what} must be text, not a list or an object")
    found = text(value)
    if found is None or not found.strip():
        raise Unusable(f"no {what}")
    return found


def question(row: Row, names: tuple[str, ...]) -> str:
    """Return the first of `names` that holds text.

    Raises:
        Unusable: None does, or one holds something that is no single value.
    """
    for name in names:
        if row.get(name) not in (None, ""):
            return required(row[name], "question")
    raise Unusable("no question")


def name(value: object, what: str, default: str) -> str:
    """Return an identifier as text; the default when it is missing or blank.

    Raises:
        Unusable: It is a list, an object or a truth value.
    """
    if isinstance(value, Mapping | list | bool):
        raise Unusable(f"{what} must be text or a number, not {shown(value)}")
    found = text(value)
    return found if found and found.strip() else default


def order(index: str) -> int | None:
    """Return the numeric order that an index stands for: its value when it is an integer, else None."""
    return int(index) if _INTEGER.fullmatch(index) else None


def number(value: object, what: str) -> float | None:
    """Return a finite number; numbers and truth values may be written as text; NaN and blank are None.

    Raises:
        Unusable: It is no number, or infinite.
    """
    if isinstance(value, str):
        value = _spelled(value, what)
    if value is None:
        return None
    if not isinstance(value, int | float | Decimal):
        raise Unusable(f"{what} {shown(value)} is not a number")
    if isinstance(value, float) and math.isnan(value):
        return None
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if math.isinf(found):
        raise Unusable(f"{what} is infinite")
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
        raise Unusable(f"{what} {shown(value)} is not a number") from None


def score(value: object) -> float | None:
    """Return a correctness in [0, 1]; None when unknown.

    Raises:
        Unusable: It is no number, or outside [0, 1].
    """
    found = number(value, "score")
    if found is not None and not 0 <= found <= 1:
        raise Unusable(f"score {found:g} is not between 0 and 1")
    return found


def tokens(value: object, what: str) -> int | None:
    """Return a count of tokens; None when unknown.

    Raises:
        Unusable: It is no whole number from 0.
    """
    if isinstance(value, bool):
        raise Unusable(f"{what} {shown(value)} is not a number")
    found = number(value, what)
    if found is None:
        return None
    if found != int(found) or not 0 <= found <= MOST_TOKENS:
        raise Unusable(f"{what} {found:g} is not a count of tokens")
    return int(found)


def dollars(value: object) -> float | None:
    """Return a cost in USD; None when unknown.

    Raises:
        Unusable: It is no number, negative, or more than any answer costs.
    """
    found = number(value, "cost")
    if found is not None and not is_dollars(found):
        raise Unusable(f"cost {found:g} is negative" if found < 0 else f"cost {found:g} is more than any answer costs")
    return found


def status(response: str | None, verdict: float | None, stated: object = None) -> Status:
    """Return the status of an answer: what the source states, corrected where its own values contradict it.

    Args:
        response: The recorded text; None when the source has none.
        verdict: The recorded score.
        stated: What the source itself says; None when it says nothing.

    Raises:
        Unusable: The source states a status that jisi does not know.
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
            raise Unusable(f"status {shown(said)} is none of ok, missing, failed, unscored")


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
