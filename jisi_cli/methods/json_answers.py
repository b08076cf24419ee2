"""Answers that are JSON: the same object, however it is spaced and its keys are ordered, is the same answer."""

from __future__ import annotations

import json
from typing import Any

from jisi_cli.types import whole_characters

_MOST_WORDS = 4
"""Words of an answer that is compared; what is said in more can be said in others."""
_LARGEST = 2**53
"""Beyond it a float stands for several whole numbers."""


def json_answer(text: str, marked: str | None) -> str | None:
    """Return the answer that JSON is, in the one form that all equal JSON has.

    Numbers are equal by value, as in JSON Schema. Open text can say the same in other words, so that beside it only
    what is marked as the answer is compared.

    Args:
        text: What a model answered.
        marked: The answer that is marked in it, as in a field `answer`; None without one.

    Returns:
        The form; `marked` where there is open text, or nothing but the marked answer; None where neither is known.
    """
    try:
        value = json.loads(text, parse_float=_number, parse_constant=_refuse)
        if _has_open_text(value) or (marked is not None and isinstance(value, dict) and len(value) == 1):
            return marked
        return whole_characters(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    except (ValueError, RecursionError):
        return marked


def _number(digits: str) -> float | int:
    found = float(digits)
    return int(found) if abs(found) < _LARGEST and found.is_integer() else found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _has_open_text(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return len(value.split()) > _MOST_WORDS
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_has_open_text, parts))
