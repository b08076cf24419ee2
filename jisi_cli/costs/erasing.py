"""Erasing what jisi keeps by itself: cached answers and vectors, the ledger, what was said, what methods learned.

Rows are deleted and the files stay, so that processes that have them open can go on; deleting a database while it is
open would break it for the next process. Nothing of what was deleted is left in unused pages.
"""

from __future__ import annotations

import re
import sqlite3
import stat
import sys
import zipfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from jisi_cli.errors import JisiError
from jisi_cli.history.table import COLUMNS, Kind, table_path
from jisi_cli.models.ledger import LEDGER_COLUMNS, ledger_path
from jisi_cli.models.outstanding import OUTSTANDING_COLUMNS, outstanding_path
from jisi_cli.paths import DATABASE_ENDINGS, cache_folder, link_error, refuse_links

_BUSY_SECONDS = 30.0
_READER_MILLISECONDS = 1000
"""How long to wait for processes that still read; a command of jisi reads one row at a time."""
_TRAINED = re.compile(r"[a-z0-9_-]+-[0-9a-f]{32}\.npz")
_DRAFT = re.compile(r"tmp[a-z0-9_]{8}\.part")
"""How `methods.trained_state` calls its files, and a file that a killed process left half written."""
_CACHE_SETTINGS = {"disk_min_file_size": sys.maxsize, "cull_limit": 0, "eviction_policy": "none"}
"""What no cache but jisi's has set in diskcache's table `Settings`."""


_REMEMBERED: dict[Kind, str] = {
    "conversations": "turns of conversations",
    "answers": "remembered answers",
    "feedback": "pieces of feedback",
}
_OUR_COLUMNS: dict[str, frozenset[str]] = {"calls": LEDGER_COLUMNS, "runs": OUTSTANDING_COLUMNS} | {
    kind: frozenset({"id", *COLUMNS[kind]}) for kind in _REMEMBERED
}
"""Columns of the tables that jisi writes, by name; diskcache's are told by their settings."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept in one file or folder.

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
        _database("runs with calls out", outstanding_path(), "runs"),
        _files("trained methods", cache / "trained"),
        *(_database(what, table_path(kind), kind) for kind, what in _REMEMBERED.items()),
    ]


def erase(found: Kept) -> None:
    """Erase what is kept in one file or folder, including what was added since it was counted.

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
            if _is_ours(rows, found):
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
    empty = Kept(what, path, table, 0, 0)
    if not path.exists() and not path.is_symlink():
        return empty
    try:
        with closing(_opened(path)) as rows:
            entries = rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0] if _is_ours(rows, empty) else 0
    except sqlite3.Error as error:
        raise _failed(path, "read", error) from error
    beside = (path.with_name(f"{path.name}{ending}") for ending in DATABASE_ENDINGS)
    return Kept(what, path, table, entries, sum(map(_size, beside)))


def _files(what: str, folder: Path) -> Kept:
    files = _files_of(folder)
    return Kept(what, folder, None, len(files), sum(map(_size, files)))


def _files_of(folder: Path) -> list[Path]:
    """Return the files of trained methods; other files there are left alone, and links are not followed."""
    if folder.is_symlink():
        raise _link(link_error(folder))
    return [file for file in folder.iterdir() if _is_trained(file)] if folder.is_dir() else []


def _is_trained(file: Path) -> bool:
    """Whether a file has the name and the content of what a method learned."""
    if not stat.S_ISREG(file.lstat().st_mode):
        return False
    if _DRAFT.fullmatch(file.name):
        with file.open("rb") as opened:
            return opened.read(4) in (b"", b"PK\3\4")
    if not _TRAINED.fullmatch(file.name):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
    return "training_seconds.npy" in names and all(name.endswith(".npy") for name in names)


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # the last process to close a database deletes the files beside it
        return path.stat().st_size
    return 0


def _opened(path: Path) -> sqlite3.Connection:
    """Open a database, unless it is a link.

    Raises:
        JisiError: It is a link to somewhere else.
    """
    try:
        refuse_links(path)
    except OSError as error:
        raise _link(error) from error
    # In autocommit, as VACUUM demands.
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)


def _link(error: OSError) -> JisiError:
    return JisiError(f"{error.filename}: {error.strerror}")


def _is_ours(rows: sqlite3.Connection, found: Kept) -> bool:
    """Whether a database has its table, which another process may only be about to create.

    Raises:
        JisiError: It holds something else, which jisi did not write.
    """
    tables = {name for (name,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return False
    if found.table == "Cache" and {"Cache", "Settings"} <= tables:
        settings = dict(rows.execute("SELECT key, value FROM Settings").fetchall())
        is_ours = all(settings.get(key) == value for key, value in _CACHE_SETTINGS.items())
    else:
        columns = {row[1] for row in rows.execute(f"PRAGMA table_info({found.table})")}
        is_ours = columns >= _OUR_COLUMNS.get(found.table or "", frozenset({""}))
    if not is_ours:
        raise JisiError(f"{found.path} is a database that jisi did not write; move it away, or delete it yourself")
    return True


def _failed(path: Path, what: str, error: sqlite3.Error) -> JisiError:
    return JisiError(f"{path} cannot be {what} ({error}); end what uses it and try again, or delete {path.parent}")
