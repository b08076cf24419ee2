"""One call at a time for one key, within this process and among all processes that share a cache folder."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Calls that are under way, by key, for one event loop: an equal call waits for the answer of the first.

    Each is a task of its own, so that it outlives the one who began it while others wait for it. It runs in that one's
    context, whose limits it is held to, also after that one has gone.

    Args:
        own: Errors that concern only the one who began the call; others that wait then make it themselves.
    """

    def __init__(self, own: tuple[type[Exception], ...] = ()) -> None:
        self._own = own
        self._flights: dict[str, _Flight[T]] = {}

    async def join(self, key: str, call: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """Make a call, or wait for the same one that is already under way.

        The call is cancelled when the last one that waits for it is, who goes only after it has ended.

        Returns:
            The result, and whether this was the one that began the call.
        """
        while True:
            flight = self._flights.get(key)
            begins = flight is None
            if flight is None:
                flight = self._begin(key, call)
            if flight.is_given_up:
                await asyncio.wait([flight.task])
                continue
            await flight.end()
            if begins or flight.task.cancelled() or not isinstance(flight.task.exception(), self._own):
                return flight.task.result(), begins

    def _begin(self, key: str, call: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        def ended(task: asyncio.Task[T]) -> None:
            del self._flights[key]
            if not task.cancelled():
                task.exception()  # looked at: no one may be left to raise it to

        task = asyncio.create_task(call())
        # Before those who wait go on, so that none of them finds a call that has ended.
        task.add_done_callback(ended)
        flight = self._flights[key] = _Flight(task)
        return flight


class _Flight(Generic[T]):
    """One call, and how many wait for it."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self._waiting = 0

    @property
    def is_given_up(self) -> bool:
        """Whether it was cancelled, and only has to end."""
        return self.task.cancelling() > 0

    async def end(self) -> None:
        """Wait until it has ended; if this is cancelled and no one else waits, cancel it, too."""
        self._waiting += 1
        try:
            # Unlike `await task`, this does not cancel the call when the one waiting is cancelled.
            await asyncio.wait([self.task])
        finally:
            self._waiting -= 1
            if not self._waiting and not self.task.done():
                self.task.cancel()
                await asyncio.wait([self.task])


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
