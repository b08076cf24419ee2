"""Kill `jisi bank build --call` again and again, and see that nothing is paid for twice.

    python -m tests.faults.killed_collection [--kills 20] [--questions 60] [--seed 0]

Each kill is a SIGKILL at a random moment: after some more requests have reached the server, or at some time
after start-up. Then the build is left to end. Its bank must be the one that a build makes that nobody kills, byte
for byte in every Parquet file; and a kill may only lose the calls that were out.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.bank.making import data_of, files_of
from tests.faults.scene import (
    EMBEDDER,
    Process,
    Server,
    Start,
    cached_answers,
    environment,
    serving,
    start,
    write_pool,
    write_questions,
)

MODELS = ("ada", "bob", "cyd")
CONCURRENCY = 4
ANSWERS = "cache/answers"


@dataclass
class Outcome:
    """What became of a run with kills.

    Attributes:
        wanted: Answers of the whole bank.
        received: Requests that reached the server.
        lost: Calls that were out at each kill: sent, but not kept.
        finished: Builds that had ended before they were to be killed.
        same_data: Whether the bank's data equals that of a build without kills.
        same_files: Whether its Parquet files are the same bytes, whatever their names.
    """

    wanted: int
    received: int = 0
    lost: list[int] = field(default_factory=list)
    finished: int = 0
    same_data: bool = False
    same_files: bool = False

    @property
    def passed(self) -> bool:
        return (
            self.same_data
            and self.same_files
            and max(self.lost, default=0) <= CONCURRENCY
            and self.received == self.wanted + sum(self.lost)
        )


def run(folder: Path, *, kills: int, questions: int, seed: int, start: Start = start) -> Outcome:
    """Build once undisturbed, and once with kills."""
    chance = random.Random(seed)
    script = {model: {"text": f"{model} answers: {{question}}", "delay": 0.03} for model in MODELS}
    source = write_questions(folder / "questions.jsonl", questions)
    outcome = Outcome(questions * len(MODELS))
    homes = [folder / "undisturbed", folder / "killed"]
    whole, kept = 0.0, list[int]()
    for home in homes:
        home.mkdir()
        with serving(home, script) as server:
            pool = write_pool(home / "jisi.toml", server, MODELS)
            command = ("bank", "build", source, "-o", home / "bank", "--call", "--config", pool, *EMBEDDER)
            command = (*command, "--concurrency", str(CONCURRENCY))
            if home.name == "killed":
                for number in range(kills):
                    before = cached_answers(home / ANSWERS)
                    process = start(home, *command, env=environment(home) | {"OPENAI_API_KEY": f"sk-killed-{number}"})
                    outcome.finished += not kill(process, server, chance, whole)
                    if (home / "bank" / "bank.json").exists():
                        command = (*command, "--force") if "--force" not in command else command
                    kept.append(cached_answers(home / ANSWERS) - before)
            began = time.monotonic()
            process = start(home, *command)
            _, said = process.communicate(timeout=600)
            if process.returncode:
                raise RuntimeError(said)
            whole = time.monotonic() - began
            received = server.lines("received")
            outcome.received = len(received)
            # By their key, as requests of a killed process may reach a busy server late.
            senders = Counter(line["sender"] for line in received)
            outcome.lost = [senders[f"Bearer sk-killed-{number}"] - count for number, count in enumerate(kept)]
    banks = [home / "bank" for home in homes]
    outcome.same_data = data_of(banks[0]) == data_of(banks[1])
    # A bank that is replaced has its questions under another name.
    outcome.same_files = sorted(files_of(banks[0]).values()) == sorted(files_of(banks[1]).values())
    return outcome


def kill(process: Process, server: Server, chance: random.Random, whole: float) -> bool:
    """Kill a build; return whether it was still at work.

    Args:
        process: The build.
        server: Whom it asks.
        chance: Chooses the moment.
        whole: Seconds that a whole build takes on this machine.
    """
    if chance.random() < 0.7:
        wanted = server.count("received") + chance.randrange(1, 14)
        while server.count("received") < wanted and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
    else:
        time.sleep(chance.random() * whole)
    killed = process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    return killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), kills=arguments.kills, questions=arguments.questions, seed=arguments.seed)
    print(f"kills: {arguments.kills}, of which after the end of the build: {outcome.finished}")
    print(f"answers wanted: {outcome.wanted}, requests received: {outcome.received}")
    print(f"calls out at each kill: {outcome.lost}, {sum(outcome.lost)} in all, at most {CONCURRENCY} each")
    print(f"data as without kills: {outcome.same_data}, Parquet files byte for byte: {outcome.same_files}")
    raise SystemExit(0 if outcome.passed else 1)


if __name__ == "__main__":
    main()
