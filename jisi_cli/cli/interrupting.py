"""Ctrl-C while models are called: the first ends the calls in order, a second ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from jisi_cli.cli.output import show_cursor
from jisi_cli.errors import ExitCode

T = TypeVar("T")


def run_calls(calls: Coroutine[Any, Any, T]) -> T:
    """Carry out what calls models.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when everything that was under way has been cancelled and closed.
    """

    async def with_patience_for_one() -> T:
        with _second_interrupt_ends_at_once():
            return await calls

    return asyncio.run(with_patience_for_one())


@contextmanager
def _second_interrupt_ends_at_once() -> Iterator[None]:
    """Keep asyncio's handling of the first Ctrl-C alone.

    By a second, asyncio raises an error wherever the program is just then, which is often in the clean-up of a
    library, and Python reports it there. Every answer is kept when it comes, so that nothing is lost by leaving.
    """
    cancel = signal.getsignal(signal.SIGINT)
    if not callable(cancel) or cancel is signal.default_int_handler:
        yield  # not asyncio's own: another thread, or a caller that handles signals itself
        return

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, _leave)
        cancel(number, frame)

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is first:
            signal.signal(signal.SIGINT, cancel)


def _leave(number: int, frame: FrameType | None) -> None:
    show_cursor()
    os._exit(int(ExitCode.INTERRUPTED))
