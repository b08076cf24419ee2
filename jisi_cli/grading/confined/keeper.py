"""The process between jisi and the user's own grader; run as a file with `python -I -S`.

It starts the program, ends as the program ends, and then, or when jisi has gone, ends everything that the program
started. A program that jisi started itself would outlive a jisi that is killed. Arguments: the process id of jisi, the
largest file that may be written in bytes, and the program with its own arguments.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_SIGNAL_AT_PARENTS_END, _ADOPT_ORPHANS = 1, 36
_LOOK = 0.2
_PATIENCE = 2.0
_NOT_STARTED = 127


def main() -> None:
    """Run the program."""
    parent, file_size, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    ends = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_SIGNAL_AT_PARENTS_END, int(signal.SIGTERM), 0, 0, 0)
        # What loses its parent becomes a child of this process, and is found when all is ended.
        libc.prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)
    _limit(file_size)
    try:
        program = os.posix_spawnp(command[0], command, os.environ, setpgroup=0, setsigmask=[])
    except OSError as error:
        sys.stderr.write(f"it cannot be run ({error.strerror})\n")
        sys.exit(_NOT_STARTED)
    status = _ended(program, parent)
    _end_all(program)
    _end_as(status)


def _limit(file_size: int) -> None:
    import resource

    for kind, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, file_size)):
        with suppress(ValueError, OSError):  # a limit that is lower already stays
            resource.setrlimit(kind, (value, value))


def _ended(program: int, parent: int) -> int | None:
    """Wait for the program; return how it ended, None when jisi ended first or wants it ended."""
    while os.getppid() == parent:
        done, status = os.waitpid(program, os.WNOHANG)
        if done:
            return status
        if sys.platform == "darwin":
            time.sleep(_LOOK / 10)
            if signal.SIGTERM in signal.sigpending():
                return None
        else:
            found = signal.sigtimedwait({signal.SIGTERM, signal.SIGCHLD}, _LOOK)
            if found is not None and found.si_signo == signal.SIGTERM:
                return None
    return None


def _end_all(program: int) -> None:
    """End the program's group, and whatever else came from it."""
    end = time.monotonic() + _PATIENCE
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program, signal.SIGKILL)
    while time.monotonic() < end:
        for child in _children():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _children() -> list[int]:
    """Return the processes whose parent this one is, where the system tells."""
    own, found = str(os.getpid()), []
    with suppress(OSError):
        for place in Path("/proc").iterdir():
            if place.name.isdecimal():
                with suppress(OSError, IndexError):
                    # The name of a program, in parentheses, may hold anything.
                    if (place / "stat").read_bytes().rpartition(b")")[2].split()[1].decode() == own:
                        found.append(int(place.name))
    return found


def _end_as(status: int | None) -> None:
    if status is None:
        sys.exit(1)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        sys.exit(code)
    with suppress(OSError, ValueError):
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)


if __name__ == "__main__":
    main()
