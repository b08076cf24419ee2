"""One writer of a bank at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from jisi_cli.errors import BankError, InputError

LOCK_NAME = ".lock"
_MOST_TRIES = 1000


@contextlib.contextmanager
def exclusive(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the bank's lock, which the system releases even when the process is killed.

    A folder that is still empty afterwards is removed.

    Args:
        path: The bank's folder, which is made if it is not there.
        on_wait: Called when another process holds the lock, before waiting for it; None refuses to wait.

    Raises:
        InputError: The folder cannot be written.
        BankError: Another process holds the lock, and one is not to wait; or something in the folder is a link.
    """
    with _held(path, on_wait):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if [entry.name for entry in path.iterdir()] == [LOCK_NAME]:
                    (path / LOCK_NAME).unlink()
                    path.rmdir()


def _held(path: Path, on_wait: Callable[[], None] | None) -> TextIO:
    """Return the open lock file, locked."""
    tries = 0
    while True:
        tries += 1
        try:
            path.mkdir(parents=True, exist_ok=True)
            _refuse_links(path)
            lock = _opened(path / LOCK_NAME)
        except OSError as error:
            # Whoever had the lock before may take the empty folder away, and somebody else may make it again.
            if tries < _MOST_TRIES and isinstance(error, FileNotFoundError | FileExistsError) and not path.is_file():
                continue
            raise InputError(f"{path} cannot be written ({error.strerror}); name another folder with -o") from error
        try:
            _lock(path, lock, on_wait)
            # Who held it before may have removed the file; whoever comes next would lock another one.
            if os.path.samestat(os.fstat(lock.fileno()), (path / LOCK_NAME).stat()):
                return lock
        except FileNotFoundError:
            pass
        except BaseException:
            lock.close()
            raise
        lock.close()


def _opened(path: Path) -> TextIO:
    """Open the lock file, which may be anything in a bank from elsewhere, without waiting and without emptying it."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    place = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o666)
    if not stat.S_ISREG(os.fstat(place).st_mode):
        os.close(place)
        raise OSError(errno.EINVAL, "its lock is no plain file", str(path))
    return os.fdopen(place, "r+")


def _refuse_links(path: Path) -> None:
    """Refuse to write where a bank from elsewhere could lead to files that are none of its own."""
    for folder, folders, files in os.walk(path):
        link = next((found for name in (*folders, *files) if (found := Path(folder, name)).is_symlink()), None)
        if link is not None:
            raise BankError(f"{link} is a link; a bank is only written where all of it is its own: put a copy there")


def _lock(path: Path, lock: TextIO, on_wait: Callable[[], None] | None) -> None:
    try:
        import fcntl
    except ImportError:
        return  # Windows: builds at the same time are the user's to avoid
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is None:
            raise BankError(f"another build is at work on {path}; wait for it or name another folder") from None
        on_wait()
        fcntl.flock(lock, fcntl.LOCK_EX)
