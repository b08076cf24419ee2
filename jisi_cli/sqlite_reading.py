"""Reading an SQLite database where nothing can be written: on a read-only disk, a full one, in another's folder."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_REFUSALS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def is_refused(error: Exception) -> bool:
    """Whether the machine refuses to write, which is no fault of the file."""
    code = getattr(error, "sqlite_errorcode", None)
    # The lowest byte is the kind, what is above it the detail.
    return isinstance(error, OSError) or (isinstance(code, int) and code & 0xFF in _REFUSALS)


def connect_unwritable(path: Path) -> sqlite3.Connection:
    """Open a database for reading alone, for a moment: who may write it may come back.

    Writers and readers share an index beside the database. Where it is missing and cannot be made, nobody is writing,
    and the file is read as it is.

    Raises:
        sqlite3.Error: It cannot be read, or what a writer left beside the file would be missing.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("PRAGMA schema_version")
        return connection
    except sqlite3.Error as error:
        connection.close()
        left = path.with_name(f"{path.name}-wal")
        if not is_refused(error) or (left.exists() and left.stat().st_size):
            raise
    return sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
