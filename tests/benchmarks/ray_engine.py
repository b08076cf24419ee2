"""Measure what workers of a Ray cluster do against one process: calls, blocks of a replay, and embedding.

    unshare -n sh -c "ip link set lo up && python -m tests.benchmarks.ray_engine calls"
    python -m tests.benchmarks.ray_engine replay [--bank sample_data/bank] [--block 8]
    python -m tests.benchmarks.ray_engine embedding [--texts 1280] [--block 32]

All nodes are of one processor, on this machine. Processor time is that of the process that asks, and of all processes
of the nodes, Ray's own among them, while the work is done.

calls: a loopback server answers after `--delay`. Whoever asks is the live pool of every run, with cache, ledger and
budget; on the cluster its calls are made by a worker on each node. Bytes are counted twice: those of the messages
between driver and workers, pickled one by one, and all that the loopback interface carries, from which what the
requests to the server take is known by the round without a cluster. Others on the machine use that interface, too, so
run it in a network of its own (`unshare -n`, which takes root).

replay and embedding: blocks a second once every worker has done some, `jisi-vote` on a bank's test rows, and MiniLM on
texts of the sample data.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pickle
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jisi_cli.cluster.call_messages import FromWorker, ToWorker
from jisi_cli.cluster.calls import ClusterCaller
from jisi_cli.cluster.embedding import _embedding
from jisi_cli.cluster.engine import read_engine
from jisi_cli.cluster.flight import Line
from jisi_cli.cluster.session import Session
from jisi_cli.cluster.workers import ClusterWorkers
from jisi_cli.config import ModelEntry, Price
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.evaluation.elsewhere import Block
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.runner import answering
from jisi_cli.evaluation.test_set import from_bank
from jisi_cli.jisi import Jisi
from jisi_cli.methods.registry import make_method
from jisi_cli.models.json_disk import open_cache
from jisi_cli.models.ledger import Ledger
from jisi_cli.models.limits import Budget, Limits
from jisi_cli.models.live import LivePool
from jisi_cli.types import Message, Request, Sampling
from jisi_cli.workers import each_piece
from tests.benchmarks.embedding_throughput import sample_texts
from tests.cluster.nodes import Node, Nodes
from tests.faults.scene import serving

MODEL = "ada"
KEY = "BENCHMARK_API_KEY"


class Round(NamedTuple):
    """One round of calls: calls a second, what each took, and dollars in all.

    Attributes:
        per_second: Calls a second.
        here_ms: Processor milliseconds a call in the process that asks.
        nodes_ms: The same on the nodes.
        carried: Bytes a call that the loopback interface carried.
        told: Bytes a call of the messages between driver and workers.
        dollars: Of all calls.
    """

    per_second: float
    here_ms: float
    nodes_ms: float
    carried: float
    told: float
    dollars: float


class Weighed(ClusterCaller):
    """Makes calls on a cluster, and weighs the messages."""

    told = 0

    def _hear(self, line: Line, message: FromWorker) -> None:
        Weighed.told += len(pickle.dumps(message))
        super()._hear(line, message)

    async def _deliver(self, handle: Any, line: Line) -> None:
        send = line.send

        def weigh(message: ToWorker) -> None:
            Weighed.told += len(pickle.dumps(message))
            send(message)

        line.send = weigh  # type: ignore[method-assign]
        await super()._deliver(handle, line)


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
        elsewhere=None if session is None else partial(Weighed, session, concurrency),
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

            spent, carried, told = budget.spent_usd, _carried(), Weighed.told
            wall, here, there = time.perf_counter(), time.process_time(), _seconds_of(nodes)
            await asyncio.gather(*(worker() for _ in range(concurrency)))
            wall, here = time.perf_counter() - wall, time.process_time() - here
            there = _seconds_of(nodes) - there
            carried, told = (_carried() - carried) / calls, (Weighed.told - told) / calls
            return Round(calls / wall, 1e3 * here / calls, 1e3 * there / calls, carried, told, budget.spent_usd - spent)

    return asyncio.run(run())


def _seconds_of(nodes: list[Node]) -> float:
    """Return the processor seconds that the processes of some nodes have taken so far."""
    ticks = 0
    for pid in (pid for node in nodes for pid in node.processes()):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _carried() -> int:
    """Return the bytes that the loopback interface of this network has carried so far."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.partition(":")[2].split()[0]) for line in lines if line.strip().startswith("lo:"))


# Blocks of a replay, and of texts to embed.

Work = tuple[Callable[..., Callable[[Any], Any]], tuple[Any, ...], list[Any]]
"""What makes the function, of what, and what it is called with."""


def replay_work(bank: Path, block: int) -> Work:
    """Return the blocks of a replay of `jisi-vote` on a bank's test rows."""
    jisi = Jisi(bank, method=None, calls="ignored")
    context = jisi.configured.context.for_method("jisi-vote")
    entries = [Entry("jisi-vote", make_method("jisi-vote", context), ())]
    tests = from_bank(jisi.bank, jisi.models, jisi.bank.test_rows, {})
    train = [jisi.bank.keys[row] for row in jisi.bank.train_rows.tolist()]
    parts = [range(start, min(start + block, len(tests))) for start in range(0, len(tests), block)]
    return answering, (entries, train), [Block(tests.part(part), {"jisi-vote": list(map(str, part))}) for part in parts]


def embedding_work(texts: int, block: int) -> Work:
    """Return blocks of texts of the sample data for MiniLM, each of all lengths."""
    found = sample_texts(texts)
    count = len(found) // block
    return _embedding, (EmbedderSpec("minilm"), "cpu", None), [found[start::count] for start in range(count)]


def measure_blocks(work: Work, session: Session | None, nodes: list[Node]) -> str:
    """Do the blocks, and say how many a second were done once every worker had done some."""
    make, given, pieces = work
    with nullcontext() if session is None else ClusterWorkers(session) as workers:
        done = each_piece(workers, make, given, pieces)
        # Nothing is pickled for this process, but what it would be is told once.
        sent, back = (len(pickle.dumps(what)) for what in (pieces[0], next(done)))
        for _ in range(4 * len(nodes)):
            next(done)
        wall, here, there = time.perf_counter(), time.process_time(), _seconds_of(nodes)
        left = sum(1 for _ in done)
        wall, here = time.perf_counter() - wall, time.process_time() - here
        there = _seconds_of(nodes) - there
    each = f"{1e3 * here / left:.1f} here, {1e3 * there / left:.1f} on the nodes"
    moved = f"{sent:,} bytes to a worker with the first, {back:,} back"
    return f"{left / wall:.2f} blocks/s of {left}; processor ms a block: {each}; {moved}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="?", choices=["calls", "replay", "embedding"], default="calls")
    parser.add_argument("--calls", type=int, default=256)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--delay", type=float, default=1.0, help="seconds that an answer takes")
    parser.add_argument("--bank", type=Path, default=Path("sample_data/bank"))
    parser.add_argument("--texts", type=int, default=1280)
    parser.add_argument("--block", type=int, help="questions or texts of a block [8, 32]")
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2])
    given = parser.parse_args(arguments)
    os.environ[KEY] = "none"
    if given.work == "calls":
        usage = {"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60}
        with (
            tempfile.TemporaryDirectory() as name,
            serving(Path(name), {MODEL: {"delay": given.delay, "usage": usage}}) as server,
        ):
            _on_nodes(given.nodes, partial(_measure_calls, Path(name), server.api_base, given.calls, given.concurrency))
    elif given.work == "replay":
        _on_nodes(given.nodes, partial(measure_blocks, replay_work(given.bank, given.block or 8)))
    else:
        _on_nodes(given.nodes, partial(measure_blocks, embedding_work(given.texts, given.block or 32)))


def _on_nodes(numbers: Sequence[int], measure: Callable[[Session | None, list[Node]], str]) -> None:
    """Measure in this process, and then on so many nodes, one number after another."""
    print(f"asyncio: {measure(None, [])}", flush=True)
    if not numbers:
        return
    with Nodes(env={KEY: "none"}) as nodes:
        os.environ |= nodes.env
        for number in numbers:
            nodes.add(number - len(nodes.others))
            engine = read_engine(nodes.engine)
            assert engine is not None and nodes.head is not None
            session = Session(engine)
            found = measure(session, [nodes.head, *nodes.others])
            print(f"ray, {number} node{'s' * (number > 1)}: {found}", flush=True)
            session.close()


def _measure_calls(
    folder: Path, api_base: str, calls: int, concurrency: int, session: Session | None, nodes: list[Node]
) -> str:
    found = measure(folder / str(len(nodes)), api_base, calls, concurrency, session, nodes)
    return (
        f"{found.per_second:.1f} calls/s; processor ms a call: {found.here_ms:.1f} here, {found.nodes_ms:.1f} on the "
        f"nodes; bytes a call: {found.carried:,.0f} through the loopback interface, {found.told:,.0f} of messages; "
        f"${found.dollars:.4f}"
    )


if __name__ == "__main__":
    main()
