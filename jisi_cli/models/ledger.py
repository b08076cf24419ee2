"""The call ledger: one row for every call, appended to an SQLite file that outlives the run.

It holds who was asked, why, how many tokens and dollars it took, and a hash of the question; never a
question, an answer or a key. SQLite makes an append whole or absent, also when the process is killed, and
lets many processes write.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jisi_cli.database import FAULTS, Database
from jisi_cli.errors import InputError
from jisi_cli.paths import data_folder
from jisi_cli.types import CallRecord, is_dollars, is_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry(CallRecord):
    """One call, and where it came from. Unknown is None, never 0.

    Attributes:
        run: Which run of jisi made it.
        time: When it ended, in UTC, as ISO 8601.
        command: The command of that run (`ask`, `bank build`, …).
        litellm: LiteLLM's name of the model.
        dataset: The data set the question belongs to; None when it belongs to none.
        query_hash: SHA-256 of the question, in hexadecimal; None when nothing about it may be kept.
        label: What the user called the run (`--label`); None where they did not.
        most_cost_usd: Dollars that it can have cost at most, as the run's own limit counted it: an attempt that was cut
            off, or of which the provider says nothing, at its worst case. None where that is not known, and in rows of
            older versions.
    """

    run: str
    time: str
    command: str
    litellm: str
    dataset: str | None
    query_hash: str | None
    label: str | None = None
    most_cost_usd: float | None = None

    @property
    def counted_usd(self) -> float | None:
        """What counts against a limit of a day or a month, in dollars; None where even the most is not known."""
        return self.cost_usd if self.most_cost_usd is None else self.most_cost_usd


class Spent(NamedTuple):
    """What calls have cost together.

    Attributes:
        usd: Dollars, as limits count them: calls of unknown cost at their worst case.
        unsure_usd: How much of it is not known to have been spent, but may have been.
        unknown: Further calls of unknown cost, of which no worst case is known.
    """

    usd: float
    unsure_usd: float
    unknown: int


_FIRST_COLUMNS = (
    *("run", "time", "command", "role", "model", "litellm", "prompt_tokens", "completion_tokens", "tokens_source"),
    *("cost_usd", "list_cost_usd", "price_source", "seconds", "cached", "attempts", "error", "dataset", "query_hash"),
)
_LATER_COLUMNS = ("label", "most_cost_usd")
"""Columns that versions after 0.2 added, which a ledger may still lack."""
_COLUMNS = (*_FIRST_COLUMNS, *_LATER_COLUMNS)
LEDGER_COLUMNS = frozenset({"id", *_FIRST_COLUMNS})
"""Columns of every ledger since the first version."""
_TYPES = dict.fromkeys(("seconds", "cost_usd", "list_cost_usd", "most_cost_usd"), "REAL") | dict.fromkeys(
    ("prompt_tokens", "completion_tokens", "cached", "attempts"), "INTEGER"
)
_ALWAYS = frozenset({"run", "time", "command", "role", "model", "litellm", "seconds", "cached", "attempts"})
_CREATE = "CREATE TABLE IF NOT EXISTS calls (id INTEGER PRIMARY KEY, {})".format(
    ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in _COLUMNS)
)
_NEWEST = "SELECT MAX(id) FROM calls"
_BETWEEN = "WHERE id > ? AND id <= ? AND time >= ? AND run IS NOT ?"
_INSERT = f"INSERT INTO calls ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


def ledger_path() -> Path:
    """Return where this user's ledger lies."""
    return data_folder() / "ledger" / "calls.sqlite"


class Ledger:
    """The ledger in one file; opened on first use.

    Args:
        path: The SQLite file; what is new of it can be read by its owner alone.
        warn: Receives one note when the ledger cannot be written; the calls go on.

    Attributes:
        on_failure: Told why, when it cannot be written any more; None where nobody depends on it.
    """

    def __init__(self, path: Path, *, warn: Callable[[str], None]) -> None:
        self.path = path
        self._warn = warn
        self._database = Database(path, "a ledger", _CREATE, upgrade=_add_columns)
        self._unusable = False
        self.on_failure: Callable[[str], None] | None = None
        self._sums: dict[tuple[datetime, str | None], tuple[int, Spent]] = {}

    def append(self, entry: LedgerEntry) -> None:
        """Write one row; a ledger that cannot be written is reported once and then left alone."""
        if self._unusable:
            return
        try:
            with self._database.changing() as connection:
                connection.execute(_INSERT, [getattr(entry, column) for column in _COLUMNS])
        except (*FAULTS, InputError) as error:
            self._unusable = True
            self._warn(f"the ledger at {self.path} cannot be written ({error}); calls are not booked")
            if self.on_failure is not None:
                self.on_failure(str(error))

    def why_unwritable(self) -> str | None:
        """Return why nothing can be booked, having tried to begin; None where it can."""
        try:
            with self._database.changing() as connection:
                connection.execute("BEGIN IMMEDIATE")
        except (*FAULTS, InputError) as error:
            return str(error)
        return None

    def rows(self, run: str | None = None, since: str | None = None) -> Iterator[LedgerEntry]:
        """Yield the rows in the order they were written.

        Args:
            run: Yield those of one run only.
            since: Yield those from this moment on only, written as rows write it.

        Raises:
            InputError: The file is not a ledger this version can read.
        """
        wanted = {"run = ?": run, "time >= ?": since}
        given = {condition: value for condition, value in wanted.items() if value is not None}
        where, values = f"WHERE {' AND '.join(given)}" if given else "", tuple(given.values())
        found: list[Any] = self._database.read(lambda connection: _select(connection, where, values), [])
        for row in found:
            yield self._entry(dict(zip(_COLUMNS, row, strict=True)))

    def spent_since(self, start: datetime, but: str | None = None) -> Spent:
        """Return what the calls since a moment have cost; asked again, it reads only what has come since.

        Args:
            start: The moment.
            but: A run whose calls are left out; None for none.

        Raises:
            InputError: The file is not a ledger this version can read.
        """
        first = start.astimezone(UTC).isoformat(timespec="milliseconds")
        last, before = self._sums.get((start, but), (0, Spent(0.0, 0.0, 0)))
        newest: int = self._database.read(lambda connection: connection.execute(_NEWEST).fetchone()[0] or 0, 0)
        if newest < last:  # it has been erased meanwhile
            last, before = 0, Spent(0.0, 0.0, 0)
        values = (last, newest, first, but)
        found: list[Any] = self._database.read(lambda connection: _select(connection, _BETWEEN, values), [])
        entries = [self._entry(dict(zip(_COLUMNS, row, strict=True))) for row in found]
        pairs = [(entry.counted_usd, entry.cost_usd or 0.0) for entry in entries]
        counted = [(most, known) for most, known in pairs if most is not None]
        usd, unsure = math.fsum(most for most, _ in counted), math.fsum(most - known for most, known in counted)
        spent = Spent(before.usd + usd, before.unsure_usd + unsure, before.unknown + len(pairs) - len(counted))
        self._sums[start, but] = newest, spent
        return spent

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _entry(self, values: dict[str, Any]) -> LedgerEntry:
        for name, value in values.items():
            if not _fits(name, value):
                raise InputError(
                    f"{self.path} cannot be read as a ledger (a call's `{name}` is {value!r:.40}); move it away"
                )
        return LedgerEntry(**{**values, "cached": bool(values["cached"])})


def _columns_of(connection: sqlite3.Connection) -> set[str]:
    return {row[1] for row in connection.execute("PRAGMA table_info(calls)")}


def _add_columns(connection: sqlite3.Connection) -> None:
    """Give a ledger of an older version the columns that it lacks; older versions pass over them."""
    there = _columns_of(connection)
    for name in (name for name in _LATER_COLUMNS if name not in there):
        try:
            with connection:
                connection.execute(f"ALTER TABLE calls ADD COLUMN {name} {_TYPES.get(name, 'TEXT')}")
        except sqlite3.Error:
            # Another process was first.
            if name not in _columns_of(connection):
                raise


def _select(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[Any]:
    """Return the rows of a ledger, one that lacks columns and cannot be changed included."""
    there = _columns_of(connection)
    columns = [name if name in there or name in _FIRST_COLUMNS else "NULL" for name in _COLUMNS]
    return connection.execute(f"SELECT {', '.join(columns)} FROM calls {where} ORDER BY id", values).fetchall()


def _fits(name: str, value: object) -> bool:
    """Whether a column may hold a value: SQLite keeps any kind in any column."""
    if value is None:
        return name not in _ALWAYS
    match _TYPES.get(name, "TEXT"):
        case "INTEGER":
            return is_tokens(value)
        case "REAL":
            if name.endswith("cost_usd"):
                return is_dollars(value)
            return isinstance(value, int | float) and math.isfinite(value)
        case _:
            return isinstance(value, str)
