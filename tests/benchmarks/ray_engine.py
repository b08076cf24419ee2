"""Measure calls that workers of a Ray cluster make against those that one process makes: calls a second, and what each
takes of processors.

    python -m tests.benchmarks.ray_engine [--calls 256] [--concurrency 32] [--delay 1.0] [--nodes 1 2]

A loopback server answers after a delay. Whoever asks is the live pool of every run, with cache, ledger and budget; on
the cluster its calls are made by a worker on each node (of one processor). Processor time is that of the process that
asks, and of all processes of the nodes, Ray's own among them, while the calls are made.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jisi_cli.cluster.calls import ClusterCaller
from jisi_cli.cluster.engine import read_engine
from jisi_cli.cluster.session import Session
from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.json_disk import open_cache
from jisi_cli.models.ledger import Ledger
from jisi_cli.models.limits import Budget, Limits
from jisi_cli.models.live import LivePool
from jisi_cli.types import Message, Request, Sampling
from tests.cluster.nodes import Node, Nodes
from tests.faults.scene import serving

MODEL = "ada"
KEY = "BENCHMARK_API_KEY"


class Round(NamedTuple):
    """One round of calls: calls a second, and processor milliseconds a call here and on the nodes."""

    per_second: float
    here_ms: float
    nodes_ms: float
    dollars: float


def measure(
    folder: Path, api_base: str, calls: int, concurrency: int, session: Session | None, nodes: list[Node]
) -> Round:
    """Make so many calls, after one for each worker that starts it."""
    entry = ModelEntry(MODEL, f"openai/{MODEL}", api_base=api_base, api_key_env=KEY, price=Price(1, 2))
    budget = Budget(100.0)
    pool = LivePool(
        [entry],
        rng=random.Random(0),
        cache=open_cache(folder / "cache", warn=print),
        ledger=Ledger(folder / "ledger" / "calls.sqlite", warn=print),
        budget=budget,
        limits=Limits(concurrency=concurrency),
        elsewhere=None if session is None else partial(ClusterCaller, session, concurrency),
    )

    async def ask(what: str) -> None:
        message = Message(role="user", content=what)
        answer = await pool.ask(Request(MODEL, [message], "expert", Sampling(max_tokens=100)))
        if not answer.ok:
            raise RuntimeError(answer.error)

    async def run() -> Round:
        async with pool:
            for _ in range(3):  # all workers are there, and have imported what they need
                await asyncio.gather(*(ask(f"{os.urandom(8).hex()}?") for _ in range(concurrency)))
            numbers = iter(range(calls))

            async def worker() -> None:
                for number in numbers:
                    await ask(f"what is {number} plus {number}?")

            spent = budget.spent_usd
            wall, here, there = time.perf_counter(), time.process_time(), _seconds_of(nodes)
            await asyncio.gather(*(worker() for _ in range(concurrency)))
            wall, here = time.perf_counter() - wall, time.process_time() - here
            there = _seconds_of(nodes) - there
            return Round(calls / wall, 1e3 * here / calls, 1e3 * there / calls, budget.spent_usd - spent)

    return asyncio.run(run())


def _seconds_of(nodes: list[Node]) -> float:
    """Return the processor seconds that the processes of some nodes have taken so far."""
    ticks = 0
    for pid in (pid for node in nodes for pid in node.processes()):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=256)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--delay", type=float, default=1.0, help="seconds that an answer takes")
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2])
    given = parser.parse_args()
    os.environ[KEY] = "none"
    usage = {"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60}
    with (
        tempfile.TemporaryDirectory() as name,
        serving(Path(name), {MODEL: {"delay": given.delay, "usage": usage}}) as server,
    ):
        folder = Path(name)
        show = partial(_show, server.api_base, given.calls, given.concurrency)
        show("asyncio", folder / "here", None, [])
        with Nodes(env={KEY: "none"}) as nodes:
            os.environ |= nodes.env
            for number in given.nodes:
                nodes.add(number - len(nodes.others))
                engine = read_engine(nodes.engine)
                assert engine is not None and nodes.head is not None
                session = Session(engine)
                there = [nodes.head, *nodes.others]
                show(f"ray, {number} node{'s' * (number > 1)}", folder / str(number), session, there)
                session.close()


def _show(
    api_base: str, calls: int, concurrency: int, what: str, folder: Path, session: Session | None, nodes: list[Node]
) -> None:
    found = measure(folder, api_base, calls, concurrency, session, nodes)
    processors = f"{found.here_ms:.1f} here, {found.nodes_ms:.1f} on the nodes"
    print(
        f"{what}: {found.per_second:.1f} calls/s; processor ms a call: {processors}; ${found.dollars:.4f}", flush=True
    )


if __name__ == "__main__":
    main()
