"""Run many processes of jisi on one cache, one ledger and one bank, and see that nothing is lost or paid twice.

    python -m tests.faults.many_processes [--minutes 2] [--processes 8] [--seed 0]

Each of the processes is `ask`, `eval --live` or `bank build --append --call`, chosen at random, on questions that
come again, so that several want the same answer at the same time; when one ends, another begins. Meanwhile a
reader opens the bank over and over.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jisi_cli.bank.bank import Bank
from jisi_cli.errors import JisiError
from jisi_cli.models.ledger import Ledger
from tests.bank.making import everything
from tests.faults.scene import EMBEDDER, Server, Start, serving, start, write_pool

MODELS = ("ada", "bob", "cyd")
_WINDOW = 12
"""Questions that processes choose from at one time; the window moves on as they are answered."""


_EXPECTED = ("hashing embedder", "are train rows")
"""Warnings that have nothing to do with other processes."""


@dataclass
class Outcome:
    """What happened.

    Attributes:
        runs: Commands that ended, by name.
        wrong: Commands that ended otherwise than well, or said something on stderr that no user should read.
        answered: Answers that the server sent whole.
        twice: Requests that the server answered more than once.
        paid_rows: Calls of the ledger that were paid for.
        asked: Calls that the commands say they made, by command.
        booked: Calls that the ledger has, by command.
        added: Answers that builds say they added to the bank.
        banked: Answers that the bank has more than at the beginning.
        read: How often the bank was read.
        half_read: What a reader met that is no bank.
    """

    runs: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    answered: int = 0
    twice: int = 0
    paid_rows: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    booked: Counter[str] = field(default_factory=Counter)
    added: int = 0
    banked: int = 0
    read: int = 0
    half_read: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return (
            not self.wrong
            and not self.half_read
            and self.twice == 0
            and self.answered == self.paid_rows
            and self.asked == self.booked
            and self.added == self.banked
            and min(self.runs.values(), default=0) > 0
            and self.read > 0
        )


class Crowd:
    """The processes of one run, one thread for each that is at work.

    Args:
        folder: Where everything lies.
        server: The models.
        start: How a command becomes a process.
        seed: Of what is chosen.
    """

    def __init__(self, folder: Path, server: Server, start: Start, seed: int) -> None:
        self.folder, self.bank = folder, folder / "bank"
        self.pool = write_pool(folder / "jisi.toml", server, MODELS)
        self.start = start
        self.outcome = Outcome()
        self.chance = random.Random(seed)
        self.lock = threading.Lock()
        self.number = 0
        self.begun = 0
        self.done = threading.Event()

    def work(self, goes_on: Callable[[int, float], bool], began: float) -> None:
        """Run one command after another as long as it goes on, which the number begun and the seconds decide."""
        commands: list[Callable[[], None]] = [self.ask, self.extend, self.evaluate]
        while True:
            with self.lock:
                if not goes_on(self.begun, time.monotonic() - began):
                    return
                place = self.begun
                self.begun += 1
                # Each at least once.
                chosen = self.chance.choices(commands, weights=(3, 2, 2))[0]
            (commands[place] if place < len(commands) else chosen)()

    def ask(self) -> None:
        """Ask one question."""
        (number,) = self.numbers(1)
        found = self.run("ask", f"Say number {number}.", "--bank", self.bank, "--config", self.pool, "--json")
        self.note("ask", 0 if found is None else len(found["calls"]))

    def evaluate(self) -> None:
        """Evaluate two of the models, which answers each question once."""
        source, count = self.questions(3)
        methods = ",".join(f"model:{model}" for model in MODELS[:2])
        options = ("--bank", self.bank, "--config", self.pool, "--live", "--method", methods, "--json")
        found = self.run("eval", source, *options)
        self.note("eval", 0 if found is None else 2 * count)

    def extend(self) -> None:
        """Ask all models some questions and put the answers into the bank."""
        source, _ = self.questions(3)
        found = self.run(
            "bank", "build", source, "-o", self.bank, "--call", "--append", "--config", self.pool, "--json"
        )
        # Which answers the bank had when the build began, only the build knows.
        self.note("bank build", 0)
        with self.lock:
            self.outcome.added += 0 if found is None else sum(found["answers_added"].values())

    def read(self) -> None:
        """Read the bank until everybody is done."""
        while True:
            try:
                everything(Bank(self.bank))
            except JisiError as error:
                self.outcome.half_read.append(str(error))
            self.outcome.read += 1
            if self.done.wait(0.1):
                return

    def numbers(self, count: int) -> list[int]:
        """Choose some questions of the window."""
        with self.lock:
            self.number += 1
            first = self.number // 2
            return self.chance.sample(range(first, first + _WINDOW), count)

    def questions(self, count: int) -> tuple[Path, int]:
        """Write some questions of the window to a file of their own."""
        numbers = self.numbers(count)
        with self.lock:
            self.number += 1
            path = self.folder / f"questions-{self.number}.jsonl"
        rows = [{"dataset": "d", "index": n, "query": f"Say number {n}.", "gt": str(n)} for n in numbers]
        path.write_text("".join(json.dumps({**row, "grader": "contains"}) + "\n" for row in rows))
        return path, len(rows)

    def run(self, *arguments: str | Path) -> dict | None:
        """Run a command; return the document that it writes, or None when it went wrong."""
        process = self.start(self.folder, *arguments)
        out, said = process.communicate(timeout=300)
        unexpected = [line for line in said.splitlines() if line.startswith(("error", "warning", "Traceback"))]
        unexpected = [line for line in unexpected if not any(words in line for words in _EXPECTED)]
        if process.returncode or unexpected:
            with self.lock:
                self.outcome.wrong.append(f"{arguments[0]} ended with {process.returncode}: {said}")
        return json.loads(out) if process.returncode == 0 else None

    def note(self, command: str, calls: int) -> None:
        with self.lock:
            self.outcome.runs[command] += 1
            self.outcome.asked[command] += calls


def run(
    folder: Path, *, goes_on: Callable[[int, float], bool], processes: int, seed: int, start: Start = start
) -> Outcome:
    """Let the processes work for some time or on some commands, and count."""
    script = {model: {"text": f"{model} says: {{question}}", "delay": 0.2} for model in MODELS}
    with serving(folder, script) as server:
        crowd = Crowd(folder, server, start, seed)
        source, _ = crowd.questions(6)
        build = ("bank", "build", source, "-o", crowd.bank, "--call", "--config", crowd.pool, *EMBEDDER, "--json")
        if crowd.run(*build) is None:
            raise RuntimeError(crowd.outcome.wrong[0])
        before = answers_in(crowd.bank)
        reader = threading.Thread(target=crowd.read)
        workers = [threading.Thread(target=crowd.work, args=(goes_on, time.monotonic())) for _ in range(processes)]
        for thread in (reader, *workers):
            thread.start()
        for thread in workers:
            thread.join()
        crowd.done.set()
        reader.join()
        outcome = crowd.outcome
        answered = Counter(line["key"] for line in server.lines("answered"))
    outcome.answered, outcome.twice = answered.total(), sum(number > 1 for number in answered.values())
    rows = list(Ledger(folder / "data" / "ledger" / "calls.sqlite", warn=outcome.wrong.append).rows())
    outcome.paid_rows = sum(not row.cached for row in rows)
    outcome.booked = Counter(row.command for row in rows)
    outcome.asked["bank build"] = outcome.booked["bank build"]
    outcome.banked = answers_in(crowd.bank) - before
    return outcome


def answers_in(bank: Path) -> int:
    """Count the answers that a bank has."""
    opened = Bank(bank)
    return sum(int((opened.answers(model).status != "missing").sum()) for model in opened.models)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = 60 * arguments.minutes
        outcome = run(
            Path(folder),
            goes_on=lambda begun, passed: passed < seconds,
            processes=arguments.processes,
            seed=arguments.seed,
        )
    print(f"commands run: {dict(outcome.runs)}; gone wrong: {len(outcome.wrong)}")
    for wrong in outcome.wrong[:10]:
        print(f"  {wrong}")
    print(f"answers sent whole: {outcome.answered}, of which to the same request again: {outcome.twice}")
    print(f"calls in the ledger: {dict(outcome.booked)}, {outcome.paid_rows} of them paid; made: {dict(outcome.asked)}")
    print(f"answers added to the bank: {outcome.added}; there are more than before: {outcome.banked}")
    print(f"the bank was read {outcome.read} times; found broken: {outcome.half_read[:5]}")
    raise SystemExit(0 if outcome.passed else 1)


if __name__ == "__main__":
    main()
