"""One writer of a bank at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from jisi_cli.copies import is_copy
from jisi_cli.errors import BankError, InputError

LOCK_NAME = ".lock"
COPY_NAME, RECORD_NAME = "bank", "store.json"
"""Of the copy of a bank in an object store, and of what is kept beside it of the store."""
_MAX_ATTEMPTS = 1000


@contextlib.contextmanager
def exclusive(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the bank's lock, which the system releases even when the process is killed.

    The lock is one of the whole file `.lock` (`flock` on POSIX, `LockFileEx` on Windows), as jisi 0.1 takes it too.
    The folder is removed afterwards if it is still empty. The copy of a bank in an object store is brought up to date
    first; who else writes that bank, on other machines, is seen when it is committed.

    Args:
        path: The bank's folder, created if it does not exist.
        on_wait: Called before waiting for another process that holds the lock; None raises instead of waiting.

    Raises:
        InputError: The folder cannot be written.
        BankError: Another process holds the lock and `on_wait` is None, or the folder contains a link.
    """
    with _locked(path, on_wait):
        try:
            with _sole_writer(path):
                yield
        finally:
            with contextlib.suppress(OSError):
                if [entry.name for entry in path.iterdir()] == [LOCK_NAME]:
                    (path / LOCK_NAME).unlink()
                    path.rmdir()


def _sole_writer(path: Path) -> contextlib.AbstractContextManager[None]:
    if not is_copy(path):
        if path.name == COPY_NAME and (path.parent / RECORD_NAME).exists():
            raise BankError(f"{path} is the copy of a bank in an object store; name the bank by its address")
        return contextlib.nullcontext()
    from jisi_cli.bank.remote_commit import sole_writer

    return sole_writer(path)


def _locked(path: Path, on_wait: Callable[[], None] | None) -> TextIO:
    """Return the open lock file, locked; closing it releases the lock."""
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        try:
            path.mkdir(parents=True, exist_ok=True)
            _refuse_links(path)
            file = _open_lock_file(path / LOCK_NAME)
        except OSError as error:
            # The previous holder may remove the empty folder, and another process may create it again.
            is_race = isinstance(error, FileNotFoundError | FileExistsError) and not path.is_file()
            if is_race and attempt < _MAX_ATTEMPTS:
                continue
            raise InputError(f"{path} cannot be written ({error.strerror}); name another folder with -o") from error
        try:
            _lock(path, file, on_wait)
            # The previous holder may have removed the file; the next process would then lock another one.
            if os.path.samestat(os.fstat(file.fileno()), (path / LOCK_NAME).stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()
    raise BankError(f"{path} is created and removed all the time by other processes; name another folder")


def _open_lock_file(path: Path) -> TextIO:
    """Open the lock file without waiting and without truncating it: in a downloaded bank it may be anything."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "its lock is not a regular file", str(path))
    return os.fdopen(descriptor, "r+")


def _refuse_links(path: Path) -> None:
    """Refuse to write into a bank whose links could lead to files outside of it."""
    for folder, folders, files in os.walk(path):
        link = next((found for name in (*folders, *files) if (found := Path(folder, name)).is_symlink()), None)
        if link is not None:
            raise BankError(f"{link} is a link; jisi does not write through links: replace it with a copy")


def _lock(path: Path, file: TextIO, on_wait: Callable[[], None] | None) -> None:
    from filelock import lock_descriptor

    if lock_descriptor(file.fileno(), blocking=False):
        return
    if on_wait is None:
        raise BankError(f"another build is at work on {path}; wait for it or name another folder")
    on_wait()
    lock_descriptor(file.fileno())
