"""An SQLite file of jisi's own, which outlives the run: its owner alone reads it, and many processes write to it."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from jisi_cli.errors import InputError
from jisi_cli.files import connect_unwritable, is_refused
from jisi_cli.paths import own_file

T = TypeVar("T")

FAULTS = (OSError, sqlite3.Error, UnicodeDecodeError)
"""What goes wrong with such a file: the system refuses, or it is damaged."""
_BUSY_SECONDS = 30.0
_VERSION = 1
"""Of what is in these files; a file of a later version is refused."""


class Database:
    """One file, opened on first use; SQLite makes a change whole or absent, also when the process is killed.

    Args:
        path: The file; what is new of it can be read by its owner alone.
        what: What it is, for messages.
        create: SQL that makes its tables, if there are none.
        upgrade: Brings a file of an earlier version up to date.
    """

    def __init__(
        self,
        path: Path,
        what: str,
        create: str,
        *,
        upgrade: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self.path = path
        self._what, self._create, self._upgrade = what, create, upgrade
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection; what is written through it is there as a whole when the context ends.

        Raises:
            OSError, sqlite3.Error, UnicodeDecodeError: It cannot be written.
            InputError: A newer jisi wrote it.
        """
        with self._lock, self._opened() as connection:
            yield connection

    def read(self, query: Callable[[sqlite3.Connection], T], default: T) -> T:
        """Return what a query finds, also where SQLite may not write the index that readers share.

        Args:
            query: Given a connection.
            default: What it finds where there is no file.

        Raises:
            InputError: The file cannot be read, or is none that this version can read.
        """
        if not self.path.exists():
            return default
        try:
            with self._lock:
                return self._read(query)
        except FAULTS as error:
            remedy = "make room or allow it, and try again" if is_refused(error) else "move it away"
            raise InputError(f"{self.path} cannot be read as {self._what} ({error}); {remedy}") from error

    def close(self) -> None:
        """Close the file; it is opened again when it is used again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._opened() as connection:
                return query(connection)
        except sqlite3.Error as error:
            if not is_refused(error):
                raise
        with closing(connect_unwritable(self.path)) as connection:
            self._check_version(connection)
            return query(connection)

    def _check_version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > _VERSION:
            raise InputError(f"{self.path} was written by a newer jisi (format {version}); upgrade jisi")
        return version

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        own_file(self.path)
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            version = self._check_version(connection)
            _write_ahead(connection)
            if version == 0:
                with connection:
                    connection.executescript(self._create)
                    connection.execute(f"PRAGMA user_version = {_VERSION}")
            elif self._upgrade is not None:
                self._upgrade(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        # Closed in any case when Python ends: what is left beside the file needs the right to write to be read.
        weakref.finalize(self, connection.close)
        return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers not block the writer, and commits not wait for the disk.

    A file system without shared memory keeps its own journal mode, which only is slower.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # When several processes open a new file at once, SQLite does not wait here.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = NORMAL")
