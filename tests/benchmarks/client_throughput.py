"""Measure the client against a loopback server that answers at once: calls per second, and what of it is jisi's.

    python -m tests.benchmarks.client_throughput [--calls 400] [--concurrency 32] [--rounds 5]

The opponent is LiteLLM's `acompletion` over the same connections and nothing around it. Both ask different questions
in turns, so that nothing comes from a cache. jisi looks into its cache, holds a lease, writes answer and ledger to
the disk, prices the call, and reserves its worst case of a budget. Processor time is the client's own; the server is
another process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.json_disk import open_cache
from jisi_cli.models.ledger import Ledger
from jisi_cli.models.limits import Budget, Limits
from jisi_cli.models.litellm_client import load_litellm
from jisi_cli.models.live import LivePool
from jisi_cli.models.transport import lenient_client
from jisi_cli.types import Message, Request, Sampling
from tests.faults.scene import serving

MODEL = "ada"
Ask = Callable[[str], Awaitable[str]]


class Round(NamedTuple):
    """One round of calls: wall and processor seconds per call."""

    wall: float
    processor: float


async def measure(ask: Ask, calls: int, concurrency: int, label: str) -> Round:
    """Ask so many questions, so many at a time."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            answer = await ask(f"{label}: what is {number} plus {number}?")
            if answer != "an answer":
                raise RuntimeError(f"not answered: {answer!r}")

    wall, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return Round((time.perf_counter() - wall) / calls, (time.process_time() - processor) / calls)


async def compare(folder: Path, api_base: str, calls: int, concurrency: int, rounds: int) -> tuple[list[Round], ...]:
    """Return the rounds of LiteLLM alone and of jisi, made in turns."""
    import openai

    litellm = load_litellm()
    http = lenient_client()
    client = openai.AsyncOpenAI(api_key="none", base_url=api_base, max_retries=0, http_client=http)

    async def bare(question: str) -> str:
        messages = [{"role": "user", "content": question}]
        settings = {"temperature": 0.2, "top_p": 1.0, "max_tokens": 100, "timeout": 60.0, "max_retries": 0}
        answer = await litellm.acompletion(model=f"openai/{MODEL}", messages=messages, client=client, **settings)
        return str(answer.choices[0].message.content)

    entry = ModelEntry(MODEL, f"openai/{MODEL}", api_base=api_base, price=Price(1, 2))
    pool = LivePool(
        [entry],
        rng=random.Random(0),
        cache=open_cache(folder / "cache", warn=print),
        ledger=Ledger(folder / "ledger" / "calls.sqlite", warn=print),
        budget=Budget(1000.0),
        limits=Limits(concurrency=concurrency),
    )

    async def ours(question: str) -> str:
        messages = [Message(role="user", content=question)]
        return (await pool.ask(Request(MODEL, messages, "expert", Sampling(max_tokens=100)))).text

    async with pool:
        for ask in (bare, ours):
            await measure(ask, 2 * concurrency, concurrency, "first")
        found: tuple[list[Round], list[Round]] = ([], [])
        for number in range(rounds):
            for ask, results in zip((bare, ours), found, strict=True):
                results.append(await measure(ask, calls, concurrency, f"round {number}"))
    await http.aclose()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parsed = parser.parse_args(arguments)
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), {MODEL: {"text": "an answer"}}) as server:
        work = compare(Path(folder), server.api_base, parsed.calls, parsed.concurrency, parsed.rounds)
        bare, ours = asyncio.run(work)
    for name, rounds in (("LiteLLM alone", bare), ("jisi", ours)):
        wall, processor = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"{name}: {1 / wall:,.0f} calls a second, {processor * 1e3:.2f} ms of processor time a call")
    shares = [1 - alone.processor / whole.processor for alone, whole in zip(bare, ours, strict=True)]
    walls = [whole.wall / alone.wall for alone, whole in zip(bare, ours, strict=True)]
    print(f"of jisi's processor time its own: {statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})")
    print(f"wall time against LiteLLM alone: {statistics.median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})")


if __name__ == "__main__":
    main()
