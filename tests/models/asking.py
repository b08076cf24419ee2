"""What the tests of the live pool share: a pool over the loopback server, and a way to ask it."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.json_disk import JsonCache, open_cache
from jisi_cli.models.ledger import Ledger
from jisi_cli.models.live import LivePool
from jisi_cli.types import Answer, Message, Request
from tests.loopback import Loopback


class NoJitter:
    """A source of chance that always says 0, so that retries follow at once."""

    def random(self) -> float:
        return 0.0


def entry(server: Loopback, name: str = "a", **fields: Any) -> ModelEntry:
    """A pool entry of a model on the loopback server, at 1 and 2 dollars per million tokens."""
    return ModelEntry(name, f"openai/{name}", api_base=server.api_base, **{"price": Price(1, 2)} | fields)


def pool(*entries: ModelEntry, **options: Any) -> LivePool:
    return LivePool(entries, **{"rng": NoJitter(), "timeout": 120.0} | options)


def user(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


async def ask(asked: LivePool, question: str = "what is 2 + 2?", **options: Any) -> Answer:
    """Ask the pool's first model as a probe."""
    return await asked.ask(Request(asked.models[0], user(question), **{"role": "probe"} | options))


def ask_once(asked: LivePool, question: str = "what is 2 + 2?", **options: Any) -> Answer:
    """Ask the pool's first model and close the pool."""

    async def once() -> Answer:
        async with asked:
            return await ask(asked, question, **options)

    return asyncio.run(once())


def no_warning(message: str) -> None:
    raise AssertionError(f"a warning was not expected: {message}")


def cache_in(folder: Path, warn: Callable[[str], None] = no_warning) -> JsonCache:
    return open_cache(folder / "cache", warn=warn)


def ledger_in(folder: Path, warn: Callable[[str], None] = no_warning) -> Ledger:
    return Ledger(folder / "ledger" / "calls.sqlite", warn=warn)


def everything_written(folder: Path) -> bytes:
    """Return all that lies in files below a folder, compressed values of caches unpacked."""
    found = b""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found += path.read_bytes()
        if path.name == "cache.db":
            with sqlite3.connect(path) as rows:
                found += b"".join(zlib.decompress(value) for (value,) in rows.execute("SELECT value FROM Cache"))
    return found
