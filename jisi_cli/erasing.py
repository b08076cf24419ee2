"""Erasing what jisi keeps by itself: cached answers and vectors, the ledger, what methods learned.

Rows are deleted, and the files stay: whoever has them open goes on, where deleting a database under a process would
break it for the next one. What was deleted is not left behind in unused pages either.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from jisi_cli.errors import JisiError
from jisi_cli.ledger import ledger_path
from jisi_cli.paths import cache_folder

_BUSY_SECONDS = 30.0
_READER_MILLISECONDS = 1000
"""How long whoever reads what was there is waited for; a command of jisi's reads a row at a time."""
_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database for the files beside it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in one place.

    Attributes:
        what: What it is, for people.
        path: An SQLite file, or a folder of files.
        table: The table with its rows; None for a folder, whose files are counted.
        entries: How many there are.
        size: Bytes on disk.
    """

    what: str
    path: Path
    table: str | None
    entries: int
    size: int


def kept() -> list[Kept]:
    """Return what there is to erase.

    Raises:
        JisiError: A database cannot be read.
    """
    cache = cache_folder()
    return [
        _database("cached answers", cache / "answers" / "cache.db", "Cache"),
        _database("cached vectors", cache / "vectors" / "cache.db", "Cache"),
        _database("calls of the ledger", ledger_path(), "calls"),
        _files("trained methods", cache / "trained"),
    ]


def erase(found: Kept) -> None:
    """Erase what lies in one place, what came since it was counted included.

    Raises:
        JisiError: It cannot be erased, or another process reads what is being erased.
    """
    if found.table is None:
        for file in _files_of(found.path):
            file.unlink(missing_ok=True)
        return
    if not found.path.exists():
        return
    try:
        with closing(_opened(found.path)) as rows:
            if _has(rows, found.table):
                rows.execute(f"DELETE FROM {found.table}")
            # What was deleted goes from the database, then from the log of changes beside it.
            rows.execute("VACUUM")
            rows.execute(f"PRAGMA busy_timeout = {_READER_MILLISECONDS}")
            is_in_use, *_ = rows.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise _failed(found.path, "erased", error) from error
    if is_in_use:
        raise JisiError(
            f"{found.path}: erased, but another process still reads what was there; run this again when it has ended"
        )


def _database(what: str, path: Path, table: str) -> Kept:
    if not path.exists():
        return Kept(what, path, table, 0, 0)
    try:
        with closing(_opened(path)) as rows:
            entries = rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0] if _has(rows, table) else 0
    except sqlite3.Error as error:
        raise _failed(path, "read", error) from error
    beside = (path.with_name(f"{path.name}{ending}") for ending in ("", *_BESIDE))
    return Kept(what, path, table, entries, sum(map(_size, beside)))


def _files(what: str, folder: Path) -> Kept:
    files = _files_of(folder)
    return Kept(what, folder, None, len(files), sum(map(_size, files)))


def _files_of(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # who closes a database last deletes what is beside it
        return path.stat().st_size
    return 0


def _opened(path: Path) -> sqlite3.Connection:
    """Open a database that lies where it seems to.

    Raises:
        JisiError: It is a link to somewhere else.
    """
    if any(path.with_name(f"{path.name}{ending}").is_symlink() for ending in ("", *_BESIDE)):
        raise JisiError(f"{path} is a link to somewhere else, which jisi never made; delete it yourself")
    # In autocommit, as VACUUM demands.
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)


def _has(rows: sqlite3.Connection, table: str) -> bool:
    """Whether a database has got its table: whoever made the file may not have come so far yet."""
    return rows.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _failed(path: Path, what: str, error: sqlite3.Error) -> JisiError:
    return JisiError(f"{path} cannot be {what} ({error}); end what uses it and try again, or delete {path.parent}")
