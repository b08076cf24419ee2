"""What a child process may use up: the system's own limits, where the system has them."""

from __future__ import annotations

import sys
from contextlib import suppress

if sys.platform != "win32":
    import resource

_OPEN_FILES = 128


def limit(memory: int, *, seconds: int | None = None, file_size: int | None = None) -> None:
    """Limit this process.

    Args:
        memory: Bytes of address space.
        seconds: Processor time, after which the system ends it.
        file_size: Bytes of the largest file it may write, its output included.
    """
    if sys.platform == "win32":
        return
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_AS, memory)
    # Open files hold memory and disk that nobody sees.
    _set(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if seconds is not None:
        _set(resource.RLIMIT_CPU, seconds)
    if file_size is not None:
        _set(resource.RLIMIT_FSIZE, file_size)


def refuse_processes() -> None:
    """Let this process start no other; for an ordinary user, where the kernel could not be asked for more."""
    if sys.platform != "win32":
        _set(resource.RLIMIT_NPROC, 0)


def _set(kind: int, value: int) -> None:
    # macOS does not limit memory; a limit that is lower already stays.
    with suppress(ValueError, OSError):
        if sys.platform != "win32":
            resource.setrlimit(kind, (value, value))
