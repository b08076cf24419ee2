"""One call at a time for one key, within this process and among all processes that share a cache folder."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Generic, TypeVar

# One call at a time for one key: who asks the same meanwhile waits for its answer.


T = TypeVar("T")


class Flights(Generic[T]):
    """Calls that are out, by key; for one event loop."""

    def __init__(self) -> None:
        self._out: dict[str, asyncio.Future[T]] = {}

    async def join(self, key: str, call: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """Make a call, or wait for the same one that is already out.

        Who waits is not harmed when the caller is cancelled or fails with an exception: one of those
        waiting then makes the call itself.

        Returns:
            The result, and whether this was the one that made the call.
        """
        while (flight := self._out.get(key)) is not None:
            # Unlike `await flight`, this does not cancel the flight when the one waiting is cancelled.
            await asyncio.wait([flight])
            if not flight.cancelled():
                return flight.result(), False
        flight = asyncio.get_running_loop().create_future()
        self._out[key] = flight
        try:
            result = await call()
            flight.set_result(result)
        finally:
            del self._out[key]
            flight.cancel()  # Does nothing to one that has its result.
        return result, True


# One call at a time for one key among all processes that share a cache folder.
#
# A lease is a lock on one byte of one file, at a place that the key names. The system releases it when
# its process ends, however it ends, so a process that was killed is waited for by nobody.


_FILE = "flights.lock"
_PLACES = 2**62
"""Places in the file, which never grows: locks may lie behind its end."""
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.2
_HELD_BY_ANOTHER = frozenset({errno.EACCES, errno.EAGAIN})


class Leases:
    """Leases of one process; within it the locks exclude nobody, which is what `Flights` is for.

    Where there can be no lock (a folder that cannot be written, a file system or a platform without such
    locks), everybody gets what they ask for at once.

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
        place = int(key[:16], 16) % _PLACES
        end, pause = _now() + self._patience, _FIRST_PAUSE
        while not (held := self._lock(place)) and (left := end - _now()) > 0:
            if pause == _FIRST_PAUSE:
                on_wait()
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        try:
            yield
        finally:
            if held:
                self._unlock(place)

    def close(self) -> None:
        """Release everything."""
        self._folder = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lock(self, place: int) -> bool:
        """Return whether the lock is ours, or cannot be had by anybody."""
        file = self._open()
        if file is None:
            return True
        import fcntl

        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                return False
            self.close()
        return True

    def _unlock(self, place: int) -> None:
        if self._file is not None:
            import fcntl

            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

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
