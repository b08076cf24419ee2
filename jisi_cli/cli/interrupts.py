"""Ctrl-C: a command ends in order where it can, and within half a second in any case.

The first Ctrl-C raises `KeyboardInterrupt` in the main thread, which cancels what is under way and closes it. Python
does that only between two of the main thread's own instructions, and a library that is being imported, a long
computation or a thread that cannot be cancelled may hold it up. So a second thread is told of the signal at once, by a
pipe that Python's own handler writes to, and ends the process if it is still there a moment later. Every answer is
kept and booked when it comes, and files are whole or absent whenever a process ends, so nothing is lost by that.
A conversation at a terminal survives it (`surviving`): there Ctrl-C stops the answer.

This is imported before anything else of the command line, so it imports little itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from select import select
from threading import Lock, Thread
from threading import enumerate as enumerate_threads
from time import sleep
from types import FrameType
from typing import Any

from jisi_cli.large_imports import IMPORTING

_PATIENCE = 0.2
"""Seconds for an ending in order."""
_INTERRUPTED = 130

_told = Lock()
_is_given_time = False
_survives = False
_pressed = _heard = 0
"""How often Ctrl-C was pressed, and of how many of them the main thread has heard."""


def heed_interrupts(instead_of: object = signal.default_int_handler) -> None:
    """Let Ctrl-C end this process within half a second; does nothing if the signal is ignored or handled already.

    Args:
        instead_of: The handler that is replaced.
    """
    if signal.getsignal(signal.SIGINT) is not instead_of:
        return
    signal.signal(signal.SIGINT, _first)
    sys.unraisablehook = _silent_about_interrupts
    if os.name != "posix":
        return  # there Python can only write to a socket
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_leave_to_parent)
    Thread(target=_watch, args=(read,), name="ctrl-c", daemon=True).start()


def give_time() -> None:
    """Let an ending that is under way, and seen, take its time; a second Ctrl-C still ends it."""
    global _is_given_time
    _is_given_time = True


@contextmanager
def surviving() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C raise `KeyboardInterrupt` and not end the process; a second one before that is over ends it.

    Yields:
        What to call when something begins that the next Ctrl-C is to stop.
    """
    global _survives
    _survives = True
    try:
        yield _begin
    finally:
        _survives = False


def _begin() -> None:
    global _heard
    _heard = _pressed
    if signal.getsignal(signal.SIGINT) is _second:
        signal.signal(signal.SIGINT, _first)


def is_first_to_tell() -> bool:
    """Whether the caller is the first to ask, and so the one to say that the command was interrupted."""
    return _told.acquire(blocking=False)


def leave_imports() -> None:
    """End the process here, as an error that ends it says, where a library is still being imported in another thread.

    Python's own ending would stop that thread in the middle of C code, which may crash.
    """
    ending = sys.exc_info()[1]
    if isinstance(ending, SystemExit) and any(thread.name == IMPORTING for thread in enumerate_threads()):
        with suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
        os._exit(ending.code if isinstance(ending.code, int) else 1)


def _first(number: int, frame: FrameType | None) -> None:
    global _heard
    _heard += 1
    signal.signal(signal.SIGINT, _second)
    raise KeyboardInterrupt


def _second(number: int, frame: FrameType | None) -> None:
    _leave()


def _watch(read: int) -> None:
    """Wait for Ctrl-C, then for the end of the process, but not long."""
    global _pressed
    while True:
        _await_interrupt(read)
        _pressed += 1
        is_survived = _survives
        sleep(_PATIENCE)
        if not is_survived or _pressed - _heard > 1:
            break
    if _is_given_time:
        _await_interrupt(read)
    _leave()


def _await_interrupt(read: int) -> None:
    while os.read(read, 1) != bytes([signal.SIGINT]):
        pass  # other signals are written to the pipe, too


def _leave() -> None:
    """End the process as it is, with its last word and the cursor shown; all data was flushed when it was written."""
    show_cursor = getattr(sys.modules.get("jisi_cli.cli.output"), "show_cursor", None)
    if show_cursor is not None:
        show_cursor()
    with suppress(OSError, ValueError, AttributeError):
        number = sys.stderr.fileno()
        # Whose reader has stopped reading is told nothing: that would wait for him.
        if select([], [number], [], 0)[1] and is_first_to_tell():
            os.write(number, b"interrupted\n")
    os._exit(_INTERRUPTED)


def _leave_to_parent() -> None:
    """Keep a forked process from telling its parent of a signal that it alone was sent."""
    signal.set_wakeup_fd(-1)


def _silent_about_interrupts(unraisable: Any) -> None:  # noqa: ANN401 - typeshed's name for it exists in no module
    """Say nothing of a Ctrl-C that came while Python was in a callback, which cannot pass it on; `_watch` ends it."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
