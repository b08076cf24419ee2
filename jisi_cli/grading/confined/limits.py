"""What a child process may use up and do, refused by the system and by Python itself."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

# What a child process may use up: the system's own limits, where the system has them.


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
    # Open files hold memory and disk that no limit counts.
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


# Refusals that Python itself makes, on every system: no network, no processes, no writing outside a folder.
#
# This is the weakest of the layers. An audit hook sees what Python code does, not what compiled code does, and
# is no protection against code that was written to get around it (PEP 578).


_REFUSED = (
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"),
    *("socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
    *("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile"),
    *("subprocess.Popen", "pty.spawn", "os.kill", "os.killpg", "webbrowser.open", "syslog.syslog"),
)
_CHANGES = (
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.lchown", "os.utime", "os.setxattr", "os.removexattr", "os.chflags"),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MOST_WRITES = 100


def guard(folder: str) -> None:
    """Refuse from now on, in this process, whatever reaches beyond a folder; it cannot be taken back."""
    sys.addaudithook(_Guard(folder).audit)


class _Guard:
    """The hook; what it calls is bound beforehand, because the code that it watches may replace it."""

    def __init__(self, folder: str) -> None:
        self._real, self._text = os.path.realpath, os.fsdecode
        self._folder = self._real(folder)
        self._refused, self._changes = frozenset(_REFUSED), frozenset(_CHANGES)
        self._writes = 0

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            flags = arguments[2]
            if isinstance(flags, int) and flags & _WRITING:
                self._check(arguments[0])
        elif event in self._changes:
            for argument in arguments:
                self._check(argument)
        elif event in self._refused:
            raise PermissionError(f"an answer may not use {event}")

    def _check(self, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        place = self._real(self._text(path))
        if place == os.devnull:
            return
        self._writes += 1
        if self._writes > _MOST_WRITES:
            raise PermissionError(f"an answer may write no more than {_MOST_WRITES} times")
        if place != self._folder and not place.startswith(self._folder + os.sep):
            raise PermissionError("an answer may write nothing outside its own folder")
