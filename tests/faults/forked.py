"""`jisi` as a process of its own, without its start-up: a process that has imported everything forks itself.

A fault can then be met by many commands in a short time. What happens during the start-up itself needs `scene.start`,
whose processes these resemble.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.cli.commands import Run
from tests.faults.scene import environment

_IMPORTED = (
    *("jisi_cli.cli.app", "jisi_cli.cli.eval", "jisi_cli.cli.build", "jisi_cli.cli.ask"),
    *("jisi_cli.cli.cost", "jisi_cli.models.provider", "jisi_cli.methods.jisi", "litellm", "diskcache"),
    *("jisi_cli.cli.serve", "jisi_cli.serve.app", "uvicorn"),
    *("pyarrow.parquet", "sklearn.feature_extraction.text", "tests.faults.forked"),
    # What LiteLLM imports at the first call only; a name that is gone does no harm.
    *("litellm.proxy._types", "litellm.llms.litellm_proxy.chat.transformation", "litellm._service_logger"),
    *("litellm.proxy.spend_tracking.savings", "litellm.llms.openai.chat.gpt_audio_transformation"),
)
_SECONDS = 300.0

Prepare = Callable[[], None]
"""What a process does to itself before the command runs; a function of a module, or a partial of one."""

# The process that forks gets this process's environment, and reads the price map when it imports LiteLLM.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(_IMPORTED))

_lock = threading.Lock()
"""Held by whoever starts a process or asks for an exit code. multiprocessing asks for the codes of all processes
whenever one is started, and when two threads ask for the same code, one of them gets it and the other gets 255."""


class Forked:
    """One command at work; what tests use of `subprocess.Popen`.

    Args:
        process: The process.
        streams: The ends of the pipes that are its stdout and stderr.
    """

    def __init__(self, process: ForkServerProcess, streams: tuple[Connection, Connection]) -> None:
        self._process = process
        self._said = (bytearray(), bytearray())
        self._readers = [
            threading.Thread(target=_read_to_end, args=pair, daemon=True)
            for pair in zip(streams, self._said, strict=True)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def returncode(self) -> int | None:
        """The exit code; a negative one is the signal that ended it; None as long as it is at work."""
        with _lock:
            return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def communicate(self, timeout: float = _SECONDS) -> tuple[str, str]:
        """Wait for the end; return what it wrote to stdout and stderr."""
        wait([self._process.sentinel], timeout)
        if self.returncode is None:
            self.kill()
            raise subprocess.TimeoutExpired("jisi", timeout, *self.said())
        for reader in self._readers:
            reader.join(_SECONDS)
        return self.said()

    def send_signal(self, number: int) -> None:
        if self.returncode is None and self._process.pid is not None:
            # It may end in this very moment; the process that forked it does not wait for us to be told.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def finish(self) -> Run:
        """Wait for the end; return all of it."""
        out, err = self.communicate()
        assert self.returncode is not None
        return Run(self.returncode, out, err)

    def interrupt(self) -> Run:
        """Press Ctrl-C and wait."""
        self.send_signal(signal.SIGINT)
        return self.finish()

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened to a command that is still at work."""
        end = time.monotonic() + _SECONDS
        while not happened():
            assert self.poll() is None, self.finish()
            assert time.monotonic() < end, self.said()
            time.sleep(0.01)

    def said(self) -> tuple[str, str]:
        """Return what it has written so far."""
        out, err = (bytes(said).decode(errors="replace") for said in self._said)
        return out, err


def start(
    folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None, prepare: Prepare | None = None
) -> Forked:
    """Start a command.

    Args:
        folder: Where it keeps its files, unless `env` says otherwise.
        arguments: What stands behind `jisi`.
        env: Its environment.
        prepare: Called in the new process before the command runs.
    """
    words = ["jisi", *map(str, arguments)]
    (out, out_end), (err, err_end) = _context.Pipe(duplex=False), _context.Pipe(duplex=False)
    process = _context.Process(target=_run, args=(words, dict(env or environment(folder)), (out_end, err_end), prepare))
    with _lock:
        process.start()
    out_end.close()
    err_end.close()
    return Forked(process, (out, err))


def start_here(*arguments: str | Path, env: Mapping[str, str] | None = None, prepare: Prepare | None = None) -> Forked:
    """Start a command with the folders and the environment of the test that calls."""
    return start(Path(), *arguments, env={**os.environ, **(env or {})}, prepare=prepare)


def given(source: Path) -> None:
    """Let stdin be a file; for `prepare`."""
    os.dup2(os.open(source, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0, encoding="utf-8")


def _read_to_end(stream: Connection, said: bytearray) -> None:
    with stream:
        while piece := os.read(stream.fileno(), 65536):
            said += piece


def _run(
    words: list[str], variables: dict[str, str], streams: tuple[Connection, Connection], prepare: Prepare | None
) -> None:
    from jisi_cli.cli.app import main

    os.environ.clear()
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.argv = words
    if prepare is not None:
        prepare()
    try:
        main()
    except SystemExit as end:
        code = end.code
    # multiprocessing ends a process without what Python does at the end, such as closing databases.
    gc.collect()
    raise SystemExit(code)
