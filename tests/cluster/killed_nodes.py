"""Kill nodes of a Ray cluster under `jisi bank build --call --engine ray`, and see that nothing is lost or paid twice.

    python -m tests.cluster.killed_nodes [--kills 10] [--questions 300] [--seed 0] [--max-cost 5]

A cluster of a head without workers and two nodes of one processor each; every kill takes a whole node, at random, and
another one joins in its place. The bank must be the one that one process builds, byte for byte in every Parquet file;
no answer that was kept may be asked again; and the provider's bill must be within --max-cost. With too little money
for what the kills cost, the build must stop, within it.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.bank.making import files_of
from tests.cluster.nodes import Nodes
from tests.faults.scene import EMBEDDER, Process, environment, start, write_pool, write_questions
from tests.loopback import Loopback, Request

MODELS = ("ada", "bob", "cyd")
CONCURRENCY = 4
KEY = "sk-of-the-nodes"
USAGE = {"prompt_tokens": 5, "completion_tokens": 900, "total_tokens": 905}
PRICE_USD = (5 * 1 + 900 * 2) / 1e6
"""Of every answer; the worst case is little more."""

Kept = set[tuple[str, str]]
"""Model and question of answers that the ledger has booked."""


@dataclass
class Outcome:
    """What became of a build.

    Attributes:
        wanted: Answers of the whole bank.
        received: Requests that reached the server.
        again: Requests for answers that were kept when a node was killed.
        billed_usd: What a provider would bill for all requests, at what each answer takes.
        counted_usd: The most that the ledger says they can have cost.
        killed: Nodes that were killed while it was at work.
        exit_code: How the build ended.
        said: The last line that it wrote to stderr.
        same_files: Whether the bank is that of one process.
        seconds: How long it took.
    """

    wanted: int
    received: int = 0
    again: list[tuple[str, str]] = field(default_factory=list)
    billed_usd: float = 0.0
    counted_usd: float = 0.0
    killed: int = 0
    exit_code: int = 0
    said: str = ""
    same_files: bool = False
    seconds: float = 0.0


def run(
    folder: Path,
    nodes: Nodes,
    *,
    kills: int,
    questions: int,
    seed: int,
    max_cost: float,
    delay: float,
    replaced: bool = True,
) -> Outcome:
    """Build on the cluster while nodes are killed, and in one process."""
    chance, outcome = random.Random(seed), Outcome(questions * len(MODELS))
    source = write_questions(folder / "questions.jsonl", questions)
    banks = []
    for home in (folder / "killed", folder / "undisturbed"):
        home.mkdir()
        with Loopback() as server:
            is_killed = home.name == "killed"
            for model in MODELS:
                pause = delay if is_killed else 0.0
                server.script(model, text=f"{model} answers: {{question}}", delay=pause, usage=USAGE)
            pool = write_pool(home / "jisi.toml", server, MODELS)  # type: ignore[arg-type]
            command = ["bank", "build", source, "-o", home / "bank", "--call", "--config", pool, *EMBEDDER]
            command += ["--concurrency", str(CONCURRENCY), "--max-cost", str(max_cost if is_killed else 100)]
            command += ["--engine", nodes.engine] if is_killed else []
            began = time.monotonic()
            process = start(home, *command, env=environment(home) | nodes.env | {"OPENAI_API_KEY": KEY})
            snapshots = _kill(nodes, process, server, home, chance, kills, replaced=replaced) if is_killed else []
            _, said = process.communicate(timeout=1200)
            banks.append(home / "bank")
            if is_killed:
                outcome.exit_code, outcome.seconds = process.returncode or 0, time.monotonic() - began
                outcome.killed, outcome.said = len(snapshots), (said.strip().splitlines() or [""])[-1]
                asked = [(request.model, _hash(_question(request))) for request in server.requests]
                outcome.received = len(asked)
                outcome.again = [pair for seen, kept in snapshots for pair in asked[seen:] if pair in kept]
                outcome.billed_usd = outcome.received * PRICE_USD
                outcome.counted_usd = _most_spent(home)
            elif process.returncode:
                raise RuntimeError(said)
    if outcome.exit_code == 0:
        outcome.same_files = sorted(files_of(banks[0]).values()) == sorted(files_of(banks[1]).values())
    return outcome


def _kill(
    nodes: Nodes,
    process: Process,
    server: Loopback,
    home: Path,
    chance: random.Random,
    kills: int,
    *,
    replaced: bool,
) -> list[tuple[int, Kept]]:
    """Kill nodes at random moments while a build is at work; return what was asked and kept by each kill."""
    snapshots = []
    for _ in range(kills):
        wanted = server.count() + chance.randrange(3, 20)
        while server.count() < wanted and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.5)
        if process.poll() is not None:
            break
        nodes.kill(chance.choice(nodes.others))
        kept = _kept(home)
        snapshots.append((server.count(), kept))
        if replaced:
            joining = threading.Thread(target=nodes.add)
            joining.start()
            while joining.is_alive():
                time.sleep(0.1)
    return snapshots


def _ledger(home: Path, query: str) -> list[tuple[object, ...]]:
    path = home / "data" / "ledger" / "calls.sqlite"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=60)) as rows:
        return rows.execute(query).fetchall()


def _kept(home: Path) -> Kept:
    """Return which answers are booked, and so kept."""
    return {
        (str(model), str(asked))
        for model, asked in _ledger(home, "SELECT model, query_hash FROM calls WHERE error IS NULL")
    }


def _most_spent(home: Path) -> float:
    found = _ledger(home, "SELECT coalesce(most_cost_usd, cost_usd) FROM calls")
    return sum(float(str(usd)) for (usd,) in found if usd is not None)


def _question(request: Request) -> str:
    return str(request.body["messages"][-1]["content"])


def _hash(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-cost", type=float, default=5.0)
    parser.add_argument("--delay", type=float, default=1.0, help="seconds that an answer takes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Nodes(env={"OPENAI_API_KEY": KEY}) as nodes:
        nodes.add(2)
        found = run(
            *(Path(folder), nodes),
            kills=given.kills,
            questions=given.questions,
            seed=given.seed,
            max_cost=given.max_cost,
            delay=given.delay,
        )
    print(f"kills: {found.killed}, seconds: {found.seconds:.0f}, exit code: {found.exit_code} ({found.said})")
    print(f"answers wanted: {found.wanted}, requests received: {found.received}, for kept answers: {len(found.again)}")
    print(
        f"billed: ${found.billed_usd:.4f}, at most by the ledger: ${found.counted_usd:.4f}, allowed: ${given.max_cost}"
    )
    print(f"bank byte for byte as by one process: {found.same_files}")
    is_whole = found.same_files if found.exit_code == 0 else found.exit_code == 5
    raise SystemExit(0 if is_whole and not found.again and found.billed_usd <= given.max_cost else 1)


if __name__ == "__main__":
    main()
