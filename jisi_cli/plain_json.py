"""Plain JSON: what goes out has no NaN; what comes from elsewhere is within bounds, and a copy of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jisi_cli.errors import InputError

_MOST_LEVELS = 64
_MOST_BYTES = 1_000_000


def plain_json(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value with NaN and infinities as null, so that every reader accepts it."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return value


def own_json(value: object, where: str) -> Any:  # noqa: ANN401 - any JSON
    """Return a copy of a value that JSON can hold.

    Args:
        value: The value.
        where: What it is called in an error.

    Raises:
        InputError: It is no JSON, is nested too deeply, or is too long.
    """
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [part for inner in level for part in _parts(inner)]
        if not level:
            break
    else:
        raise InputError(f"{where} is nested more than {_MOST_LEVELS} levels deep")
    try:
        written = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError):
        raise InputError(f"{where} must be plain JSON") from None
    if len(written) > _MOST_BYTES:
        raise InputError(f"{where} is longer than {_MOST_BYTES // 1000:,} kB")
    return json.loads(written)


def _parts(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []
