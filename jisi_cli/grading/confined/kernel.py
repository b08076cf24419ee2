"""Linux, asked to take rights away from the calling process and all its threads, for good."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

# The filter of system calls: what a confined process may not ask of the kernel, nor have asked by compiled code.


_SET_SECCOMP, _FILTER = 22, 2

# linux/seccomp.h, linux/filter.h; system calls are numbered by architecture (None: it has no such call).
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
    "pidfd_send_signal": (424, 424),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "prlimit64": (302, 261),
    "setrlimit": (160, 164),
    # These reach every process of the user.
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "unshare": (272, 97),
    "setns": (308, 268),
    "io_uring_setup": (425, 425),  # its requests, sockets among them, pass no filter
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),  # shared memory, semaphores and queues outlive their process
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),  # memory that the limit of the address space does not count
    "memfd_secret": (447, 447),
    "truncate": (76, 45),  # Landlock knows it from version 3 only
    "file_setattr": (469, 469),
}
# Landlock knows nothing of rights, owners, times and attributes of files. Ordinary code, such as `shutil.copy` and
# `Path.touch`, sets them in passing, so these do nothing and say that all went well.
_IGNORED = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
}
# Their arguments lie behind a pointer, which a filter cannot follow; without them the C library uses older calls.
_UNKNOWN = {"clone3": (435, 435), "openat2": (437, 437)}
_CLONE, _FCNTL, _PRCTL, _SOCKETPAIR = (56, 220), (72, 25), (157, 167), (53, 199)
_OPEN, _OPENAT = (2, None), (257, 56)
_IOCTL = (16, 29)
_CLONE_THREAD = 0x10000
# F_SETOWN, F_SETSIG and F_SETOWN_EX have signals sent to any process; F_SETLEASE makes others wait.
_FCNTL_COMMANDS = (8, 10, 15, 1024)
_SET_FLAGS, _ASYNC = 4, 0o20000
# TCGETS and TIOCGWINSZ (is it a terminal, and how wide?), FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Most others are for
# devices; FIOSETOWN, SIOCSPGRP and FIOASYNC have signals sent to any process, which Landlock knows from version 6 only.
_IOCTL_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_SIGNAL_AT_PARENTS_END = 1
_UNIX, _STREAM, _KIND_OF_SOCKET = 1, 1, 0xF
_TRUNCATING, _ACCESS_MODE = 0o1000, 3
_X32 = 0x40000000

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def filter_system_calls(libc: ctypes.CDLL) -> bool:
    """Refuse the calling process, from now on, what is listed here; return whether the kernel agreed."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None or sys.maxsize < 2**32:
        return False
    program = b"".join(_instructions(*known))
    buffer = ctypes.create_string_buffer(program, len(program))
    length_and_address = struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, length_and_address, 0, 0) == 0)


def _instructions(architecture: int, column: int) -> list[bytes]:
    """Return the filter, as instructions of eight bytes."""
    steps = [_step(_LOAD, _ARCHITECTURE_AT), _step(_EQUAL, architecture, 1, 0), _failing(errno.EPERM)]
    steps += [_step(_LOAD, _NUMBER_AT), _step(_AT_LEAST, _X32, 0, 1), _failing(errno.EPERM)]
    for calls, error in ((_REFUSED, errno.EPERM), (_IGNORED, 0), (_UNKNOWN, errno.ENOSYS)):
        for numbers in calls.values():
            steps += _when(numbers[column], [_failing(error)])
    steps += _when(_CLONE[column], [_argument(0), _step(_ANY_BIT, _CLONE_THREAD, 1, 0), _failing(errno.EPERM)])
    signalling = [_step(_EQUAL, _SET_FLAGS, 0, 3), _argument(2), _step(_ANY_BIT, _ASYNC, 0, 1), _failing(errno.EPERM)]
    steps += _when(_FCNTL[column], [_argument(1), *_refusing(*_FCNTL_COMMANDS), *signalling])
    steps += _when(_IOCTL[column], [_argument(1), *_allowing(*_IOCTL_REQUESTS), _failing(errno.EPERM)])
    steps += _when(_PRCTL[column], [_argument(0), *_refusing(_SIGNAL_AT_PARENTS_END)])
    # A pair of datagram sockets, or of another family, can send to any process that listens on this machine.
    pair = [_argument(0), _step(_EQUAL, _UNIX, 1, 0), _failing(errno.EPERM)]
    pair += [_argument(1), _step(_AND, _KIND_OF_SOCKET), _step(_EQUAL, _STREAM, 1, 0), _failing(errno.EPERM)]
    steps += _when(_SOCKETPAIR[column], pair)
    # Opening for reading, or for neither reading nor writing, may empty a file before Landlock's version 3.
    emptying = [_step(_AND, _TRUNCATING | _ACCESS_MODE), *_refusing(_TRUNCATING, _TRUNCATING | _ACCESS_MODE)]
    steps += _when(_OPEN[column], [_argument(1), *emptying])
    steps += _when(_OPENAT[column], [_argument(2), *emptying])
    return [*steps, _step(_RETURN, _ALLOW)]


def _step(code: int, operand: int, when_true: int = 0, when_false: int = 0) -> bytes:
    """Return an instruction; the last two say how many of the next ones a comparison passes over."""
    return struct.pack("=HBBI", code, when_true, when_false, operand)


def _failing(error: int) -> bytes:
    return _step(_RETURN, _ERROR | error)


def _argument(number: int) -> bytes:
    """Load the lower half of an argument, which is all that the kernel looks at where these calls take an int."""
    return _step(_LOAD, _ARGUMENTS_AT + 8 * number)


def _refusing(*values: int) -> list[bytes]:
    return [step for value in values for step in (_step(_EQUAL, value, 0, 1), _failing(errno.EPERM))]


def _allowing(*values: int) -> list[bytes]:
    return [step for value in values for step in (_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW))]


def _when(number: int | None, then: list[bytes]) -> list[bytes]:
    """Return steps for one system call, which is allowed unless they end otherwise; the others pass them over."""
    if number is None:
        return []
    return [_step(_EQUAL, number, 0, len(then) + 1), *then, _step(_RETURN, _ALLOW)]


# Three mechanisms, none of which needs a privilege or a namespace, so that they work in containers too:
# capabilities are dropped; Landlock (kernel 5.13 and later) allows reading below some folders and writing
# below one; seccomp refuses sockets, new processes and whatever reaches into other processes (the filter above).


Layer = Literal["landlock", "seccomp"]

_NO_NEW_PRIVILEGES, _PRCTL_SIGNAL_AT_PARENTS_END = 38, 1


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
        ctypes.CDLL(None).prctl(_PRCTL_SIGNAL_AT_PARENTS_END, int(signal.SIGKILL), 0, 0, 0)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    version_and_process = struct.pack("=Ii", 0x20080522, 0)
    libc.capset(ctypes.create_string_buffer(version_and_process), bytes(24))


# --- Landlock: linux/landlock.h; the three system calls have these numbers on every architecture.

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_OF_FILES = (
    1 << 0,
    1 << 1,
    1 << 2,
    1 << 3,
    1 << 14,
    1 << 15,
)
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_OF_FILES
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
