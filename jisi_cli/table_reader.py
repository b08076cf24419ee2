"""Reading tables of TOML or JSON from untrusted files: each value is checked when it is taken."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

from jisi_cli.errors import did_you_mean

T = TypeVar("T")


class TableReader:
    """A table whose values are taken with their types checked; each complaint is a `ValueError` in one line.

    Args:
        data: The table.
        where: What it is called in messages.

    Raises:
        ValueError: It is not a table.
    """

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise ValueError(f"{where} is not a table")
        self.data: dict[str, Any] = data
        self.where = where

    def require(self, *keys: str) -> None:
        """Refuse a table that lacks a key, even one whose value may be null.

        Raises:
            ValueError: It does.
        """
        missing = next((key for key in keys if key not in self.data), None)
        if missing is not None:
            raise ValueError(f"{self.where} lacks `{missing}`")

    def text(self, key: str, *, blank: bool = False) -> str | None:
        """Return a text; None where it is absent or null.

        Args:
            key: Its name.
            blank: Whether it may be empty.
        """
        value = self.data.get(key)
        if value is not None and not (isinstance(value, str) and (blank or value.strip())):
            raise self.problem(key, "must be text in quotes")
        return value

    def whole(self, key: str, least: int, most: int = 2**40) -> int | None:
        """Return a whole number; None where it is absent or null."""
        value = self.data.get(key)
        if value is not None and not (type(value) is int and least <= value <= most):
            limit = f"from {least}" if most == 2**40 else f"from {least} to {most}"
            raise self.problem(key, f"must be a whole number {limit}")
        return value

    def flag(self, key: str) -> bool | None:
        """Return true or false; None where the key is absent."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.problem(key, f"must be true or false, not {value!r}")
        return value

    def one_of(self, key: str, choices: Sequence[str]) -> str | None:
        """Return one of some texts; None where it is absent or null."""
        value = self.data.get(key)
        if value is not None and value not in choices:
            raise self.problem(key, f"must be one of {', '.join(choices)}{did_you_mean(str(value), choices)}")
        found: str | None = value
        return found

    def need_text(self, key: str) -> str:
        """Return a text that must be there."""
        return self._needed(key, self.text(key, blank=True))

    def need_whole(self, key: str, least: int, most: int = 2**40) -> int:
        """Return a whole number that must be there."""
        return self._needed(key, self.whole(key, least, most))

    def need_one_of(self, key: str, choices: Sequence[str]) -> str:
        """Return one of some texts, which must be there."""
        return self._needed(key, self.one_of(key, choices))

    def table(self, key: str) -> TableReader:
        """Return a table within it; an empty one where it is absent."""
        return TableReader(self.data.get(key, {}), f"`{key}`")

    def tables(self, key: str) -> list[TableReader]:
        """Return a list of tables; an empty one where it is absent."""
        value = self.data.get(key, [])
        if not isinstance(value, list):
            raise self.problem(key, "must be a list")
        return [TableReader(item, f"entry {number} of `{key}`") for number, item in enumerate(value, start=1)]

    def names(self) -> Iterator[str]:
        """Yield the keys of a table whose keys are names."""
        for name in self.data:
            if not name.strip():
                raise ValueError(f"{self.where} has a blank name")
            yield name

    def only(self, known: Collection[str]) -> None:
        """Refuse any other key.

        Raises:
            ValueError: There is one.
        """
        unknown = sorted(set(self.data) - set(known))
        if unknown:
            raise ValueError(
                f"{self.where} has an unknown key `{unknown[0]}`{did_you_mean(unknown[0], known)}; "
                f"known keys are {', '.join(sorted(known))}"
            )

    def problem(self, key: str, what: str) -> ValueError:
        """Return the complaint about a value."""
        return ValueError(f"{self.where}: `{key}` {what}")

    def _needed(self, key: str, value: T | None) -> T:
        if value is None:
            raise ValueError(f"{self.where} lacks `{key}`")
        return value
