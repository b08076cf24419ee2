"""A thread with an event loop of its own, on which calls are made for any thread or loop that wants their results."""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from jisi_cli.errors import InputError

# Imported where work begins: it takes 50 ms, and not every command that could make calls makes one.
if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

T = TypeVar("T")

CLOSED = "it was closed while the question was under way; close it when every answer is there"
_GLANCE = 0.5
"""Seconds between looks for Ctrl-C, where the system does not interrupt a thread that waits (Windows)."""


class Background:
    """Carries out coroutines on one event loop, in a thread that starts with the first of them.

    It works in a plain script, beside a running loop (a notebook), and for many threads at once. Close it, or use it
    as a context manager.
    """

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out some work and wait for it.

        Raises:
            InputError: It was closed meanwhile, or this is a forked process.
            KeyboardInterrupt: After Ctrl-C, when everything that was under way has been cancelled and closed; after a
                second Ctrl-C at once.
        """
        import asyncio

        loop, ended, tasks = self._loop_for(work), threading.Event(), list[asyncio.Task[T]]()

        def begin() -> None:
            tasks.append(loop.create_task(work))
            tasks[0].add_done_callback(lambda _: ended.set())

        loop.call_soon_threadsafe(begin)
        try:
            while not ended.wait(_GLANCE):
                pass
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            while not ended.wait(_GLANCE):
                pass
            with suppress(Exception, asyncio.CancelledError):
                tasks[0].result()  # its own error, if any, is not what ends the command
            raise
        try:
            return tasks[0].result()
        except asyncio.CancelledError:
            raise InputError(CLOSED) from None

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin some work; cancelling what this returns cancels the work."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(work, self._loop_for(work))

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out some work and wait for it in the caller's own event loop; cancelling this cancels the work."""
        import asyncio

        return await asyncio.wrap_future(self.submit(work))

    @property
    def is_own_process(self) -> bool:
        """Whether this is the process it was made in; a forked one has its connections, but not its thread."""
        return self._process == os.getpid()

    def require_own_process(self) -> None:
        """Refuse to work in a forked process.

        Raises:
            InputError: This is one.
        """
        if not self.is_own_process:
            raise InputError("what was opened before a fork cannot be used in the forked process; open it there")

    def close(self) -> None:
        """End the thread, and with it what is still under way."""
        if not self.is_own_process:
            return  # the thread and its connections are the parent's
        with self._starting:
            if self._thread is None or self._loop is None or self._stop is None:
                return
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _loop_for(self, work: Coroutine[Any, Any, object]) -> asyncio.AbstractEventLoop:
        """Return the loop; work that none can be started for, as without memory for a thread, is never begun."""
        try:
            return self._started()
        except BaseException:
            work.close()
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        self.require_own_process()
        with self._starting:
            if self._thread is None or self._loop is None:
                ready = threading.Event()
                # A daemon, so that a program that never closes it can end.
                thread = threading.Thread(target=self._serve, args=(ready,), name="jisi", daemon=True)
                thread.start()
                self._thread = thread
                ready.wait()
            assert self._loop is not None
            return self._loop

    def _serve(self, ready: threading.Event) -> None:
        import asyncio

        async def until_stopped() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            ready.set()
            await self._stop.wait()

        asyncio.run(until_stopped())


def run_calls(calls: Coroutine[Any, Any, T]) -> T:
    """Carry out what calls models, once, on a thread of its own.

    Raises:
        KeyboardInterrupt: See `Background.run`.
    """
    with Background() as background:
        return background.run(calls)
