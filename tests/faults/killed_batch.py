"""Kill `jisi bank build --call --batch` wherever it waits for the provider, and see that nothing is submitted twice.

    python -m tests.faults.killed_batch [--requests 1000] [--provider openai|azure|anthropic|gemini|bedrock|vertex_ai]

The server carries a step out and does not answer, which is when the command is killed: between the upload and the
file's id, between the creation of the batch and its id, while it is polled, while results are taken in, while what lies
there is deleted. The first batch of each model expires half done, and of the rest every tenth row fails once. In the
end every request must have been answered once, the bill be half of the list price, the bank that of a build with live
calls, and nothing be left at the provider but what Anthropic was found to have without having told its name.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jisi_cli.models.batch.journal import BatchJournal
from jisi_cli.models.ledger import Ledger
from tests.bank.making import data_of
from tests.batch_desk import BatchDesk, MessageBatchDesk
from tests.bedrock_desk import ROLE, STORE, Bedrock
from tests.faults.scene import EMBEDDER, Process, Start, environment, start, write_questions
from tests.google_desk import service_account
from tests.loopback import Fault, Loopback
from tests.object_store import ObjectStore

MODELS = ("ada", "bob")
_WITH_FILES = ("POST files", "POST batches", "GET batches/id", "GET files/content", "DELETE files/id")
KILLED_AT = {
    "openai": _WITH_FILES,
    "azure": _WITH_FILES,
    "anthropic": ("POST batches", "GET batches/id", "GET batches/content", "DELETE batches/id"),
    "gemini": _WITH_FILES,
    "bedrock": ("PUT requests", "POST batches", "GET batches/id", "GET results", "DELETE requests"),
    "vertex_ai": ("POST objects", "POST batches", "GET batches/id", "GET objects/content", "DELETE objects/id"),
}
"""Steps at which the command is killed, by provider."""
KEY = "LAB_KEY"
_ROUTES = {"bedrock": "bedrock/converse/", "vertex_ai": "vertex_ai/gemini-"}
"""How LiteLLM's names of models begin, where that is not the provider's name."""


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
        left: What lies at the provider in the end.
        provider: Whose endpoints were spoken.
    """

    wanted: int
    provider: str = "openai"
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
    left: int = 0

    @property
    def passed(self) -> bool:
        return (
            self.same_data
            and len(self.answered) == self.wanted == self.booked
            and set(self.answered.values()) == {1}
            and self.rows == self.expected_rows
            and abs(self.paid - self.listed / 2) < 1e-9
            and self.killed == list(KILLED_AT[self.provider])
            and not self.open
            and self.left == (self.provider == "anthropic")
        )


def run(folder: Path, *, requests: int, provider: str = "openai", start: Start = start) -> Outcome:
    """Build once with live calls, and once by batch with kills.

    Args:
        folder: Where all lies.
        requests: Questions for each of the two models together.
        provider: Whose endpoints are spoken.
        start: How a command becomes a process.
    """
    source = write_questions(folder / "questions.jsonl", requests // len(MODELS))
    outcome = Outcome(requests // len(MODELS) * len(MODELS), provider)
    homes = {name: folder / name for name in ("live", "batch")}
    with Loopback() as server, serving(server, provider, folder) as (desk, variables):
        for model in MODELS:
            named = f"gemini-{model}" if provider == "vertex_ai" else model
            server.script(named, text=f"{model} answers: {{question}}")
        for home in homes.values():
            home.mkdir()
        command = ("bank", "build", source, "-o", homes["live"] / "bank", "--call", *EMBEDDER)
        begin = partial(with_variables, start, variables)
        end(begin(homes["live"], *command, "--config", pool(homes["live"], server, provider)))
        _count_answers(desk, outcome)
        command = ("bank", "build", source, "-o", homes["batch"] / "bank", "--call", "--batch", *EMBEDDER)
        command = (*command, "--config", pool(homes["batch"], server, provider), "--max-cost", "1000")
        for step in KILLED_AT[provider]:
            kill_at(step, desk, begin(homes["batch"], *command), outcome)
        end(begin(homes["batch"], *command))
        outcome.batches = len(desk.batches)
        outcome.rows = sum(len(batch.rows) for batch in desk.batches)
        outcome.left = left_at(desk)
    rows = list(Ledger(homes["batch"] / "data" / "ledger" / "calls.sqlite", warn=print).rows())
    answers = [row for row in rows if row.error is None and not row.cached]
    outcome.booked = len(answers)
    outcome.paid = sum(row.cost_usd or 0.0 for row in rows)
    outcome.listed = sum(row.list_cost_usd or 0.0 for row in answers)
    outcome.same_data = data_of(homes["live"] / "bank") == data_of(homes["batch"] / "bank")
    outcome.open = len(BatchJournal(homes["batch"] / "data" / "batches").open_with(outcome.answered))
    return outcome


def with_variables(start: Start, variables: Mapping[str, str], home: Path, *command: str | Path) -> Process:
    """Start a command that has keys for the models."""
    return start(home, *command, env={**environment(home), **variables})


def _count_answers(desk: BatchDesk, outcome: Outcome) -> None:
    """Have the first batch of each model expire half done, every tenth other row fail once, and answers counted."""
    usual, failed = desk.answer, set[str]()
    # The Gemini API has no results of a batch that expired.
    half = 0 if outcome.provider == "gemini" else outcome.wanted // len(MODELS) // 2
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


def kill_at(step: str, desk: BatchDesk, process: Process, outcome: Outcome) -> None:
    """Kill a command where it waits at a step, and let the server go on."""
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


@contextmanager
def serving(server: Loopback, provider: str, folder: Path) -> Iterator[tuple[BatchDesk, Mapping[str, str]]]:
    """Yield the batch endpoints of a provider, and the variables with which commands have its keys."""
    if provider == "bedrock":
        store = ObjectStore()
        store.clear()
        with Bedrock(server, store) as bedrock:
            yield bedrock, {**store.environment, **bedrock.environment}
        store.close()
        return
    if provider == "vertex_ai":
        address = server.api_base.removesuffix("/v1")
        variables = dict.fromkeys(("VERTEXAI_API_BASE", "STORAGE_EMULATOR_HOST"), address)
        account = str(service_account(folder, address))
        yield server.vertex_batches, {**variables, "GOOGLE_APPLICATION_CREDENTIALS": account}
        return
    desks = {"anthropic": server.message_batches, "gemini": server.gemini_batches}
    yield desks.get(provider, server.batches), {KEY: "a-key-of-the-lab"}


def left_at(desk: BatchDesk) -> int:
    """Return how much lies at a provider."""
    if isinstance(desk, Bedrock):
        return len(desk.store.names())
    return len(desk.files) - (len(desk.deleted) if isinstance(desk, MessageBatchDesk) else 0)


def pool(home: Path, server: Loopback, provider: str) -> Path:
    """Write a pool file whose models cost half by batch."""
    path = home / "jisi.toml"
    address = server.api_base.removesuffix("" if provider == "openai" else "/v1")
    address += "/v1beta" if provider == "gemini" else ""
    where, params = f'api_base = "{address}"\napi_key_env = "{KEY}"\n', "max_tokens = 1000"
    if provider == "bedrock":
        where = f'batch_store = "{STORE}"\nbatch_role = "{ROLE}"\n'
    if provider == "vertex_ai":
        where, params = 'batch_store = "gs://a-bucket/batches"\n', f'{params}, vertex_location = "us-central1"'
    tables = (
        f'[[models]]\nname = "{model}"\nlitellm = "{_ROUTES.get(provider, f"{provider}/")}{model}"\n{where}'
        f"price = {{ input = 1, output = 2, batch = 0.5 }}\nparams = {{ {params} }}\n"
        for model in MODELS
    )
    path.write_text("\n".join(tables))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--provider", choices=sorted(KILLED_AT), default="openai")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), requests=arguments.requests, provider=arguments.provider)
    submitted = f"{outcome.rows:,} rows in {outcome.batches} batches (expected {outcome.expected_rows:,})"
    twice = sum(count - 1 for count in outcome.answered.values())
    print(f"{outcome.wanted:,} requests, killed at {', '.join(outcome.killed)}: {submitted}; answered twice: {twice}")
    print(f"paid ${outcome.paid:.6f} of ${outcome.listed:.6f} at list price; {outcome.booked:,} answers booked")
    print(f"the bank is that of live calls: {outcome.same_data}; {time.monotonic() - began:.0f} s")
    print("passed" if outcome.passed else "FAILED")
    raise SystemExit(not outcome.passed)


if __name__ == "__main__":
    main()
