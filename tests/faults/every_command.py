"""Each command on a bank, a pool and sources of its own, and what it must have left behind in the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jisi_cli.bank.bank import Bank
from tests.bank.making import everything
from tests.cli.commands import Run, recorded_answers, write_lines
from tests.faults.forked import Forked, Prepare, start
from tests.faults.scene import EMBEDDER, environment, write_pool, write_questions
from tests.loopback import Loopback

MODELS = ("ada", "bob")
QUESTIONS = 4
COMMANDS = ("ask", "eval", "build", "append", "collect", "cost")
CALLING = ("ask", "eval", "collect")


class Scene:
    """A bank, a pool, sources, and each command on them; what it writes lies below one folder."""

    def __init__(self, server: Loopback, common: Path, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.bank = Path(shutil.copytree(common / "bank", folder / "bank"))
        pool = ("--config", common / "jisi.toml")
        models = ",".join(f"model:{model}" for model in MODELS)
        self.results, self.new = folder / "out" / "results.jsonl", folder / "out" / "new"
        self.results.parent.mkdir()
        (folder / "cache").mkdir()
        (folder / "data").mkdir()
        asked, questions = ("--bank", self.bank, *pool), common / "questions.jsonl"
        self.commands: dict[str, tuple[str | Path, ...]] = {
            "ask": ("ask", "What is 3 plus 6?", *asked, "--mode", "aggregate", "--json"),
            "eval": ("eval", questions, *asked, "--live", "--method", models, "--out", self.results, "--json"),
            "build": ("bank", "build", common / "answers.jsonl", "-o", self.new, *EMBEDDER, "--json"),
            "append": ("bank", "build", common / "more.jsonl", "-o", self.bank, "--append", "--json"),
            "collect": ("bank", "build", questions, "-o", self.new, "--call", *pool, *EMBEDDER, "--json"),
            "cost": ("cost", "--json"),
        }

    def start(self, command: str, prepare: Prepare | None = None, *, key: str = "sk-none") -> Forked:
        """Start a command; its requests can be told from others' by their key."""
        env = environment(self.folder) | {"OPENAI_API_KEY": key}
        return start(self.folder, *self.commands[command], env=env, prepare=prepare)

    def run(self, command: str, prepare: Prepare | None = None, *, key: str = "sk-none") -> Run:
        return self.start(command, prepare, key=key).finish()

    def asked_with(self, key: str) -> int:
        """Count the requests that came with a key."""
        return sum(key in request.headers.get("authorization", "") for request in list(self.server.requests))

    def check_whole(self, command: str) -> None:
        """Check what a command has left behind when it went well in the end."""
        if command == "eval":
            lines = [json.loads(line) for line in self.results.read_text().splitlines()]
            assert len({line["key"] for line in lines}) == len(lines) == QUESTIONS * len(MODELS)
        if command in ("build", "collect"):
            bank = Bank(self.new)
            assert (len(bank.questions), bank.models) == ({"build": 12, "collect": QUESTIONS}[command], MODELS)
            everything(bank)
        assert Bank(self.bank).models == ((*MODELS, "eve") if command == "append" else MODELS)
        everything(Bank(self.bank))


@contextmanager
def common_ground(folder: Path) -> Iterator[Loopback]:
    """Serve the models, and write what all commands read into a folder."""
    with Loopback() as server:
        write_pool(folder / "jisi.toml", server, MODELS)
        write_questions(folder / "questions.jsonl", QUESTIONS)
        answers = write_lines(folder / "answers.jsonl", recorded_answers({"ada": 12, "bob": 6}))
        write_lines(folder / "more.jsonl", recorded_answers({"eve": 6}))
        assert start(folder, "bank", "build", answers, "-o", folder / "bank", *EMBEDDER).finish().exit_code == 0
        for model in MODELS:
            server.script(model, "{model} says: {question}", delay=0.1)
        yield server
