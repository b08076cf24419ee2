"""What a process does to itself before a command runs, so that the command meets a fault of the machine."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any


def no_more_than(size: int) -> None:
    """Let no file grow beyond some bytes, as on a disk that is full."""
    # Python leaves a bytecode file that was cut short, and later tests would fail to import it.
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def bound_by_permissions() -> None:
    """Give up the superuser's right to write where permissions forbid it; nobody else has it."""
    if os.geteuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    version_3_of_this_process = (ctypes.c_uint32 * 2)(0x20080522, 0)
    no_capabilities = (ctypes.c_uint32 * 6)()
    if libc.capset(version_3_of_this_process, no_capabilities):
        raise OSError(ctypes.get_errno(), "capset")


def clock_that_jumps(seed: int) -> None:
    """Let the time of day jump back and forth by days and years; time that only passes is left alone."""
    import jisi_cli.models.ledger
    import jisi_cli.models.live

    chance, now, calls = random.Random(seed), time.time, count()

    def jumping() -> float:
        return now() + chance.choice([0, -86_400, 86_400, -10 * 365 * 86_400, 50 * 365 * 86_400]) * (next(calls) % 3)

    time.time = jumping

    class Datetime(jisi_cli.models.live.datetime):  # type: ignore[misc]
        @classmethod
        def now(cls, tz: object = None) -> Datetime:
            return cls.fromtimestamp(jumping(), tz)

    jisi_cli.models.live.datetime = Datetime


def closed(*numbers: int) -> None:
    """Close standard streams, as a shell does with `>&-`; Python then starts without them."""
    for number in numbers:
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)


_FILE_EVENTS = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "sqlite3.connect", "socket.connect"}
    | {"fcntl.flock", "fcntl.lockf"}
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def killed_once_journalled(chunks: int) -> None:
    """Kill this process once so many chunks of vectors are in the journal."""
    from jisi_cli.bank.vector_journal import VectorJournal

    append, seen = VectorJournal.append, count(1)

    def last(journal: VectorJournal, *arguments: Any) -> None:
        append(journal, *arguments)
        if next(seen) == chunks:
            os.kill(os.getpid(), signal.SIGKILL)

    VectorJournal.append = last  # type: ignore[method-assign]


def killed_before_it_is_kept(kind: str) -> None:
    """Kill this process just before the first value is put into a cache.

    Args:
        kind: The name of the cache's folder.
    """
    from jisi_cli.models.json_disk import JsonCache

    keep = JsonCache.set

    def last(cache: JsonCache, key: str, value: Any) -> None:
        if cache.folder is not None and cache.folder.name == kind:
            os.kill(os.getpid(), signal.SIGKILL)
        keep(cache, key, value)

    JsonCache.set = last  # type: ignore[method-assign]


def unhurried() -> None:
    """Let Ctrl-C wait for an ending in order, which takes longer than it is given on a machine that is busy."""
    from jisi_cli.cli import interrupts

    interrupts._PATIENCE = 300


def looks_at_once() -> None:
    """Look every few hundredths of a second how far a batch is; of itself jisi waits for seconds, and then longer."""
    from jisi_cli.models.batch.batches import Polling

    Polling.pause = lambda polling, number: 0.02  # type: ignore[method-assign]


def killed_before(number: int | None, tally: Path) -> None:
    """Kill this process just before one of the calls by which it changes files or meets others.

    Args:
        number: Which call, from 1; None for none.
        tally: A file that gets a byte for every such call.
    """
    file, seen = os.open(tally, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), count(1)

    def step() -> None:
        os.write(file, b".")
        if next(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FILE_EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES):
            step()

    def fsync(number: int, sync: Callable[[int], None] = os.fsync) -> None:
        step()
        sync(number)

    os.fsync = fsync
    sys.addaudithook(hook)
