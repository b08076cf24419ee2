"""One table of what is remembered: rows of text, bounded in number and in bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from jisi_cli.database import FAULTS, Database
from jisi_cli.errors import InputError
from jisi_cli.paths import data_folder
from jisi_cli.types import whole_characters

Kind = Literal["conversations", "answers", "feedback"]

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "conversations": ("name", "time", "size", "system", "messages"),
    "answers": ("name", "run", "time", "size", "said"),
    "feedback": ("name", "time", "size", "score", "note", "reference", "said"),
}
"""Columns of each table, beside `id`."""
_TYPES = {"size": "INTEGER", "score": "REAL"}
_KIND_WORDS: dict[Kind, str] = {
    "conversations": "conversations",
    "answers": "remembered answers",
    "feedback": "feedback",
}
LARGEST = 16 << 20
"""Bytes of one row; what is longer is not remembered."""
_ALL = 256 << 20
"""Bytes of all rows of a table, about."""
_OFTEN = 20
"""Rows between looks for those that are too many."""


def table_path(kind: Kind) -> Path:
    """Return the path of this user's table."""
    return data_folder() / "history" / f"{kind}.sqlite"


class Table:
    """One table in a file of its own, which many processes write.

    Args:
        kind: Which one.
        most: Names that are kept; the rows of others, least recently written, are deleted.
    """

    def __init__(self, kind: Kind, most: int) -> None:
        self.kind, self._most = kind, most
        columns = ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in COLUMNS[kind])
        create = f"CREATE TABLE IF NOT EXISTS {kind} (id INTEGER PRIMARY KEY, {columns})"
        self._database = Database(table_path(kind), _KIND_WORDS[kind], create)

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row; its `time` and `size` are filled in.

        Raises:
            InputError: It is too long, or the file cannot be written.
        """
        size = sum(len(value.encode("utf-8", "replace")) for value in row.values() if isinstance(value, str))
        if size > LARGEST:
            raise InputError(f"more than {LARGEST >> 20} MiB cannot be remembered")
        filled = {**row, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "size": size}
        names = COLUMNS[self.kind]
        sql = f"INSERT INTO {self.kind} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        try:
            with self._database.changing() as connection:
                added = connection.execute(sql, [filled.get(name) for name in names]).lastrowid or 0
                if added % _OFTEN == 0:
                    connection.execute(self._too_many(), (self._most, _ALL))
        except FAULTS as error:
            raise InputError(f"{self.path} cannot be written ({error}); make room, or move it away") from error

    def delete(self, where: str, values: Sequence[object]) -> None:
        """Delete rows.

        Raises:
            InputError: The file cannot be written.
        """
        try:
            with self._database.changing() as connection:
                connection.execute(f"DELETE FROM {self.kind} WHERE {where}", tuple(values))
        except FAULTS as error:
            raise InputError(f"{self.path} cannot be written ({error}); make room, or move it away") from error

    def select(self, names: Sequence[str], rest: str = "", values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return columns of rows.

        Args:
            names: Columns, and expressions, whose values are not checked.
            rest: What follows the table's name in SQL: conditions, order, a limit.
            values: Values of its question marks.

        Raises:
            InputError: The file is damaged, or cannot be read.
        """
        sql = f"SELECT {', '.join(names)} FROM {self.kind} {rest}"
        # What was typed may hold halves of characters, which no row has.
        wanted = [whole_characters(value) if isinstance(value, str) else value for value in values]
        none: list[tuple[Any, ...]] = []
        rows = self._database.read(lambda connection: connection.execute(sql, wanted).fetchall(), none)
        for row in rows:
            for name, value in zip(names, row, strict=True):
                if name in ("id", *COLUMNS[self.kind]) and not _fits(name, value):
                    raise self.damaged(f"a row's `{name}` is {value!r:.40}")
        return rows

    def damaged(self, how: str) -> InputError:
        """Return what to raise for a row that jisi did not write like that."""
        return InputError(f"{self.path} cannot be read as {_KIND_WORDS[self.kind]} ({how}); move it away")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _too_many(self) -> str:
        """Return SQL that deletes the names beyond the most, and beyond the bytes; never the one written last."""
        return (
            f"DELETE FROM {self.kind} WHERE name IN (SELECT name FROM (SELECT name, "
            "ROW_NUMBER() OVER newest AS place, SUM(SUM(size)) OVER newest AS bytes "
            f"FROM {self.kind} GROUP BY name WINDOW newest AS (ORDER BY MAX(id) DESC)) "
            "WHERE place > ? OR (bytes > ? AND place > 1))"
        )


def from_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return what a column holds as JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _fits(name: str, value: object) -> bool:
    if name in ("id", "size"):
        return isinstance(value, int)
    if name == "score":
        return value is None or (isinstance(value, float) and 0 <= value <= 1)
    return value is None or isinstance(value, str)
