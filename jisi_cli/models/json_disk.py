"""A disk cache of JSON values that never unpickles what it finds.

diskcache pickles by default, so that anyone who can write to its folder can run code in the reader
(CVE-2025-69872). Here a value is compressed JSON in an SQLite row and nothing else is read.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from jisi_cli.errors import JisiError
from jisi_cli.files import connect_unwritable, is_refused
from jisi_cli.paths import own_file, refuse_links

Warn = Callable[[str], None]
"""Receives a note for the user, in one line."""


_DATABASE = "cache.db"
_BUSY_SECONDS = 60.0
_PAGES = 256
"""Pages of the file, of 4 kB, that each thread keeps in memory: a server has many threads, and the system keeps the
file in memory by itself. diskcache's own 8,192, beside 64 MB of the file mapped, are 96 MB for each thread."""
_RAW, _BINARY = 1, 2
"""diskcache's modes of a value that is in the row itself, as it is."""
_LARGEST = 128 * 2**20
"""Bytes of a value's JSON: beyond any answer, and less than a few bytes may unfold to."""


class PoisonedRowError(JisiError):
    """A row of the cache that jisi did not write."""


class JsonCache:
    """Values by key on disk; a cache that fails is a cache that holds nothing, and says so once.

    Args:
        rows: The rows underneath; None when they could not be opened.
        folder: Where it is, for messages.
        warn: Receives at most one note about what is wrong.
    """

    def __init__(self, rows: Any | None, folder: Path, warn: Warn) -> None:  # noqa: ANN401 - diskcache has no types
        self._rows = rows
        self._folder = folder
        self._warn = warn
        self._warned = False

    @property
    def folder(self) -> Path | None:
        """Where it is; None if it could not be opened."""
        return None if self._rows is None else self._folder

    def get(self, key: str) -> Any | None:  # noqa: ANN401 - any JSON value
        """Return the value stored under a key; None when there is none that can be trusted."""
        if self._rows is None:
            return None
        try:
            return self._rows.get(key)
        except PoisonedRowError as error:
            self.say(f"{error}; delete the folder if nothing but jisi uses it")
        except _broken() as error:
            self.say(f"the cache at {self._folder} cannot be read ({_line(error)}); going on without it")
        return None

    def set(self, key: str, value: Any) -> bool:  # noqa: ANN401 - any JSON value
        """Store a JSON value under a key, for ever; return whether it is stored."""
        if self._rows is None:
            return False
        try:
            return bool(self._rows.set(key, value))
        except _broken() as error:
            self.say(f"the cache at {self._folder} cannot be written ({_line(error)}); answers are not kept")
        return False

    def close(self) -> None:
        """Close the connection to the disk."""
        if self._rows is not None:
            self._rows.close()

    def say(self, message: str) -> None:
        """Tell the user what is wrong, once."""
        if not self._warned:
            self._warned = True
            self._warn(message)


def open_cache(folder: Path, *, warn: Warn) -> JsonCache:
    """Open the cache in a folder; what is new of it can be read by its owner alone.

    Nothing is ever evicted: an answer that was paid for stays until the folder is deleted. Several
    processes may hold it open at once.

    Args:
        folder: Where the cache is.
        warn: Receives one note when the folder cannot be used; the cache is empty then, or, where it can only be
            read, keeps nothing new.
    """
    try:
        return JsonCache(_readable_rows(folder) or _all_rows(folder), folder, warn)
    except _broken() as error:
        reason = _line(error)
        rows = _unwritable_rows(folder) if is_refused(error) else None
    cache = JsonCache(rows, folder, warn)
    cache.say(
        f"no cache at {folder} ({reason}); going on without it"
        if rows is None
        else f"the cache at {folder} cannot be written ({reason}); what it holds is used, and nothing is added"
    )
    return cache


_ROW = "SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = 1"


class _ReadableRows:
    """The rows of a cache that is there already: diskcache opens it when something is to be kept.

    Importing diskcache takes 10 ms, and whenever it opens a cache, it writes every one of its settings to the disk.
    Answers and vectors that are there need neither.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._local, self._opening = threading.local(), threading.Lock()
        self._all: Any = None

    @property
    def _con(self) -> sqlite3.Connection:
        """This thread's connection."""
        if not hasattr(self._local, "con"):
            rows = sqlite3.connect(self._folder / _DATABASE, timeout=_BUSY_SECONDS, isolation_level=None)
            rows.execute(f"PRAGMA cache_size = {_PAGES}")
            rows.execute("PRAGMA mmap_size = 0")
            self._local.con = rows
        con: sqlite3.Connection = self._local.con
        return con

    def get(self, key: str) -> Any | None:  # noqa: ANN401 - any JSON value
        if self._all is not None:
            return self._all.get(key)
        found = self._con.execute(_ROW, (key,)).fetchone()
        return None if found is None else _value(self._folder, *found)

    def set(self, key: str, value: Any) -> bool:  # noqa: ANN401 - any JSON value
        with self._opening:
            if self._all is None:
                self._all = _all_rows(self._folder)
        return bool(self._all.set(key, value))

    def close(self) -> None:
        """Close this thread's connections, as diskcache does."""
        if hasattr(self._local, "con"):
            self._local.con.close()
            del self._local.con
        if self._all is not None:
            self._all.close()


def _readable_rows(folder: Path) -> _ReadableRows | None:
    """Return the rows of a cache that can be read and written; None where it is not there, or something is wrong."""
    database = folder / _DATABASE
    try:
        refuse_links(database)
        if not (database.is_file() and os.access(database, os.W_OK) and os.access(folder, os.W_OK)):
            return None
        rows = _ReadableRows(folder)
        rows.get("")
    except (OSError, sqlite3.Error, UnicodeDecodeError, PoisonedRowError):
        return None  # diskcache is to say what it is
    return rows


def _all_rows(folder: Path) -> Any:  # noqa: ANN401 - diskcache has no types
    import diskcache

    _refuse_what_is_not_ours(folder)
    # SQLite gives the files beside its database the rights of the database.
    own_file(folder / _DATABASE)
    return diskcache.Cache(
        str(folder),
        disk=_json_disk(),
        eviction_policy="none",
        cull_limit=0,
        # Every value is a row: one file to trust, and a killed process leaves no stray ones.
        disk_min_file_size=sys.maxsize,
        sqlite_cache_size=_PAGES,
        sqlite_mmap_size=0,
    )


class _UnwritableRows:
    """The rows of a cache where nothing can be written, which diskcache does not open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Any | None:  # noqa: ANN401 - any JSON value
        with closing(connect_unwritable(self._folder / _DATABASE)) as rows:
            found = rows.execute(_ROW, (key,)).fetchone()
        return None if found is None else _value(self._folder, *found)

    def set(self, key: str, value: Any) -> bool:  # noqa: ANN401 - as above
        """Keep nothing."""
        return False

    def close(self) -> None:
        """Nothing stays open."""


def _unwritable_rows(folder: Path) -> _UnwritableRows | None:
    """Return what can be read where nothing can be written; None where that is nothing."""
    rows = _UnwritableRows(folder)
    try:
        rows.get("")
    except _broken():
        return None
    return rows


@cache
def _json_disk() -> type:
    """Make the Disk class on first use, because importing diskcache costs start-up time."""
    import diskcache

    class JsonDisk(diskcache.Disk):  # type: ignore[misc] # diskcache has no types
        """Keys are text, values are zlib-compressed JSON."""

        def put(self, key: str) -> tuple[str, bool]:
            return key, True

        def get(self, key: object, raw: object) -> str:
            if not raw or not isinstance(key, str):
                raise PoisonedRowError(f"the cache at {self._directory} has a key that jisi did not write")
            return key

        def store(self, value: Any, read: bool, key: object = None) -> tuple[int, int, None, bytes]:  # noqa: ANN401
            data = zlib.compress(json.dumps(value, ensure_ascii=False).encode(), 1)
            return len(data), _BINARY, None, data

        def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:  # noqa: ANN401
            return _value(self._directory, mode, filename, value)

        def remove(self, file_path: str) -> None:
            """Delete nothing: no value of ours is a file, so a row that names one is not ours."""

    return JsonDisk


def _value(folder: Path | str, mode: int, filename: str | None, value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value that a row holds.

    Raises:
        PoisonedRowError: It is no compressed JSON in the row itself.
    """
    if mode not in (_RAW, _BINARY) or filename is not None or not isinstance(value, bytes):
        raise PoisonedRowError(f"the cache at {folder} has a row that jisi did not write")
    try:
        return json.loads(_unfolded(value))
    except (zlib.error, ValueError, RecursionError) as error:
        raise PoisonedRowError(f"the cache at {folder} has a damaged row") from error


def _unfolded(value: bytes) -> bytes:
    """Decompress a value.

    Raises:
        ValueError: It unfolds to more than any value of ours, or ends too early.
        zlib.error: It is not compressed.
    """
    stream = zlib.decompressobj()
    data = stream.decompress(value, _LARGEST)
    if not stream.eof:
        raise ValueError("too large, or cut short")
    return data


def _broken() -> tuple[type[Exception], ...]:
    """Return what diskcache raises when the disk or the database is unusable."""
    import diskcache

    return (OSError, sqlite3.Error, diskcache.Timeout, UnicodeDecodeError, PoisonedRowError)


def _refuse_what_is_not_ours(folder: Path) -> None:
    """Refuse a database that is elsewhere, or whose settings diskcache would obey though it never wrote them.

    diskcache makes every row of the table of settings an attribute of the cache, its methods included.

    Raises:
        PoisonedRowError: It is such a database.
    """
    from diskcache.core import DEFAULT_SETTINGS, METADATA

    database = folder / _DATABASE
    try:
        refuse_links(database)
    except OSError as error:
        raise PoisonedRowError(f"{error.filename}: {error.strerror}") from error
    if not database.exists():
        return
    with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as rows:
        has_settings = rows.execute("SELECT 1 FROM sqlite_master WHERE name = 'Settings'").fetchone()
        settings = rows.execute("SELECT key, value FROM Settings").fetchall() if has_settings else []
    known = {**DEFAULT_SETTINGS, **METADATA}
    for key, value in settings:
        if key not in known or not isinstance(value, int | type(known[key])):
            raise PoisonedRowError(f"it has a setting {key!r:.40} that jisi did not write")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
