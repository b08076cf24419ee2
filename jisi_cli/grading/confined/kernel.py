"""Linux, asked to take rights away from the calling process and all its threads, for good.

Three mechanisms, none of which needs a privilege or a namespace, so that they work in containers too:
capabilities are dropped; Landlock (kernel 5.13 and later) allows reading below some folders and writing
below one; seccomp refuses sockets, new processes and whatever reaches into other processes (`seccomp.py`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from jisi_cli.grading.confined.seccomp import filter_system_calls

Layer = Literal["landlock", "seccomp"]

_NO_NEW_PRIVILEGES, _SIGNAL_AT_PARENTS_END = 38, 1


def confine(readable: Iterable[str], writable: str | None) -> list[Layer]:
    """Confine this process; return which layers the kernel granted, none on other systems than Linux.

    Args:
        readable: Folders and files that may be read and executed; what does not exist is passed over.
        writable: A folder below which everything is allowed.
    """
    if sys.platform != "linux":
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return []
    _drop_capabilities(libc)
    granted: list[Layer] = []
    if _landlock(libc, readable, writable):
        granted.append("landlock")
    if filter_system_calls(libc):
        granted.append("seccomp")
    return granted


def end_with_parent() -> None:
    """Have the kernel end this process with the thread that started it, whatever ends that; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_END, int(signal.SIGKILL), 0, 0, 0)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    version_and_process = struct.pack("=Ii", 0x20080522, 0)
    libc.capset(ctypes.create_string_buffer(version_and_process), bytes(24))


# --- Landlock: linux/landlock.h; the three system calls have these numbers on every architecture.

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_READ = _EXECUTE | _READ_FILE | _READ_DIR
# Rights that each version of the interface knows, from version 1.
_KNOWN_RIGHTS = (0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)


def _landlock(libc: ctypes.CDLL, readable: Iterable[str], writable: str | None) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = _KNOWN_RIGHTS[min(version, len(_KNOWN_RIGHTS)) - 1]
    tcp, scopes = (0b11 if version >= 4 else 0), (0b11 if version >= 6 else 0)
    attributes = struct.pack("=QQQ", rights, tcp, scopes)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    for path in readable:
        _allow(libc, ruleset, path, _READ)
    if writable is not None:
        _allow(libc, ruleset, writable, rights)
    granted = libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return bool(granted)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    with suppress(FileNotFoundError, PermissionError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not Path(path).is_dir():
            rights &= _OF_FILES
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
        os.close(place)
