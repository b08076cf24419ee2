"""A child process that is asked again and again, and killed when an answer takes too long."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from jisi_cli.errors import JisiError
from jisi_cli.grading.registry import OutOfTime, Ungraded

_SCRIPT = Path(__file__).parent / "confined" / "worker.py"
_START = 60.0
"""Seconds for the imports of a new child, on a machine with other things to do."""
_CLOSED = "grading was ended"


class Worker:
    """One child process, started when it is first asked, and again after it was killed.

    It may be asked from several threads; one request is under way at a time.

    Args:
        task: What `confined/worker.py` does: `regex` or `math`.
        seconds: Time for one request.
    """

    def __init__(self, task: str, seconds: float) -> None:
        self._task, self._seconds = task, seconds
        self._process: subprocess.Popen[str] | None = None
        self._turn = threading.Lock()
        self._closed = False

    def ask(self, request: dict[str, str]) -> object:
        """Return the reply to a request.

        Raises:
            Ungraded: There is no reply in time, or the child reports an error.
            JisiError: The child cannot be started.
        """
        with self._turn:
            process = self._running()
            reply = _exchange(process, json.dumps(request) + "\n", self._seconds)
            if not reply:
                self._end()
                raise OutOfTime(f"it took longer than {self._seconds:g} s, or too much memory")
        answer = json.loads(reply)
        if isinstance(answer, dict):
            raise Ungraded(str(answer["error"]))
        return answer

    def close(self) -> None:
        """End the child, in the middle of a request too."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._turn:
            self._end()

    def _running(self) -> subprocess.Popen[str]:
        if self._closed:
            raise Ungraded(_CLOSED)
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-X", "utf8", str(_SCRIPT), self._task],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
            # `close` sets the mark before it looks for a process, so that one of the two sees the other.
            ready = not self._closed and _exchange(self._process, "", _START) == "ready\n"
            if not ready:
                self._end()
            if self._closed:
                raise Ungraded(_CLOSED)
            if not ready:
                command = shlex.join([sys.executable, "-P", str(_SCRIPT), self._task])
                raise JisiError(f"the process that grades cannot be started; run `{command}` to see why")
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in _pipes(process):
                with suppress(OSError):  # what was not sent no longer matters
                    pipe.close()
            process.wait()


def _exchange(process: subprocess.Popen[str], line: str, seconds: float) -> str:
    """Send a line and return the next one; nothing when the process ends, or is ended after that time."""
    requests, replies = _pipes(process)
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    try:
        requests.write(line)
        requests.flush()
        return replies.readline()
    except OSError:
        return ""
    finally:
        limit.cancel()


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process was started without pipes")
    return process.stdin, process.stdout
