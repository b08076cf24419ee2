"""Collect a bank from a server that fails in every way it knows, and see that no answer is paid for twice.

    python -m tests.faults.collection_under_faults [--questions 500] [--share 0.25] [--seed 0]

Four models; a share of the requests meets a fault. The build must end, every answer that was sent whole must have
been asked for exactly once, and whatever failed for good must be in the bank with its reason. A second run with
`--append --retry-failed`, without faults, then asks for those answers alone.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jisi_cli.bank.bank import Bank
from tests.faults.scene import EMBEDDER, Start, serving, start, write_pool, write_questions

MODELS = ("ada", "bob", "cyd", "dee")
FAULTS: dict[str, dict[str, Any]] = {
    "429 with Retry-After": {"kind": "status", "status": 429, "retry_after": 0.2, "message": "slow down"},
    "429 without": {"kind": "status", "status": 429, "message": "too many requests"},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503, "message": "overloaded"},
    "400": {"kind": "status", "status": 400, "message": "I cannot read this"},
    "error under 200": {"kind": "error_body", "status": 500, "message": "upstream failed"},
    "hang": {"kind": "hang"},
    "reset in mid-answer": {"kind": "reset"},
    "answer cut short": {"kind": "truncated"},
    "malformed JSON": {"kind": "malformed"},
    "empty choices": {"kind": "no_choices"},
    "empty text": {"kind": "empty"},
    "null text": {"kind": "null_content"},
    "slow first token": {"kind": "slow", "seconds": 0.5},
}
WRONG_USAGE = {"prompt_tokens": -5, "completion_tokens": "many", "total_tokens": 1.5}
_SECONDS = 6
"""How long one attempt may take."""


@dataclass
class Outcome:
    """What became of a run.

    Attributes:
        wanted: Answers of the whole bank.
        received: Requests that reached the server.
        faults: Requests that met each fault.
        answered: Answers that were sent whole.
        twice: Answers that were sent whole more than once.
        failed: Answers that failed for good, by reason as the bank has it.
        exit_codes: Of the first build and of the one that asks again what failed.
        asked_again: Requests of the second build.
        complete: Whether the bank has every answer in the end.
        said: What the first build wrote to stderr.
        seconds: What the first build took.
    """

    wanted: int
    received: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    twice: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    exit_codes: tuple[int, int] = (-1, -1)
    asked_again: int = 0
    complete: bool = False
    said: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        failed = sum(self.failed.values())
        return (
            self.exit_codes == (0, 0)
            and self.twice == 0
            and self.answered == self.wanted - failed
            and self.asked_again == failed
            and self.complete
            and "" not in self.failed
        )


def scripts(
    names: Sequence[str], requests: int, share: float, chance: random.Random
) -> tuple[dict[str, Any], dict[str, list[str | None]]]:
    """Return the models' scripts, and by model the fault, one of those named, that each of the first requests meets."""
    plans = {
        model: [chance.choice(names) if chance.random() < share else None for _ in range(requests)] for model in MODELS
    }
    found = {
        model: {"text": "{model} answers: {question}", "faults": [FAULTS[name] if name else None for name in plan]}
        for model, plan in plans.items()
    }
    found[MODELS[-1]]["usage"] = WRONG_USAGE
    return found, plans


def run(folder: Path, *, questions: int, share: float, seed: int, hangs: bool = True, start: Start = start) -> Outcome:
    """Build under faults, then ask again what failed.

    Where a server hangs, attempts have a time limit, which a whole answer may pass on a machine that is busy enough: it
    is paid for then and asked for again.
    """
    names = [name for name in FAULTS if hangs or name != "hang"]
    outcome = Outcome(questions * len(MODELS))
    # No model gets more requests than this; what comes after meets no fault.
    script, plans = scripts(names, questions * 4, share, random.Random(seed))
    source, bank = write_questions(folder / "questions.jsonl", questions), folder / "bank"
    with serving(folder, script) as server:
        pool = write_pool(folder / "jisi.toml", server, MODELS, budget=f"timeout = {_SECONDS if hangs else 600}")
        command = ("bank", "build", source, "-o", bank, "--call", "--config", pool, *EMBEDDER, "--concurrency", "32")
        started = time.perf_counter()
        first = start(folder, *command)
        _, outcome.said = first.communicate(timeout=1800)
        outcome.seconds = time.perf_counter() - started
        received, answered = server.lines("received"), Counter(line["key"] for line in server.lines("answered"))
        outcome.received, outcome.answered = len(received), len(answered)
        outcome.twice = sum(number > 1 for number in answered.values())
        per_model = Counter(line["model"] for line in received)
        outcome.faults = Counter(name for model in MODELS for name in plans[model][: per_model[model]] if name)
        outcome.failed = failures(bank)
    with serving(folder, {model: {"text": "{model} answers: {question}"} for model in MODELS}) as server:
        server.journal.unlink()
        # The address of an answer is part of what it is cached under, so that the bank must know it.
        write_pool(folder / "jisi.toml", server, MODELS)
        second = start(folder, *command, "--append", "--retry-failed")
        second.communicate(timeout=600)
        outcome.asked_again = server.count("received")
    outcome.exit_codes = first.returncode, second.returncode
    outcome.complete = not failures(bank) and len(Bank(bank).questions) == questions
    return outcome


def failures(bank: Path) -> Counter[str]:
    """Count the failed answers of a bank by their reason."""
    import pyarrow.parquet as pq

    latest: dict[tuple[str, int], tuple[str, str | None]] = {}
    for model, parts in Bank(bank).manifest.responses.items():
        for part in parts:
            for row in pq.ParquetFile(bank / part.path).read(["row", "status", "error"]).to_pylist():
                latest[model, row["row"]] = row["status"], row["error"]
    return Counter(error or "" for status, error in latest.values() if status == "failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), questions=arguments.questions, share=arguments.share, seed=arguments.seed)
    print(f"answers wanted: {outcome.wanted}; requests: {outcome.received} in {outcome.seconds:.1f} s")
    print("faults met: " + ", ".join(f"{name} {number}" for name, number in sorted(outcome.faults.items())))
    print(f"answers sent whole: {outcome.answered}, of which more than once: {outcome.twice}")
    print(f"failed for good: {sum(outcome.failed.values())}")
    for reason, number in outcome.failed.most_common():
        print(f"  {number} x {reason}")
    print(f"the report:\n{outcome.said}")
    print(f"asked again: {outcome.asked_again}; complete then: {outcome.complete}; exit codes: {outcome.exit_codes}")
    raise SystemExit(0 if outcome.passed else 1)


if __name__ == "__main__":
    main()
