"""Importing large libraries at less than their usual price."""

from __future__ import annotations

import atexit
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

IMPORTING = "jisi-import"
"""The name of a thread that imports."""
_AT_THE_END = 60
"""Seconds that the end of a program waits for such a thread, far more than an import takes."""


def import_aside(load: Callable[[], None]) -> None:
    """Import in a thread of its own.

    A program that ends meanwhile waits for it: Python would stop the thread in the middle of C code, which may crash
    the process. jisi's own command does not wait, but ends its process itself (`leave_imports` in cli/interrupts.py).
    """
    thread = threading.Thread(target=load, name=IMPORTING, daemon=True)
    thread.start()
    atexit.register(thread.join, _AT_THE_END)


@contextmanager
def uncollected() -> Iterator[None]:
    """Import within this without the garbage collector, and leave to the end of the process what was imported.

    A large library makes a million objects that live until the process ends. The collector goes through them again
    and again while they are made, and once more when Python ends: with LiteLLM that is half of all processor time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
