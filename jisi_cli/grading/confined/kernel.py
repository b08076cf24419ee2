"""Linux, asked to take rights away from the calling process and all its threads, for good.

Three mechanisms, none of which needs a privilege or a namespace, so that they work in containers too:
capabilities are dropped; Landlock (kernel 5.13 and later) allows reading below some folders and writing
below one; seccomp refuses sockets, new processes and whatever reaches into other processes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

Layer = Literal["landlock", "seccomp"]

_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


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
    if _seccomp(libc):
        granted.append("seccomp")
    return granted


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
    return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    with suppress(FileNotFoundError, PermissionError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not Path(path).is_dir():
            rights &= _OF_FILES
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
        os.close(place)


# --- seccomp: linux/seccomp.h, linux/filter.h; system calls are numbered by architecture.

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_REFUSED = {
    "socket": (41, 198),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "prlimit64": (302, 261),
    "unshare": (272, 97),
    "setns": (308, 268),
    "io_uring_setup": (425, 425),  # its requests, sockets among them, pass no filter
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),  # shared memory outlives its process
    "msgget": (68, 186),
    "semget": (64, 190),
}
_CLONE, _CLONE3 = (56, 220), 435
_CLONE_THREAD = 0x10000
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def _seccomp(libc: ctypes.CDLL) -> bool:
    known = _ARCHITECTURES.get(platform.machine())
    if known is None or sys.maxsize < 2**32:
        return False
    program = b"".join(_instructions(*known))
    buffer = ctypes.create_string_buffer(program, len(program))
    length_and_address = struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, length_and_address, 0, 0) == 0)


def _instructions(architecture: int, column: int) -> list[bytes]:
    """Return the filter: a number, where to jump when true and when false, and an operand per instruction."""

    def step(code: int, when_true: int, when_false: int, operand: int) -> bytes:
        return struct.pack("=HBBI", code, when_true, when_false, operand)

    refuse = step(_RETURN, 0, 0, _ERROR | errno.EPERM)
    steps = [step(_LOAD, 0, 0, _ARCHITECTURE_AT), step(_EQUAL, 1, 0, architecture), refuse]
    steps += [step(_LOAD, 0, 0, _NUMBER_AT), step(_AT_LEAST, 0, 1, _X32), refuse]
    for numbers in _REFUSED.values():
        number = numbers[column]
        if number is not None:
            steps += [step(_EQUAL, 0, 1, number), refuse]
    # Its flags lie behind a pointer, which a filter cannot follow; without it the C library uses clone.
    steps += [step(_EQUAL, 0, 1, _CLONE3), step(_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    steps += [step(_EQUAL, 0, 3, _CLONE[column]), step(_LOAD, 0, 0, _FIRST_ARGUMENT_AT)]
    steps += [step(_ANY_BIT, 1, 0, _CLONE_THREAD), refuse]
    return [*steps, step(_RETURN, 0, 0, _ALLOW)]
