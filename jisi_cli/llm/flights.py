"""One call at a time for one key: who asks the same meanwhile waits for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

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
