"""Processor time and rate of a live evaluation's calls, beside LiteLLM and httpx making as many calls alone.

    python -m tests.benchmarks.live_evaluation [--questions 100] [--concurrency 32] [--delay 0.02] [--rounds 3]

Each way is a process of its own, in turns, asking the same loopback server three models for every question; start-up
is measured by the same process on one question and taken off. LiteLLM and httpx only call. `jisi eval --live` plans,
keeps answers and results, prices, grades, and, but for the vote, embeds every answer (62 words) and compares it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.cold_start import MODELS, SAMPLE, build, run
from tests.benchmarks.first_request import ENTRY, SAMPLE_MODELS
from tests.faults.scene import environment, serving

CALLS = 3
ANSWER = (
    "Let us go through it step by step for call {number}. First look at what is asked: {question} Then split it "
    "into parts that are easier, and work each of them out in turn. The first part gives a number that the second "
    "one needs, and the second one is checked against the first. Putting both together, and reading the question "
    "again, the answer is {number}."
)
LITELLM = """
import asyncio, sys
from litellm import acompletion
questions, concurrency = int(sys.argv[1]), int(sys.argv[2])
async def main():
    left = iter(range({calls} * questions))
    async def worker():
        for number in left:
            messages = [dict(role="user", content=f"Say number {{number}}.")]
            await acompletion("openai/ada", messages=messages, api_base="{base}", api_key="none", max_tokens=1000)
    await asyncio.gather(*(worker() for _ in range(concurrency)))
asyncio.run(main())
"""
HTTPX = """
import asyncio, httpx, sys
questions, concurrency = int(sys.argv[1]), int(sys.argv[2])
async def main():
    left = iter(range({calls} * questions))
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=60) as client:
        async def worker():
            for number in left:
                body = dict(model="ada", messages=[dict(role="user", content=f"Say number {{number}}.")])
                (await client.post("{base}/chat/completions", json=body)).json()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
asyncio.run(main())
"""


class Spent(NamedTuple):
    """Milliseconds a call, beyond those of the start."""

    wall: float
    processor: float


def write_questions(path: Path, count: int, turn: int) -> Path:
    """Write questions that no turn before has asked, whose reference every answer contains."""
    rows = (
        {"dataset": "d", "index": n, "query": f"Say number {n} of {turn}.", "gt": "answer is", "grader": "contains"}
        for n in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def jisi(folder: Path, base: str, bank: Path, models: Sequence[str], method: str, concurrency: int) -> list[str]:
    """Return the command of an evaluation, but for its questions."""
    pool = folder / f"{bank.name}-{method}.toml"
    pool.write_text("".join(ENTRY.format(name=name, base=base) for name in models))
    places = ["--bank", str(bank), "--config", str(pool), "--method", method, "--concurrency", str(concurrency)]
    return [sys.executable, "-m", "jisi_cli", "eval", "--live", "--json", *places]


def ways(folder: Path, base: str, concurrency: int) -> dict[str, list[str]]:
    """Return what is measured; `{questions}` and `{file}` stand for how many are asked, and where they are."""
    build(folder / "hashing", 400, 256)
    python, count = [sys.executable, "-c"], ["{questions}", str(concurrency)]
    evaluations = {
        "jisi eval, a vote of three": (folder / "hashing", MODELS[:CALLS], "majority-voting-3"),
        "jisi eval, jisi-router, hashing": (folder / "hashing", MODELS[:CALLS], "jisi-router"),
        "jisi eval, jisi-router, MiniLM": (SAMPLE / "bank", SAMPLE_MODELS[:CALLS], "jisi-router"),
    }
    return {
        "httpx alone": [*python, HTTPX.format(base=base, calls=CALLS), *count],
        "LiteLLM alone": [*python, LITELLM.format(base=base, calls=CALLS), *count],
        **{
            name: [*jisi(folder, base, bank, models, method, concurrency), "{file}"]
            for name, (bank, models, method) in evaluations.items()
        },
    }


def spend(command: Sequence[str], folder: Path, questions: int, turn: int, variables: dict[str, str]) -> Spent:
    """Run a command on one question and on all of them; return what each further call takes."""
    found = []
    for count in (1, questions):
        file = write_questions(folder / f"{turn}-{count}.jsonl", count, turn)
        named = {"{questions}": str(count), "{file}": str(file)}
        found.append(run([named.get(word, word) for word in command], variables))
    (first_wall, first_processor, _), (wall, processor, _) = found
    calls = CALLS * (questions - 1)
    return Spent(1000 * (wall - first_wall) / calls, 1000 * (processor - first_processor) / calls)


def report(found: Mapping[str, Sequence[Spent]]) -> None:
    """Print medians, and processor time and rate beside LiteLLM's of the same run."""
    middle = {name: Spent(*map(statistics.median, zip(*spent, strict=True))) for name, spent in found.items()}
    print(f"{'a call':<34} {'cpu ms':>7} {'least':>7} {'/s':>6}   cpu and rate / LiteLLM's")
    for name, (wall, processor) in middle.items():
        ratio = ""
        if (other := middle.get("LiteLLM alone")) is not None:
            ratio = f"{processor / other.processor:.2f}, {other.wall / wall:.2f}"
        least = min(spent.processor for spent in found[name])
        print(f"{name:<34} {processor:7.1f} {least:7.1f} {1000 / wall:6.0f}   {ratio}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that the server takes for an answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="a regular expression for the names of the ways")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with serving(folder, {"*": {"text": ANSWER, "delay": chosen.delay}}) as server:
            variables = {**os.environ, **environment(folder)}
            wanted = ways(folder, server.api_base, chosen.concurrency)
            wanted = {name: way for name, way in wanted.items() if re.search(chosen.only, name)}
            found: dict[str, list[Spent]] = {name: [] for name in wanted}
            for turn in range(chosen.rounds):
                for place, (name, command) in enumerate(wanted.items()):
                    number = turn * len(wanted) + place
                    found[name].append(spend(command, folder, chosen.questions, number, variables))
    report(found)


if __name__ == "__main__":
    main()
