"""A real `jisi serve` on loopback, in front of a server that answers as a script says.

It is a process of its own that has been forked (tests/faults/forked.py), without four seconds of imports each.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.cli.commands import MODELS, build_small_bank, pool_file
from tests.faults.forked import Forked, start_here
from tests.loopback import Loopback, Script

KEY = "a-key-of-the-servers-own"
PATIENCE = 300
"""Seconds that a client waits; of itself httpx gives up after five, which a busy machine may take."""


_TOLD = re.compile(r"^serving on (\S+)/v1\b", re.MULTILINE)


@dataclass(frozen=True)
class Running:
    """A server at work.

    Attributes:
        url: Its address, without a path.
        upstream: The server that its models are on.
        process: The process.
        home: Where it keeps cache, ledger and settings.
        arguments: Of the command.
        env: Its variables.
    """

    url: str
    upstream: Loopback
    process: Forked
    home: Path
    arguments: Sequence[str | Path]
    env: Mapping[str, str]

    @property
    def api(self) -> str:
        return f"{self.url}/v1"

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=PATIENCE)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=PATIENCE)

    def chat(self, question: str, **more: object) -> httpx.Response:
        messages = [{"role": "user", "content": question}]
        return self.post("/v1/chat/completions", {"model": "jisi", "messages": messages, **more})

    @contextmanager
    def again(self) -> Iterator[Running]:
        """Start another server as this one was started, with the same models and the same files."""
        with _started(self.arguments, self.env, self.upstream, self.home) as found:
            yield found


@contextmanager
def serving(
    folder: Path, *options: str, bank: bool = True, lines: Mapping[str, str] | None = None, **variables: str
) -> Iterator[Running]:
    """Start the upstream and the server, and end both; `lines` are what the pool file says of some models."""
    named = ("--bank", build_small_bank(folder)) if bank else ()
    with Loopback({model: Script(text=f"{model} says so") for model in MODELS}) as upstream:
        config = pool_file(folder / "jisi.toml", upstream, lines=lines)
        home = {f"JISI_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "DATA", "CONFIG")}
        arguments = ("serve", *named, "--config", config, "--port", "0", *options)
        with _started(arguments, {**home, **variables}, upstream, folder) as found:
            yield found


@contextmanager
def _started(
    arguments: Sequence[str | Path], env: Mapping[str, str], upstream: Loopback, home: Path
) -> Iterator[Running]:
    process = start_here(*arguments, env=env)
    try:
        yield Running(_address(process), upstream, process, home, arguments, env)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate()


def _address(process: Forked) -> str:
    process.until(lambda: _TOLD.search(process.said()[1]) is not None)
    (url,) = _TOLD.findall(process.said()[1])
    process.until(lambda: httpx.get(f"{url}/health", timeout=PATIENCE).status_code == 200)
    return str(url)
