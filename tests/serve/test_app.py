"""The application by itself: what it says of a pool that cannot be opened, and how it keeps ways of answering."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path
from threading import Event, Semaphore
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import jisi_cli as jisi
from jisi_cli.conversation import Conversation
from jisi_cli.errors import BankError
from jisi_cli.serve.app import Server, ServerOptions, make_app
from jisi_cli.serve.requests import ChatRequest
from tests.cli.commands import build_small_bank, pool_file
from tests.loopback import Loopback


def test_a_stranger_is_not_told_why_a_pool_cannot_be_opened() -> None:
    told: list[str] = []

    def broken() -> None:
        raise BankError("/home/ann/secret/bank: it is broken")

    user, account = SimpleNamespace(warn=told.append), SimpleNamespace(store=False)
    pool: Any = SimpleNamespace(user=user, account=account, warm_up=broken, close=lambda: None)
    app: Any = make_app(pool, ServerOptions("0.0.0.0", "a key"))

    async def health() -> httpx.Response:
        async with (
            app._app.router.lifespan_context(app._app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host") as client,
        ):
            while not told:
                await asyncio.sleep(0.01)
            return await client.get("/health")

    found = asyncio.run(health())
    assert (found.status_code, found.json()) == (503, {"status": "failed"})
    assert told == ["/home/ann/secret/bank: it is broken"]


def test_a_way_of_answering_may_be_given_up_while_it_is_taken(tmp_path: Path, loopback: Loopback) -> None:
    class Crowded(OrderedDict[Any, Any]):
        def get(self, key: object, default: object = None) -> object:
            found = super().get(key, default)
            self.clear()  # by other threads
            return found

    with jisi.open(build_small_bank(tmp_path), pool_file(tmp_path / "jisi.toml", loopback)) as pool:
        server = Server(pool, ServerOptions())
        asked = ChatRequest("jisi", Conversation("What is 1 plus 1?"), temperature=0.5)
        first = server._variant(asked)
        server._variants = Crowded(server._variants)
        assert server._variant(asked) is first


def test_large_requests_are_read_one_after_the_other_and_hold_up_no_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    user, account = SimpleNamespace(warn=pytest.fail), SimpleNamespace(store=False)
    pool: Any = SimpleNamespace(user=user, account=account)
    server = Server(pool, ServerOptions())
    at_once: list[int] = []
    reading, small_is_read = Semaphore(0), Event()

    def read(document: dict[str, Any]) -> str:
        if document["size"] == "small":
            small_is_read.set()
            return "small"
        reading.release()
        at_once.append(reading._value)
        assert small_is_read.wait(60)
        reading.acquire()
        return "large"

    monkeypatch.setattr("jisi_cli.serve.app.read_chat_request", read)
    padding = " " * 200_000

    async def crowd() -> list[Any]:
        large = [server._read(f'{{"size": "large"}}{padding}'.encode()) for _ in range(40)]
        return await asyncio.gather(*large, server._read(b'{"size": "small"}'))

    assert asyncio.run(crowd()) == ["large"] * 40 + ["small"]
    assert at_once == [1] * 40
