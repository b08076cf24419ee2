"""Importing large libraries at less than their usual price."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

IMPORTING = "jisi-import"
"""The name of a thread that imports, and that no one waits for when the process ends."""


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
