"""A disk cache of JSON values that never unpickles what it finds.

diskcache pickles by default, so that anyone who can write to its folder can run code in the reader
(CVE-2025-69872). Here a value is compressed JSON in an SQLite row and nothing else is read.
"""

from __future__ import annotations

import json
import sqlite3
import sys
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
_LARGEST = 128 * 2**20
"""Bytes of a value's JSON: beyond any answer, and less than a few bytes may unfold to."""


class PoisonedRowError(JisiError):
    """A row of the cache that jisi did not write."""


class JsonCache:
    """Values by key on disk; a cache that fails is a cache that holds nothing, and says so once.

    Args:
        rows: The diskcache underneath; None when it could not be opened.
        folder: Where it lies, for messages.
        warn: Receives at most one note about what is wrong.
    """

    def __init__(self, rows: Any | None, folder: Path, warn: Warn) -> None:  # noqa: ANN401 - diskcache has no types
        self._rows = rows
        self._folder = folder
        self._warn = warn
        self._warned = False

    @property
    def folder(self) -> Path | None:
        """Where it lies; None when it could not be opened."""
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

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Store a JSON value under a key, for ever."""
        if self._rows is None:
            return
        try:
            self._rows.set(key, value)
        except _broken() as error:
            self.say(f"the cache at {self._folder} cannot be written ({_line(error)}); answers are not kept")

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
        folder: Where the cache lies.
        warn: Receives one note when the folder cannot be used; the cache is empty then, or, where it can only be
            read, keeps nothing new.
    """
    try:
        return JsonCache(_rows(folder), folder, warn)
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


def _rows(folder: Path) -> Any:  # noqa: ANN401 - diskcache has no types
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
        self._database = folder / _DATABASE
        self._disk = _json_disk()(str(folder))

    def get(self, key: str) -> Any | None:  # noqa: ANN401 - any JSON value
        with closing(connect_unwritable(self._database)) as rows:
            found = rows.execute("SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = 1", (key,)).fetchone()
        return None if found is None else self._disk.fetch(*found, read=False)

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401 - as above
        """Keep nothing."""

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
    from diskcache.core import MODE_BINARY, MODE_RAW

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
            return len(data), MODE_BINARY, None, data

        def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:  # noqa: ANN401
            if mode not in (MODE_RAW, MODE_BINARY) or filename is not None or not isinstance(value, bytes):
                raise PoisonedRowError(f"the cache at {self._directory} has a row that jisi did not write")
            try:
                return json.loads(_unfolded(value))
            except (zlib.error, ValueError, RecursionError) as error:
                raise PoisonedRowError(f"the cache at {self._directory} has a damaged row") from error

        def remove(self, file_path: str) -> None:
            """Delete nothing: no value of ours is a file, so a row that names one is not ours."""

    return JsonDisk


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
    """Refuse a database that lies elsewhere, or whose settings diskcache would obey though it never wrote them.

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
