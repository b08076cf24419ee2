"""Kill `jisi bank build --call --batch` wherever it waits for the provider, and see that nothing is submitted twice.

    python -m tests.faults.killed_batch [--requests 1000]

The server carries a step out and does not answer, which is when the command is killed: between the upload and the
file's id, between the creation of the batch and its id, while it is polled, while results are taken in. The first
batch of each model expires half done, and of the rest every tenth row fails once. In the end every request must have
been answered once, the bill be half of the list price, and the bank that of a build with live calls.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jisi_cli.models.batch.journal import BatchJournal
from jisi_cli.models.ledger import Ledger
from tests.bank.making import data_of
from tests.faults.scene import EMBEDDER, Process, Start, start, write_questions
from tests.loopback import Fault, Loopback

MODELS = ("ada", "bob")
KILLED_AT = ("POST files", "POST batches", "GET batches/id", "GET files/content")


@dataclass
class Outcome:
    """What became of a run with kills.

    Attributes:
        wanted: Answers of the whole bank.
        answered: How often each request was answered.
        batches: How many batches were created.
        rows: Rows of them all.
        expected_rows: Rows of them all, if each is submitted once, and again where it failed or expired.
        paid: Dollars in the ledger.
        listed: What they would be at list price.
        booked: Rows of the ledger that are no failures.
        same_data: Whether the bank is the one that live calls make.
        killed: At which steps the command was killed.
        open: Batches that the journal still waits for.
    """

    wanted: int
    answered: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    rows: int = 0
    expected_rows: int = 0
    paid: float = 0.0
    listed: float = 0.0
    booked: int = 0
    same_data: bool = False
    killed: list[str] = field(default_factory=list)
    open: int = 0

    @property
    def passed(self) -> bool:
        return (
            self.same_data
            and len(self.answered) == self.wanted == self.booked
            and set(self.answered.values()) == {1}
            and self.rows == self.expected_rows
            and abs(self.paid - self.listed / 2) < 1e-9
            and self.killed == list(KILLED_AT)
            and not self.open
        )


def run(folder: Path, *, requests: int, start: Start = start) -> Outcome:
    """Build once with live calls, and once by batch with kills.

    Args:
        folder: Where all lies.
        requests: Questions for each of the two models together.
        start: How a command becomes a process.
    """
    source = write_questions(folder / "questions.jsonl", requests // len(MODELS))
    outcome = Outcome(requests // len(MODELS) * len(MODELS))
    homes = {name: folder / name for name in ("live", "batch")}
    with Loopback() as server:
        for model in MODELS:
            server.script(model, text=f"{model} answers: {{question}}")
        for home in homes.values():
            home.mkdir()
        command = ("bank", "build", source, "-o", homes["live"] / "bank", "--call", *EMBEDDER)
        end(start(homes["live"], *command, "--config", pool(homes["live"], server)))
        _count_answers(server, outcome)
        command = ("bank", "build", source, "-o", homes["batch"] / "bank", "--call", "--batch", *EMBEDDER)
        command = (*command, "--config", pool(homes["batch"], server), "--max-cost", "1000")
        for step in KILLED_AT:
            kill_at(step, server, start(homes["batch"], *command), outcome)
        end(start(homes["batch"], *command))
        outcome.batches = len(server.batches.batches)
        outcome.rows = sum(len(batch.rows) for batch in server.batches.batches)
    rows = list(Ledger(homes["batch"] / "data" / "ledger" / "calls.sqlite", warn=print).rows())
    answers = [row for row in rows if row.error is None and not row.cached]
    outcome.booked = len(answers)
    outcome.paid = sum(row.cost_usd or 0.0 for row in rows)
    outcome.listed = sum(row.list_cost_usd or 0.0 for row in answers)
    outcome.same_data = data_of(homes["live"] / "bank") == data_of(homes["batch"] / "bank")
    outcome.open = len(BatchJournal(homes["batch"] / "data" / "batches").open_with(outcome.answered))
    return outcome


def _count_answers(server: Loopback, outcome: Outcome) -> None:
    """Have the first batch of each model expire half done, every tenth other row fail once, and answers counted."""
    desk, usual, failed = server.batches, server.batches.answer, set[str]()
    half = outcome.wanted // len(MODELS) // 2
    desk.ends, desk.finished, desk.looks = ["expired"] * len(MODELS), half, 2
    outcome.expected_rows = outcome.wanted

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked = f"{body['model']}: {body['messages'][-1]['content']}"
        number = int(asked.rstrip(".").rpartition(" ")[2])
        if number % 10 == 0 and asked not in failed:
            failed.add(asked)
            outcome.expected_rows += 1
            fault = Fault("status", status=500)
            return fault.status, {"error": {"message": fault.message}}
        outcome.answered[asked] += 1
        return usual(body)

    desk.answer = answer
    outcome.expected_rows += outcome.wanted - half * len(MODELS)


def kill_at(step: str, server: Loopback, process: Process, outcome: Outcome) -> None:
    """Kill a command where it waits at a step, and let the server go on."""
    desk = server.batches
    desk.reached.clear()
    desk.held.add(step)
    while process.poll() is None and not desk.reached.wait(0.05):
        pass
    if process.poll() is None:
        outcome.killed.append(step)
    process.kill()
    process.communicate(timeout=600)
    desk.held.clear()


def end(process: Process) -> None:
    """Let a command end, which must go well."""
    _, said = process.communicate(timeout=1800)
    if process.returncode:
        raise RuntimeError(said)


def pool(home: Path, server: Loopback) -> Path:
    """Write a pool file whose models cost half by batch."""
    path = home / "jisi.toml"
    tables = (
        f'[[models]]\nname = "{model}"\nlitellm = "openai/{model}"\napi_base = "{server.api_base}"\n'
        "price = { input = 1, output = 2, batch = 0.5 }\nparams = { max_tokens = 1000 }\n"
        for model in MODELS
    )
    path.write_text("\n".join(tables))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), requests=arguments.requests)
    submitted = f"{outcome.rows:,} rows in {outcome.batches} batches (expected {outcome.expected_rows:,})"
    twice = sum(count - 1 for count in outcome.answered.values())
    print(f"{outcome.wanted:,} requests, killed at {', '.join(outcome.killed)}: {submitted}; answered twice: {twice}")
    print(f"paid ${outcome.paid:.6f} of ${outcome.listed:.6f} at list price; {outcome.booked:,} answers booked")
    print(f"the bank is that of live calls: {outcome.same_data}; {time.monotonic() - began:.0f} s")
    print("passed" if outcome.passed else "FAILED")
    raise SystemExit(not outcome.passed)


if __name__ == "__main__":
    main()
