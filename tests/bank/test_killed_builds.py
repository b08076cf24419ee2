"""`jisi bank build` killed with SIGKILL: no bank or the old bank, and the next run goes on where it was."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.vector_journal import text_key
from jisi_cli.errors import BankError
from tests.bank.making import data_of, everything, files_of
from tests.cli.commands import jisi, write_lines
from tests.faults.afflictions import killed_once_journalled
from tests.faults.forked import Forked
from tests.faults.forked import start_here as start

WIDTH = 256
ENTRY = len(text_key("")) + 4 * WIDTH
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "then", "some"]
KILLS = 8
"""For each of the three kinds of build."""


def answers(questions: int, models: tuple[str, ...], flavour: str) -> list[dict[str, Any]]:
    """Return lines of the jisi format with long responses, all different, so that embedding takes a moment."""
    chance = random.Random(flavour)

    def speak() -> str:
        return " ".join(chance.choices(WORDS, k=30))

    return [
        {
            "dataset": "d",
            "index": number,
            "query": f"{flavour} question {number}: {speak()}?",
            "records": {model: float(chance.random() < 0.5) for model in models},
            "usages": {model: {"prompt_tokens": 7, "completion_tokens": number} for model in models},
            "raw_output": {model: speak() for model in models},
        }
        for number in range(questions)
    ]


class Scene:
    """One kind of build: what is there before, the command, and the bank that it makes when nobody kills it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.before = folder / "before"
        self.after = folder / "after"
        small = write_lines(folder / "small.jsonl", answers(20, ("ada",), "old"))
        # The old questions come again, so that --append has known rows too.
        large = write_lines(folder / "large.jsonl", answers(20, ("ada",), "old") + self._more())
        self.source = {"new": large, "append": large, "force": large}[kind]
        self.flags = {"new": (), "append": ("--append",), "force": ("--force",)}[kind]
        if kind != "new":
            assert jisi(*self.command(self.before, small)).exit_code == 0
            shutil.copytree(self.before, self.after)
        report = jisi(*self.command(self.after), *self.flags)
        assert report.exit_code == 0, report
        self.texts: int = report.json["texts_embedded"]
        self.old = everything(Bank(self.before)) if kind != "new" else None
        self.new = everything(Bank(self.after))

    def _more(self) -> list[dict[str, Any]]:
        return [{**line, "index": f"x{line['index']}"} for line in answers(300, ("ada", "bob", "cyd"), "new")]

    def command(self, bank: Path, source: Path | None = None) -> tuple[str | Path, ...]:
        embedder = ("--embedder", f"hashing:{WIDTH}")
        return ("bank", "build", source or self.source, "-o", bank, *embedder, "--json")


@pytest.fixture(scope="module", params=["new", "append", "force"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(request.param, tmp_path_factory.mktemp(request.param))


def journalled(bank: Path) -> int:
    """Return how many texts the journal of a build under way holds."""
    return sum(file.stat().st_size // ENTRY for file in (bank / ".building").glob("*.vectors"))


def moments(bank: Path, manifest: bytes | None, chance: random.Random) -> list[Callable[[], bool]]:
    """Return conditions on the disk, through which a build passes one after another."""

    def parts() -> int:
        return sum(1 for _ in bank.rglob("*.parquet"))

    def committed() -> bool:
        return (bank / "bank.json").exists() and (bank / "bank.json").read_bytes() != manifest

    before, embedded = parts(), chance.randrange(1, 900)
    return [
        lambda: (bank / ".building").is_dir(),
        lambda: journalled(bank) >= embedded,
        lambda: parts() > before,
        lambda: parts() > before + 2,
        lambda: any(bank.glob(".bank.json.*")) or committed(),
        committed,
    ]


def kill(process: Forked, happened: Callable[[], bool], wait: float) -> None:
    """Kill a build some time after something has happened; one that has ended before is none the worse."""
    while process.poll() is None and not happened():
        time.sleep(0.0005)
    time.sleep(wait)
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_build_leaves_no_bank_or_the_old_one_and_the_next_run_goes_on(
    scene: Scene, number: int, tmp_path: Path
) -> None:
    chance = random.Random(number)
    bank = tmp_path / "bank"
    if scene.old is not None:
        shutil.copytree(scene.before, bank)
    reader = Bank(bank) if scene.old is not None else None
    manifest = (bank / "bank.json").read_bytes() if scene.old is not None else None
    conditions = moments(bank, manifest, chance)
    process = start(*scene.command(bank), *scene.flags)
    # Every second kill comes at a random time after the one before it could have.
    kill(process, conditions[number % len(conditions)], chance.random() * 0.2 * (number % 2))

    if not (bank / "bank.json").exists():
        assert scene.old is None
        with pytest.raises(BankError, match="no bank at"):
            Bank(bank)
    else:
        assert everything(Bank(bank)) in (scene.old, scene.new)
    if reader is not None:
        try:
            assert everything(reader) == scene.old
        except BankError as error:
            assert "try again" in str(error)

    kept = journalled(bank)
    done = (bank / "bank.json").exists() and everything(Bank(bank)) == scene.new
    run = jisi(*scene.command(bank), *(scene.flags or ("--force",) if done else scene.flags))
    assert run.exit_code == 0, run
    if not done:
        assert run.json["texts_embedded"] == scene.texts - kept
    assert data_of(bank) == data_of(scene.after)
    left = {path.name for path in bank.rglob("*") if path.is_file()} - {path.rsplit("/")[-1] for path in files_of(bank)}
    assert left == {"bank.json", ".lock"}


def test_kills_in_a_row_only_ever_add_to_the_journal(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", answers(300, ("ada", "bob", "cyd"), "new"))
    bank, kept = tmp_path / "bank", 0
    command = ("bank", "build", source, "-o", bank, "--embedder", f"hashing:{WIDTH}", "--json")
    for chunks in (1, 2, 1):
        killed = start(*command, prepare=partial(killed_once_journalled, chunks)).finish()
        assert killed.exit_code == -signal.SIGKILL, killed
        assert journalled(bank) > kept
        kept = journalled(bank)
    run = jisi(*command)
    assert (run.exit_code, run.json["texts_embedded"]) == (0, 1200 - kept)
