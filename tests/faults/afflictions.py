"""What a process does to itself before a command runs, so that the command meets a fault of the machine."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import sys
import time
from itertools import count


def no_more_than(size: int) -> None:
    """Let no file grow beyond some bytes, as on a disk that is full."""
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
    import jisi_cli.ledger
    import jisi_cli.llm.live

    chance, now, calls = random.Random(seed), time.time, count()

    def jumping() -> float:
        return now() + chance.choice([0, -86_400, 86_400, -10 * 365 * 86_400, 50 * 365 * 86_400]) * (next(calls) % 3)

    time.time = jumping

    class Datetime(jisi_cli.llm.live.datetime):  # type: ignore[misc]
        @classmethod
        def now(cls, tz: object = None) -> Datetime:
            return cls.fromtimestamp(jumping(), tz)

    jisi_cli.llm.live.datetime = Datetime


def closed(*numbers: int) -> None:
    """Close standard streams, as a shell does with `>&-`; Python then starts without them."""
    for number in numbers:
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)
