"""Programs that are run once, with limits and a folder of their own, without trusting what they write."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self


class ScratchFolder:
    """An empty folder; a context manager, after which the folder is gone.

    Attributes:
        path: Where it is.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="jisi-grading-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)

    def holds_more_than(self, entries: int, size: int) -> bool:
        """Whether there are more files and folders in it, or more bytes, or some that cannot be looked at."""
        pending = [str(self.path)]
        while pending:
            try:
                with os.scandir(pending.pop()) as found:
                    for entry in found:
                        entries -= 1
                        size -= entry.stat(follow_symlinks=False).st_size
                        if entries < 0 or size < 0:
                            return True
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone since it was found
            except OSError:
                return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._flatten()
        self._folder.cleanup()

    def _flatten(self) -> None:
        """Remove all files, and folders level by level: `shutil.rmtree` gives up a thousand levels down."""
        self.path.chmod(0o700)
        prefix, moved, pending = secrets.token_hex(8), 0, True
        while pending:
            pending = False
            for entry in list(self.path.iterdir()):
                if not _is_folder(entry):
                    entry.unlink()
                    continue
                for inner in list(entry.iterdir()):
                    if _is_folder(inner):
                        pending, moved = True, moved + 1
                        inner.rename(self.path / f"{prefix}-{moved}")
                    else:
                        inner.unlink()
                entry.rmdir()


def _is_folder(path: Path) -> bool:
    """Whether it is a folder and no link to one; if so it can be read and emptied from now on."""
    if path.is_symlink() or not path.is_dir():
        return False
    path.chmod(0o700)
    return True


_MOST_READ = 1 << 24
_LOOK = 0.02
"""Seconds between two looks at what a program does."""
_PATIENCE = 5.0
"""Seconds that a keeper has for ending what its program started."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended.

    Attributes:
        code: Its exit code, negative for a signal; None when its time was up or it did what it may not.
        output: The first 16 MiB that it wrote to standard output.
        errors: The first 16 MiB that it wrote to standard error.
    """

    code: int | None
    output: bytes
    errors: bytes


_KEEPER = Path(__file__).parent / "confined" / "keeper.py"


def kept(command: Sequence[str], file_size: int) -> list[str]:
    """Return a command that runs another one and ends with this process, together with all that it started.

    Args:
        command: The program and its arguments.
        file_size: Bytes of the largest file that it may write.
    """
    if os.name != "posix":
        return [*command]
    return [sys.executable, "-I", "-S", "-X", "utf8", str(_KEEPER), str(os.getpid()), str(file_size), *command]


def threads_of(process: int) -> int:
    """Return how many threads a process has; 0 where the system does not say."""
    try:
        # The name of a program, in parentheses, may hold anything.
        return int(Path("/proc", str(process), "stat").read_bytes().rpartition(b")")[2].split()[17])
    except (OSError, IndexError, ValueError):
        return 0


class Processes:
    """Runs programs, from any thread, and can end all of them at once."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(
        self,
        command: Sequence[str],
        given: bytes,
        seconds: float,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        excessive: Callable[[int], bool] | None = None,
    ) -> Finished:
        """Run a program to its end, or for so many seconds.

        Its streams are files, so that nothing that it writes or leaves unread can block this process; one that writes
        more than is read of it is killed.

        Args:
            command: The program and its arguments; no shell sees them.
            given: Its standard input.
            seconds: Time after which it is killed, together with what it started.
            folder: Where it runs.
            environment: Its environment; None for that of this process.
            excessive: Asked again and again whether the process of this number does what it may not, and is to be
                killed.

        Raises:
            OSError: It cannot be started.
        """
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            stdin.write(given)
            stdin.seek(0)
            process = self._start(command, (stdin, output, errors), folder, environment)
            streams = (output.fileno(), errors.fileno())
            try:
                code = _wait(process, seconds, lambda: _floods(streams) or bool(excessive and excessive(process.pid)))
            finally:
                _kill(process)
                with self._lock:
                    self._running.discard(process)
            return Finished(code, _read(output), _read(errors))

    def close(self) -> None:
        """Kill what is running and start nothing any more."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)

    def _start(
        self,
        command: Sequence[str],
        streams: tuple[IO[bytes], IO[bytes], IO[bytes]],
        folder: Path | None,
        environment: Mapping[str, str] | None,
    ) -> subprocess.Popen[bytes]:
        stdin, output, errors = streams
        with self._lock:
            if self._closed:
                raise OSError("grading was ended")
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=output,
                stderr=errors,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
            self._running.add(process)
            return process


def _wait(process: subprocess.Popen[bytes], seconds: float, excessive: Callable[[], bool]) -> int | None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            return process.wait(min(left, _LOOK))
        except subprocess.TimeoutExpired:
            if excessive():
                break
    return None


def _floods(streams: Sequence[int]) -> bool:
    return any(os.fstat(stream).st_size > _MOST_READ for stream in streams)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with its session, unless it has ended by itself; a keeper ends what it keeps first."""
    if process.poll() is not None:
        return
    if isinstance(process.args, list) and str(_KEEPER) in process.args:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
            return
    with suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(_MOST_READ)
