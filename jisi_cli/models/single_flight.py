"""One call at a time for one key, within this process and among all processes that share a cache folder."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Calls that are under way, by key, for one event loop: an equal call waits for the answer of the first."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Future[T]] = {}

    async def join(self, key: str, call: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """Make a call, or wait for the same one that is already under way.

        If that one is cancelled or raises, one of those waiting makes the call itself.

        Returns:
            The result, and whether this was the one that made the call.
        """
        while (running := self._running.get(key)) is not None:
            # Unlike `await running`, this does not cancel the call when the one waiting is cancelled.
            await asyncio.wait([running])
            if not running.cancelled():
                return running.result(), False
        running = asyncio.get_running_loop().create_future()
        self._running[key] = running
        try:
            result = await call()
            running.set_result(result)
        finally:
            del self._running[key]
            running.cancel()  # no effect once it has its result.
        return result, True


_FILE = "flights.lock"  # the name in every version
_OFFSETS = 2**62
"""Offsets in the file, which never grows: a lock may lie beyond its end."""
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.2
_HELD_BY_ANOTHER = frozenset({errno.EACCES, errno.EAGAIN})


class ProcessLock:
    """Locks by key among all processes that share a cache folder; within one process, use `SingleFlight`.

    Each is a lock on one byte of one file, whose offset the key names: the system releases it however the process
    ends, and versions of jisi that run side by side exclude each other. Without locks (a read-only folder, a file
    system or platform that has none), every key is free at once.

    Args:
        folder: The folder that the processes share; None for none.
        patience: Seconds to wait for another process at most, which may have been stopped for ever.
    """

    def __init__(self, folder: Path | None, patience: float) -> None:
        self._folder = folder
        self._patience = patience
        self._file: int | None = None

    @asynccontextmanager
    async def hold(self, key: str, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Wait until no other process holds a key, and hold it.

        Args:
            key: In hexadecimal.
            on_wait: Called once if another process holds it.
        """
        offset = int(key[:16], 16) % _OFFSETS
        end, pause = _now() + self._patience, _FIRST_PAUSE
        while not (held := self._lock(offset)) and (left := end - _now()) > 0:
            if pause == _FIRST_PAUSE:
                on_wait()
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        try:
            yield
        finally:
            if held:
                self._unlock(offset)

    def close(self) -> None:
        """Release everything."""
        self._folder = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lock(self, offset: int) -> bool:
        """Return whether the lock is ours, or no process can have it."""
        file = self._open()
        if file is None:
            return True
        import fcntl

        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                return False
            self.close()
        return True

    def _unlock(self, offset: int) -> None:
        if self._file is not None:
            import fcntl

            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, offset)

    def _open(self) -> int | None:
        """Return the open file; None where there can be no lock."""
        if self._file is None and self._folder is not None:
            try:
                import fcntl  # noqa: F401 - what is not there on Windows

                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._file = os.open(self._folder / _FILE, flags, 0o600)
            except (ImportError, OSError):
                self._folder = None
        return self._file


def _now() -> float:
    return asyncio.get_running_loop().time()
