"""What the fault runs share: a server in a process of its own, questions, a pool file, and `jisi` as a process."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parent.parent.parent
EMBEDDER = ("--embedder", "hashing:64")


@dataclass(frozen=True)
class Server:
    """A loopback server in a process of its own.

    Attributes:
        api_base: What a pool entry names.
        journal: A line for every request that came, and for every answer that was sent whole.
    """

    api_base: str
    journal: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return what the journal says of one kind of event.

        `key` is the same for the same request, `sender` is the key that it came with.
        """
        if not self.journal.exists():
            return []
        whole = self.journal.read_text().rpartition("\n")[0]
        return [line for line in map(json.loads, whole.splitlines()) if line["event"] == event]

    def count(self, event: str) -> int:
        return len(self.lines(event))


@contextmanager
def serving(folder: Path, models: Mapping[str, Mapping[str, Any]]) -> Iterator[Server]:
    """Run the server on scripts as `tests.loopback` reads them."""
    script, journal = folder / "script.json", folder / "journal.jsonl"
    script.write_text(json.dumps({"models": models}))
    command = [sys.executable, "-m", "tests.loopback", "--script", str(script), "--journal", str(journal)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(f"http://127.0.0.1:{int(process.stdout.readline())}/v1", journal)
    finally:
        process.kill()
        process.communicate()


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which jisi keeps its files below a folder, and needs no network."""
    homes = {f"JISI_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "DATA", "CONFIG")}
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "sk-none"}
    return {**os.environ, **homes, **offline}


class Process(Protocol):
    """What tests use of a process."""

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def communicate(self, *, timeout: float) -> tuple[str, str]: ...

    def kill(self) -> None: ...


class Start(Protocol):
    """How a command becomes a process: from nothing, as here, or by `tests.faults.forked`, which is quicker."""

    def __call__(self, folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Process: ...


def start(
    folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start `jisi` as a process of its own."""
    command = [sys.executable, "-m", "jisi_cli", *map(str, arguments)]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=env or environment(folder), **(streams | options))


def write_pool(path: Path, server: Server, models: Sequence[str], *, budget: str = "", entry: str = "") -> Path:
    """Write a pool file whose models are on the server, at 1 and 2 dollars per million tokens."""
    tables = [f"[budget]\n{budget}"] + [
        f'[[models]]\nname = "{model}"\nlitellm = "openai/{model}"\napi_base = "{server.api_base}"\n'
        'api_key_env = "OPENAI_API_KEY"\n'
        f"price = {{ input = 1, output = 2 }}\nparams = {{ max_tokens = 1000 }}\n{entry}"
        for model in models
    ]
    path.write_text("\n".join(tables))
    return path


def write_questions(path: Path, count: int) -> Path:
    """Write questions whose reference is in the question, so that a model that repeats it is right."""
    rows = [
        {"dataset": ("odd", "even")[n % 2], "index": n, "query": f"Say number {n}.", "gt": str(n), "grader": "contains"}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def cached_answers(folder: Path) -> int:
    """Count the answers in the folder of a cache, whose process may have been killed."""
    database = folder / "cache.db"
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database, timeout=60)) as rows:
        made = rows.execute("SELECT 1 FROM sqlite_master WHERE name = 'Cache'").fetchone()
        return int(rows.execute("SELECT COUNT(*) FROM Cache").fetchone()[0]) if made else 0
