"""A method's settings behind its name: `moa:layers=2:proposers=4`."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from jisi_cli.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)


def tuned(name: str, defaults: Settings) -> Settings:
    """Return a method's settings with those replaced that its name mentions.

    Args:
        name: A method's name, with `:setting=value` once or several times behind it.
        defaults: A frozen dataclass of whole numbers, numbers and words.

    Raises:
        InputError: The method has no such setting, or the value is of another kind.
    """
    known = {field.name: getattr(defaults, field.name) for field in fields(defaults)}
    changes = {}
    for part in name.split(":")[1:]:
        setting, equals, value = part.partition("=")
        if not equals or setting not in known:
            raise InputError(f"`{name}`: no setting `{part}`; settings are {_shown(known)}")
        changes[setting] = _read(name, setting, value, type(known[setting]))
    return replace(defaults, **changes)


def _read(name: str, setting: str, value: str, kind: Any) -> object:  # noqa: ANN401 - one of int, float, str
    try:
        found = kind(value)
    except ValueError:
        found = None
    if kind is int and (found is None or found < 1):
        raise InputError(f"`{name}`: {setting} is a whole number from 1, not {value!r}")
    if kind is float and (found is None or not 0 <= found < math.inf):
        raise InputError(f"`{name}`: {setting} is a number from 0, not {value!r}")
    return found


def _shown(known: dict[str, object]) -> str:
    return ", ".join(f"{setting}={value}" for setting, value in known.items())
