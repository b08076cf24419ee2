"""What was submitted to providers, written down before anything else happens, so that nothing is submitted twice.

A row about a batch is there before its file is uploaded; the provider's ids are added as they come. A process that
was killed in between leaves a row without an id, and the next one asks the provider whether it has a batch of that
tag. The journal holds hashes, ids and dollars: no question, no answer, no key. A hash of each key, made with a secret
of the journal's own, tells accounts apart.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jisi_cli.database import FAULTS, Database
from jisi_cli.errors import InputError
from jisi_cli.paths import data_folder, own_folder
from jisi_cli.types import is_dollars

if TYPE_CHECKING:
    from filelock import FileLock

_CREATE = """
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY, tag TEXT NOT NULL UNIQUE, model TEXT NOT NULL, content TEXT NOT NULL,
    attempt INTEGER NOT NULL, began TEXT NOT NULL, file_id TEXT, batch_id TEXT, ended TEXT, account TEXT,
    deleted TEXT
);
CREATE TABLE IF NOT EXISTS requests (
    batch INTEGER NOT NULL, key TEXT NOT NULL, worst_usd REAL, ended INTEGER NOT NULL DEFAULT 0,
    booked INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, key)
) WITHOUT ROWID;
"""
"""A request has ended when its result is kept in the cache and booked in the ledger; a batch, when all of its requests
have. What lies of it at the provider is deleted then. One that is only booked, because the cache could not be written,
is collected once more, and booked no more."""
_FIELDS = "tag, model, content, attempt, began, file_id, batch_id, account"
_LATER = (
    ("batches", "account", "TEXT"),
    ("batches", "deleted", "TEXT"),
    ("requests", "booked", "INTEGER NOT NULL DEFAULT 0"),
)
"""Columns that came later, with their tables; older versions pass over them."""
_REQUEST = "batch = (SELECT id FROM batches WHERE tag = ?) AND key = ?"
_CREATE_SECRET = "CREATE TABLE IF NOT EXISTS secret (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL)"
_PROMISE = timedelta(hours=72)
"""How long a batch may still cost something: most providers end one within a day, the Gemini API within two."""
_PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch whose results have not all been taken in.

    Attributes:
        tag: Our own name of it, which the provider keeps beside it.
        model: LiteLLM's name of the model, for messages.
        content: SHA-256 of its file, in hexadecimal.
        attempt: How often its requests have been submitted, this batch included.
        began: When it was written down.
        file_id: The provider's name of its file, or, where there are no files, of the newest batch before it; None
            before it is known.
        batch_id: The provider's name of it; None before it is known.
        worst: The most that each request without a result can cost, in dollars by cache key; None where unknown.
        account: With which account it was submitted, as `BatchJournal.account` tells them apart; None in rows of older
            versions.
        is_presumed: Whether the provider's name of it is what it may be as far as can be known before that one ends.
    """

    tag: str
    model: str
    content: str
    attempt: int
    began: datetime
    file_id: str | None
    batch_id: str | None
    worst: Mapping[str, float | None]
    account: str | None = None
    is_presumed: bool = False


@dataclass(frozen=True, slots=True)
class Uncollected:
    """Requests of a batch whose results have not been collected.

    Attributes:
        model: LiteLLM's name of the model.
        batch_id: The provider's name of the batch; None before it is known.
        since: When it was submitted.
        requests: How many.
        most_usd: The most that they can cost; None where that is not known of all.
    """

    model: str
    batch_id: str | None
    since: str
    requests: int
    most_usd: float | None


def journal_folder() -> Path:
    """Return where this user's journal of batches lies."""
    return data_folder() / "batches"


class BatchJournal:
    """The journal in one file; opened on first use, and shared by all processes of a user.

    Args:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = Database(folder / "journal.sqlite", "a journal of batches", _CREATE, upgrade=_add_columns)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @asynccontextmanager
    async def alone(self, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Hold what one process at a time may do: submit, or take in results.

        The system releases it however the process ends.

        Args:
            on_wait: Called once if another process holds it.

        Raises:
            InputError: The folder cannot be written.
        """
        from filelock import FileLock

        with self._writable():
            own_folder(self._folder)
        lock, told = FileLock(self._folder / "journal.lock", mode=0o600, thread_local=False), False
        while not self._acquired(lock):
            if not told:
                on_wait()
            told = True
            await asyncio.sleep(_PAUSE)
        try:
            yield
        finally:
            lock.release()

    def _acquired(self, lock: FileLock) -> bool:
        from filelock import Timeout

        with self._writable():
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return False
        return True

    def open_with(self, keys: Collection[str]) -> list[OpenBatch]:
        """Return the batches that hold a request of these keys and have brought no result for it yet, oldest first.

        Raises:
            InputError: The journal cannot be read.
        """
        wanted, found = frozenset(keys), dict[int, dict[str, float | None]]()
        for batch, key, worst in self._rows(
            "SELECT batch, key, worst_usd FROM requests WHERE NOT ended ORDER BY batch, key"
        ):
            if key in wanted:
                found.setdefault(batch, {})[key] = _most(worst)
        rows = self._rows(f"SELECT id, {_FIELDS} FROM batches ORDER BY id")
        return [_batch(row[1:], found[row[0]]) for row in rows if row[0] in found]

    def uncollected(self) -> list[Uncollected]:
        """Return what is out at providers, oldest first.

        Raises:
            InputError: The journal cannot be read.
        """
        rows = self._rows(
            "SELECT model, batch_id, began, COUNT(*), CASE COUNT(worst_usd) WHEN COUNT(*) THEN SUM(worst_usd) END "
            "FROM requests JOIN batches ON batches.id = batch WHERE NOT requests.ended GROUP BY batch ORDER BY batch"
        )
        return [Uncollected(*row) for row in rows]

    def left_at_providers(self) -> list[OpenBatch]:
        """Return the batches that have ended, and may still lie at the provider, with questions and answers.

        Raises:
            InputError: The journal cannot be read.
        """
        rows = self._rows(
            f"SELECT {_FIELDS} FROM batches WHERE ended IS NOT NULL AND deleted IS NULL "
            "AND batch_id IS NOT NULL ORDER BY id"
        )
        return [_batch(row, {}) for row in rows]

    def is_to_be_deleted(self, tag: str) -> bool:
        """Whether a batch has ended and may still lie at the provider.

        Raises:
            InputError: The journal cannot be read.
        """
        return any(batch.tag == tag for batch in self.left_at_providers())

    def requests_of(self, tag: str) -> dict[str, bool]:
        """Return whether each request of a batch has ended; empty once all have.

        Raises:
            InputError: The journal cannot be read.
        """
        rows = self._rows(
            "SELECT key, requests.ended FROM requests JOIN batches ON batches.id = batch WHERE tag = ?", tag
        )
        return {key: bool(ended) for key, ended in rows}

    def names(self) -> frozenset[str]:
        """Return the providers' names of all batches that have one.

        Raises:
            InputError: The journal cannot be read.
        """
        return frozenset(name for (name,) in self._rows("SELECT batch_id FROM batches WHERE batch_id IS NOT NULL"))

    def promised_usd(self, since: datetime, but: Collection[tuple[str, str]] = ()) -> float:
        """Return what batches can still cost at most: what no ledger has yet.

        Args:
            since: Batches that began before are left out, unless they can still be at work.
            but: The tag and the key of each request that is counted elsewhere.

        Raises:
            InputError: The journal cannot be read.
        """
        first = min(since.astimezone(UTC), datetime.now(UTC) - _PROMISE)
        rows = self._rows(
            "SELECT tag, key, worst_usd FROM requests JOIN batches ON batches.id = batch "
            "WHERE NOT requests.ended AND began >= ?",
            first.isoformat(timespec="milliseconds"),
        )
        return math.fsum(_most(worst) or 0.0 for tag, key, worst in rows if (tag, key) not in but)

    def account(self, key: str) -> str:
        """Return what tells the account of a key from others, here and nowhere else.

        Raises:
            InputError: The journal cannot be written.
        """
        with self._changing() as connection:
            connection.execute(_CREATE_SECRET)
            connection.execute("INSERT OR IGNORE INTO secret VALUES (1, ?)", (secrets.token_bytes(32),))
            (secret,) = connection.execute("SELECT value FROM secret").fetchone()
        return hmac.new(bytes(secret), key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:16]

    def about_to_submit(
        self,
        tag: str,
        model: str,
        content: str,
        attempt: int,
        worst: Mapping[str, float | None],
        account: str | None = None,
    ) -> OpenBatch:
        """Write down a batch before its file is uploaded; it is on the disk when this returns.

        Raises:
            InputError: The journal cannot be written.
        """
        began = datetime.now(UTC)
        with self._changing() as connection:
            row = (tag, model, content, attempt, began.isoformat(timespec="milliseconds"), account)
            cursor = connection.execute(
                "INSERT INTO batches (tag, model, content, attempt, began, account) VALUES (?, ?, ?, ?, ?, ?)", row
            )
            requests = ((cursor.lastrowid, key, usd) for key, usd in worst.items())
            connection.executemany("INSERT INTO requests (batch, key, worst_usd) VALUES (?, ?, ?)", requests)
        return OpenBatch(tag, model, content, attempt, began, None, None, dict(worst), account)

    def uploaded(self, tag: str, file_id: str) -> None:
        """Note the provider's name of a batch's file."""
        self._set(tag, "file_id", file_id)

    def created(self, tag: str, batch_id: str) -> None:
        """Note the provider's name of a batch."""
        self._set(tag, "batch_id", batch_id)

    def deleted(self, tag: str) -> None:
        """Note that nothing of a batch lies at the provider any more, or nothing that is to be deleted."""
        self._set(tag, "deleted", datetime.now(UTC).isoformat(timespec="milliseconds"))

    def drop(self, tag: str) -> None:
        """Forget a batch that the provider never had."""
        with self._changing() as connection:
            connection.execute("DELETE FROM requests WHERE batch = (SELECT id FROM batches WHERE tag = ?)", (tag,))
            connection.execute("DELETE FROM batches WHERE tag = ?", (tag,))

    def is_booked(self, tag: str, key: str) -> bool:
        """Whether what a request cost is in the ledger, though its result could not be kept.

        Raises:
            InputError: The journal cannot be read.
        """
        return bool(self._rows(f"SELECT 1 FROM requests WHERE {_REQUEST} AND booked", tag, key))

    def booked(self, tag: str, key: str) -> None:
        """Note that a request is booked and can cost no more, and that its result is not kept."""
        with self._changing(outlives_a_power_cut=False) as connection:
            connection.execute(f"UPDATE requests SET booked = 1, worst_usd = 0 WHERE {_REQUEST}", (tag, key))

    def settle(self, tag: str, keys: Iterable[str]) -> None:
        """Note that requests have their results, kept and booked; without any left the batch has ended."""
        with self._changing(outlives_a_power_cut=False) as connection:
            row = connection.execute("SELECT id FROM batches WHERE tag = ?", (tag,)).fetchone()
            if row is None:  # somebody has moved the journal away meanwhile
                return
            (batch,) = row
            connection.executemany(
                "UPDATE requests SET ended = 1 WHERE batch = ? AND key = ?", ((batch, key) for key in keys)
            )
            left = "SELECT 1 FROM requests WHERE batch = ? AND NOT ended LIMIT 1"
            if connection.execute(left, (batch,)).fetchone() is None:
                moment = datetime.now(UTC).isoformat(timespec="milliseconds")
                connection.execute("UPDATE batches SET ended = ? WHERE id = ?", (moment, batch))
                connection.execute("DELETE FROM requests WHERE batch = ?", (batch,))

    def _set(self, tag: str, column: str, value: str) -> None:
        with self._changing() as connection:
            connection.execute(f"UPDATE batches SET {column} = ? WHERE tag = ?", (value, tag))

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self._database.read(lambda connection: connection.execute(query, values).fetchall(), [])

    @contextmanager
    def _changing(self, *, outlives_a_power_cut: bool = True) -> Iterator[sqlite3.Connection]:
        with self._writable(), self._database.changing() as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if outlives_a_power_cut else 'NORMAL'}")
            yield connection

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except FAULTS as error:
            raise InputError(
                f"{self._folder} cannot be written ({error}); without it a batch could be submitted twice: "
                "make room or allow it, or leave --batch out"
            ) from error


def _add_columns(connection: sqlite3.Connection) -> None:
    """Give a journal of an older version the columns that it lacks."""
    for table, column, kind in _LATER:
        try:
            with connection:
                if column not in _columns(connection, table):
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        except sqlite3.Error:
            # Another process was first.
            if column not in _columns(connection, table):
                raise


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _batch(row: tuple[Any, ...], worst: Mapping[str, float | None]) -> OpenBatch:
    tag, model, content, attempt, began, file_id, batch_id, account = row
    try:
        moment = datetime.fromisoformat(began)
    except (TypeError, ValueError):
        raise _damaged(f"a batch began at {began!r:.40}") from None
    if moment.tzinfo is None:
        raise _damaged(f"a batch began at {began!r:.40}")
    if not isinstance(attempt, int) or attempt < 1:
        raise _damaged(f"a batch was submitted {attempt!r:.40} times")
    for name in (file_id, batch_id):
        if not isinstance(name, str | None):
            raise _damaged(f"a provider calls a batch {name!r:.40}")
    return OpenBatch(str(tag), str(model), str(content), attempt, moment, file_id, batch_id, worst, account)


def _most(usd: object) -> float | None:
    """Return the most that a request can cost, as a row says it."""
    if usd is None or is_dollars(usd):
        return usd
    raise _damaged(f"a request may cost {usd!r:.40} dollars")


def _damaged(how: str) -> InputError:
    return InputError(f"the journal of batches is damaged ({how}); move it away")
