"""What runs have out: the most that their calls under way can cost, which the ledger has only once they have ended.

One row a run, in a small file beside the ledger. It says how many dollars the run may have out, is written before more
than that goes out, with room to spare, so that most calls write nothing, and is deleted when nothing has been out for a
moment. So it outlives a kill or a power cut, after which it is what may have been spent unheard of; and other runs see
it, whose limits of a day and a month count it. A run that is alive holds a lock of its own, which the system releases
however it ends.
"""

from __future__ import annotations

import atexit
import errno
import math
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jisi_cli.database import FAULTS, Database
from jisi_cli.days import local
from jisi_cli.errors import InputError
from jisi_cli.paths import data_folder, own_folder
from jisi_cli.types import is_dollars

if TYPE_CHECKING:
    from jisi_cli.models.live import Run

_CREATE = """
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, usd REAL NOT NULL, time TEXT NOT NULL, command TEXT NOT NULL, label TEXT,
    ended INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""
"""A run has ended when it was found dead; only of others the lock has to be looked at."""
OUTSTANDING_COLUMNS = frozenset({"run", "usd", "time", "command", "label", "ended"})
_SELECT = "SELECT run, usd, time, command, label, ended FROM runs WHERE run != ? ORDER BY time"
_DELETE = "DELETE FROM runs WHERE run = ?"
_RUN = re.compile(r"[0-9a-f]{1,64}")
_IDLE_SECONDS = 1.0
"""How long nothing must have been out before a run's row is deleted: most runs ask again at once."""
_PAUSE = 0.01
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Out:
    """What one run may have out, beyond what the ledger has of it.

    Attributes:
        run: Which run of jisi.
        usd: Dollars at most.
        time: When it was written down last, in UTC, as ISO 8601.
        command: The command of the run.
        label: What the user called the run; None where they did not.
        is_under_way: Whether the run is alive; else it was cut off, and may have spent as much.
    """

    run: str
    usd: float
    time: str
    command: str
    label: str | None
    is_under_way: bool


def outstanding_path() -> Path:
    """Return where it is written down, for all runs of this user."""
    return data_folder() / "ledger" / "out.sqlite"


def out_since(found: Iterable[Out], start: datetime) -> float:
    """Return what runs may have out that count since a moment: those under way, and those cut off after it, in dollars.

    Args:
        found: What runs have out.
        start: The moment.
    """
    return math.fsum(
        out.usd for out in found if out.is_under_way or (moment := local(out.time)) is None or moment >= start
    )


def outstanding() -> list[Out]:
    """Return what all runs may have out, oldest first.

    Raises:
        InputError: The file is none that this version can read.
    """
    path = outstanding_path()
    database = _database(path)
    try:
        rows: list[Any] = database.read(lambda connection: connection.execute(_SELECT, ("",)).fetchall(), [])
        return [_out(row, path) for row in rows]
    finally:
        database.close()


class Mark:
    """What one run may have out, written down; for all its threads.

    Where it cannot be written, calls go on as they do where the ledger cannot be, which says so; those with a limit a
    day or a month do not.

    Args:
        run: Which run it is.

    Attributes:
        lock: Held while it changes; whoever decides by it holds it meanwhile.
    """

    def __init__(self, run: Run) -> None:
        self.lock = threading.RLock()
        self._run, self._path = run, outstanding_path()
        self._database = _database(self._path)
        self._let_go: Callable[[], None] | None = None
        """Releases the lock that says that the run is alive; None where it has none yet."""
        self._out_usd, self._calls, self._written_usd = 0.0, 0, 0.0
        self._timer: threading.Timer | None = None
        self._failure = ""
        """Why it cannot be written; empty while it can."""

    @property
    def out_usd(self) -> float:
        """The most that can be out now, in dollars."""
        return self._out_usd

    def covers(self, usd: float) -> bool:
        """Whether so many dollars more are within what is written down."""
        return self._out_usd + usd <= self._written_usd * (1 + _ROUNDING)

    def add(self, usd: float) -> None:
        """Count so many dollars as out, and write down twice as much if it is more than is written down."""
        with self.lock:
            self._out_usd += usd
            self._calls += 1
            if not self._failure and not self.covers(0.0):
                self._write(lambda others: self._out_usd)

    def claim(self, decide: Callable[[Sequence[Out]], float]) -> None:
        """Decide by what other runs have out, and write down what this one may have; no other run does so meanwhile.

        Args:
            decide: Given what other runs have out, returns the dollars that this one may have out beyond what it has.

        Raises:
            InputError: The file is none that this version can read, or cannot be written: nobody would count it.
        """
        with self.lock:
            if not self._failure:
                self._write(decide)
                # Perhaps nothing goes out, after all.
                self._withdraw_soon()
            if self._failure:
                raise InputError(
                    f"{self._path} cannot be written ({self._failure}); make room or allow it, and start again"
                )

    def release(self, usd: float) -> None:
        """Count dollars as out no longer: they are in the ledger."""
        with self.lock:
            self._calls -= 1
            # Without a call under way nothing is out: rounding must leave no rest.
            self._out_usd = self._out_usd - usd if self._calls else 0.0
            self._withdraw_soon()

    def close(self) -> None:
        """End with the run: delete its row, unless something is out, of which nobody will hear any more."""
        with self.lock:
            if self._timer is not None:
                self._timer.cancel()
            self._withdraw_if_idle()
            self._database.close()
            if self._let_go is not None:
                self._let_go()
                self._let_go = None
                with suppress(OSError):
                    _lock_path(self._path, self._run.id).unlink()
            atexit.unregister(self.close)

    def _withdraw_soon(self) -> None:
        if not self._calls and self._written_usd and self._timer is None:
            self._timer = threading.Timer(_IDLE_SECONDS, self._withdraw_if_idle)
            self._timer.daemon = True
            self._timer.start()

    def _withdraw_if_idle(self) -> None:
        with self.lock:
            self._timer = None
            if self._calls or not self._written_usd:
                return
            with suppress(*FAULTS, InputError), self._database.changing() as connection:
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(_DELETE, (self._run.id,))
                self._written_usd = 0.0

    def _write(self, decide: Callable[[Sequence[Out]], float]) -> None:
        try:
            with self._alone() as connection:
                found = [_out(row, self._path) for row in connection.execute(_SELECT, (self._run.id,)).fetchall()]
                usd = self._out_usd + decide(_buried(connection, found))
                if usd:
                    self._put(connection, usd)
                else:
                    connection.execute(_DELETE, (self._run.id,))
            self._written_usd = usd
        except FAULTS as error:
            self._failure = str(error) or type(error).__name__

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """Give a connection while no other run has one; what is written is on the disk when the context ends."""
        if self._let_go is None:
            self._let_go = _held(self._path, self._run.id)
            atexit.register(self.close)
        with self._database.changing() as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def _put(self, connection: sqlite3.Connection, usd: float) -> None:
        row = (self._run.id, usd, datetime.now(UTC).isoformat(timespec="milliseconds"), self._run.command)
        connection.execute(
            "INSERT OR REPLACE INTO runs (run, usd, time, command, label) VALUES (?, ?, ?, ?, ?)",
            (*row, self._run.label),
        )


def _database(path: Path) -> Database:
    return Database(path, "what runs have out", _CREATE)


def _out(row: Sequence[Any], path: Path) -> Out:
    """Return what a row says.

    Raises:
        InputError: jisi did not write it.
    """
    run, usd, time, command, label, ended = row
    texts = (run, time, command, *([] if label is None else [label]))
    if not is_dollars(usd) or usd is None or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{path} cannot be read as what runs have out ({usd!r:.40}); move it away")
    return Out(run, float(usd), time, command, label, not ended and _is_alive(path, run))


def _buried(connection: sqlite3.Connection, found: Sequence[Out]) -> Sequence[Out]:
    """Note which runs are dead, so that nobody looks for them again."""
    dead = [(out.run,) for out in found if not out.is_under_way]
    connection.executemany("UPDATE runs SET ended = 1 WHERE run = ? AND NOT ended", dead)
    return found


def _lock_path(path: Path, run: str) -> Path:
    return path.with_name(f"out-{run}.lock")


def _held(path: Path, run: str) -> Callable[[], None]:
    """Hold the lock of a run that is alive; return what releases it."""
    own_folder(path.parent)
    end = time.monotonic() + _IDLE_SECONDS
    while (release := _taken(_lock_path(path, run))) is None and time.monotonic() < end:
        time.sleep(_PAUSE)  # somebody is just looking whether it is held
    return release or (lambda: None)


def _is_alive(path: Path, run: str) -> bool:
    """Whether a run is; one whose lock cannot be looked at counts as such. The lock of a dead one is removed."""
    if not _RUN.fullmatch(run):
        return False
    file = _lock_path(path, run)
    if not file.is_file():
        return False
    try:
        release = _taken(file)
    except OSError:
        return True
    if release is None:
        return True
    release()
    with suppress(OSError):
        file.unlink()
    return False


def _taken(file: Path) -> Callable[[], None] | None:
    """Take the lock of a file, which the system releases however the process ends.

    On POSIX it is the one that `filelock` takes, whose import is dearer than all else here; each live answer has it.

    Returns:
        What releases it; None where another process has it.
    """
    try:
        import fcntl
    except ImportError:
        from filelock import FileLock, Timeout

        lock = FileLock(file, mode=0o600, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock.release
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            os.close(descriptor)
            return None
        # The file system knows no locks: every run counts as dead, and what it has out for the day.
    return partial(os.close, descriptor)
