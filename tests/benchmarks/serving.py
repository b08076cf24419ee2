"""What a server adds to a call, beside bare LiteLLM and LiteLLM's own proxy; and its memory after many requests.

    python -m tests.benchmarks.serving [--rounds 5] [--each 40] [--at-once 16] [--proxy PATH]
    python -m tests.benchmarks.serving --memory 10000

All reach the same loopback server, in turns, each time with another question. `--proxy` is the command `litellm` of an
environment with `pip install 'litellm[proxy]'`. "One call" is a model by its name; "three calls" are three models at
once, by `jisi` with its routing before (400 questions x 10 models, hashing embedder). Milliseconds are a client's,
which is httpx for the servers; processor milliseconds are the serving process's own (for bare LiteLLM the client's).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.cold_start import MODELS, build
from tests.faults.scene import Server, environment, serving, start, write_pool

Ask = Callable[[str], Awaitable[None]]
KEY = "sk-of-the-proxy"
PROXY_MODEL = """  - model_name: {name}
    litellm_params:
      model: openai/{name}
      api_base: {base}
      api_key: none
"""


@dataclass
class Way:
    """One way to get an answer.

    Attributes:
        name: As it is printed.
        ask: Asks one question and waits for the answer.
        pid: The process that serves.
        alone: Seconds of each question that was asked alone.
        beside: Seconds of each question that was asked beside others.
        processor: Processor seconds of the process, for all of them.
        wall: Seconds that those beside others took together.
    """

    name: str
    ask: Ask
    pid: int
    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    processor: float = 0.0
    wall: float = 0.0


def processor_seconds(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


@contextmanager
def jisi_serve(folder: Path, server: Server) -> Iterator[tuple[int, str]]:
    """Start `jisi serve`; yield its process and address."""
    build(folder / "bank", 400, 256)
    pool = write_pool(folder / "jisi.toml", server, MODELS)
    process = start(
        folder, "serve", "--bank", folder / "bank", "--config", pool, "--port", "0", "--concurrency", "1000"
    )
    assert process.stderr is not None
    try:
        url = ""
        while not url:
            line = process.stderr.readline()
            assert line, "jisi serve ended"
            url = line.split()[2] if line.startswith("serving on ") else ""
        wait_for(f"{url.removesuffix('/v1')}/health", process)
        yield process.pid, url
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextmanager
def litellm_proxy(folder: Path, server: Server, command: str) -> Iterator[tuple[int, str]]:
    """Start LiteLLM's proxy; yield its process and address."""
    config, port = folder / "proxy.yaml", free_port()
    entries = "".join(PROXY_MODEL.format(name=name, base=server.api_base) for name in MODELS)
    config.write_text(f"model_list:\n{entries}")
    arguments = [command, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    key = {"LITELLM_MASTER_KEY": KEY}  # without one it does not start
    process = subprocess.Popen(arguments, env={**environment(folder), **key}, **quiet)  # type: ignore[call-overload]
    try:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", process)
        yield process.pid, f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[Any]) -> None:
    while True:
        assert process.poll() is None, f"the server for {url} ended"
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


def over_http(client: httpx.AsyncClient, url: str, model: str, **more: object) -> Ask:
    async def ask(question: str) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": question}], **more}
        response = await client.post(f"{url}/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"})
        response.raise_for_status()

    return ask


def by_litellm(server: Server, models: Sequence[str]) -> Ask:
    from litellm import acompletion

    async def ask(question: str) -> None:
        messages = [{"role": "user", "content": question}]
        one = [acompletion(f"openai/{m}", messages=messages, api_base=server.api_base, api_key="none") for m in models]
        await asyncio.gather(*one)

    return ask


async def measure(ways: Sequence[Way], rounds: int, each: int, at_once: int) -> None:
    """Ask in turns, alone and beside others; the first round only warms up."""
    numbers = count()
    for turn in range(rounds + 1):
        for way in ways:
            before, alone, beside = processor_seconds(way.pid), [], []
            for _ in range(each):
                alone.append(await timed(way.ask, next(numbers)))
            began = time.perf_counter()
            for _ in range(each // at_once):
                beside += await asyncio.gather(*(timed(way.ask, next(numbers)) for _ in range(at_once)))
            if turn:
                way.alone += alone
                way.beside += beside
                way.wall += time.perf_counter() - began
                way.processor += processor_seconds(way.pid) - before


async def timed(ask: Ask, number: int) -> float:
    began = time.perf_counter()
    await ask(f"What is the square of {number}, and what do you think of that number?")
    return time.perf_counter() - began


def report(ways: Sequence[Way], at_once: int) -> None:
    beside = f"of {at_once}"
    print(
        f"{'milliseconds':<36} {'p50':>7} {'p95':>7} {'p50 ' + beside:>10} {'p95 ' + beside:>10} {'/s':>6} {'cpu':>6}"
    )
    for way in ways:
        cells = [1000 * part for times in (way.alone, way.beside) for part in percentiles(times)]
        rate, processor = len(way.beside) / way.wall, 1000 * way.processor / (len(way.alone) + len(way.beside))
        print(
            f"{way.name:<36} {cells[0]:7.1f} {cells[1]:7.1f} {cells[2]:10.1f} {cells[3]:10.1f} "
            f"{rate:6.0f} {processor:6.1f}"
        )


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    return statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]


async def compare(chosen: argparse.Namespace, folder: Path, server: Server, stack: ExitStack) -> None:
    pid, url = stack.enter_context(jisi_serve(folder, server))
    mode = {"jisi": {"mode": "route"}}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
        ways = [
            Way("nothing between (httpx), one call", over_http(client, server.api_base, MODELS[0]), os.getpid()),
            Way("LiteLLM, one call", by_litellm(server, MODELS[:1]), os.getpid()),
            Way("jisi serve, one call", over_http(client, url, MODELS[0]), pid),
            Way("LiteLLM, three calls", by_litellm(server, MODELS[:3]), os.getpid()),
            Way("jisi serve, three calls", over_http(client, url, "jisi", **mode), pid),
        ]
        if chosen.proxy is not None:
            proxy_pid, proxy_url = stack.enter_context(litellm_proxy(folder, server, chosen.proxy))
            ways.insert(2, Way("LiteLLM's proxy, one call", over_http(client, proxy_url, MODELS[0]), proxy_pid))
        await measure(ways, chosen.rounds, chosen.each, chosen.at_once)
    report(ways, chosen.at_once)


async def remember(requests: int, at_once: int, folder: Path, server: Server, stack: ExitStack) -> None:
    """Print what the server's process holds in memory as requests go by."""
    pid, url = stack.enter_context(jisi_serve(folder, server))
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        ask = over_http(client, url, "jisi", jisi={"mode": "route"})
        for done in range(0, requests + 1, at_once):
            if done % (max(1, requests // at_once // 10) * at_once) == 0:
                print(f"{done:>7,} requests: {resident_mb(pid):7.1f} MB", flush=True)
            await asyncio.gather(*(timed(ask, done + place) for place in range(at_once)))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--each", type=int, default=48, help="questions a round, alone, and as many beside others")
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--proxy", help="the command `litellm` of an environment with litellm[proxy]")
    parser.add_argument("--memory", type=int, metavar="REQUESTS", help="look at memory instead of time")
    chosen = parser.parse_args(arguments)
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        server = stack.enter_context(serving(folder, {"*": {"text": "an answer"}}))
        if chosen.memory is not None:
            asyncio.run(remember(chosen.memory, chosen.at_once, folder, server, stack))
        else:
            asyncio.run(compare(chosen, folder, server, stack))


if __name__ == "__main__":
    main(sys.argv[1:])
