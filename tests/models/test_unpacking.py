"""Answers of servers that are small on the wire and endless when they are unpacked."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import ClassVar

import httpx
import pytest

from jisi_cli.config import ModelEntry
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import JisiError
from jisi_cli.models.transport import lenient_client
from jisi_cli.models.unpacking import ENCODINGS, bound_body
from tests.models.asking import ask_once, pool
from tests.models.test_outgoing import KEY, PROVIDERS

BOMB = 256 * 2**20
"""Bytes that a few hundred kilobytes unfold to here; of one that is not stopped, this much memory is taken."""
ALLOWED = 160 * 2**20


def bomb(size: int = BOMB) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()


PACKED = bomb()
TWICE = gzip.compress(PACKED)


class Server(http.server.BaseHTTPRequestHandler):
    """Answers with one body, packed as it says."""

    body: ClassVar[bytes] = b""
    status: ClassVar[int] = 200
    sent: ClassVar[dict[str, str]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("accept-encoding", ""))
        self.send_response(self.status)
        for name, value in self.sent.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        try:
            self.wfile.write(self.body)
        except OSError:
            self.close_connection = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/"
    running.shutdown()
    running.server_close()


def serve(body: bytes, coding: str | None, status: int = 200, kind: str = "application/json") -> None:
    Server.body, Server.status = body, status
    Server.sent = {"content-type": kind} | ({"content-encoding": coding} if coding else {})
    Server.asked.clear()


async def fetch(url: str) -> httpx.Response:
    async with lenient_client() as client:
        return await client.get(url)


def fetch_at_once(url: str) -> httpx.Response:
    with httpx.Client() as client:
        response = client.send(client.build_request("GET", url), stream=True)
        bound_body(response)
        response.read()
        response.close()
        return response


def fetch_both(url: str) -> Iterator[httpx.Response]:
    yield asyncio.run(fetch(url))
    yield fetch_at_once(url)


BARE = zlib.compressobj(wbits=-15)
BARE_DEFLATE = BARE.compress(b'{"a": 1}') + BARE.flush()


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b'{"a": 1}', None),
        (b'{"a": 1}', "identity"),
        (gzip.compress(b'{"a": 1}', mtime=0), "gzip"),
        (gzip.compress(b'{"a": 1}', mtime=0), "GZIP"),
        (gzip.compress(b'{"a": 1}', mtime=0), "x-gzip"),
        (zlib.compress(b'{"a": 1}'), "deflate"),
        (BARE_DEFLATE, "deflate"),
        (gzip.compress(zlib.compress(b'{"a": 1}'), mtime=0), "deflate, gzip"),
    ],
)
def test_what_is_packed_as_usual_is_read(server: str, body: bytes, coding: str | None) -> None:
    serve(body, coding)
    for response in fetch_both(server):
        assert response.json() == {"a": 1}
    assert Server.asked[0] == ENCODINGS


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain", ""])
@pytest.mark.parametrize(("body", "coding"), [(PACKED, "gzip"), (TWICE, "gzip, gzip"), (PACKED[10:-8], "deflate")])
def test_a_bomb_is_not_unpacked_to_its_end(server: str, body: bytes, coding: str, kind: str) -> None:
    serve(body, coding, kind=kind)
    for fetched in (lambda: asyncio.run(fetch(server)), lambda: fetch_at_once(server)):
        tracemalloc.start()
        try:
            with pytest.raises(httpx.ReadError, match="without end"):
                fetched()
            assert tracemalloc.get_traced_memory()[1] < ALLOWED
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("status", [400, 429, 500])
def test_of_an_endless_error_only_the_beginning_is_read(server: str, status: int) -> None:
    for body, coding in ((PACKED, "gzip"), (b"x" * 3_000_000, None)):
        serve(body, coding, status, "text/plain")
        for response in fetch_both(server):
            assert response.status_code == status
            assert len(response.content) == 2**20


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", ", ".join(["gzip"] * 4), "x" * 5000])
def test_a_coding_that_nobody_asked_for_is_refused(server: str, coding: str) -> None:
    serve(b"{}", coding)
    for fetched in (lambda: asyncio.run(fetch(server)), lambda: fetch_at_once(server)):
        with pytest.raises(httpx.ReadError, match="not asked for") as caught:
            fetched()
        assert len(str(caught.value)) < 200


def test_what_is_no_gzip_is_an_error_of_reading(server: str) -> None:
    serve(b"not packed at all", "gzip")
    with pytest.raises(httpx.ReadError, match="cannot be unpacked"):
        asyncio.run(fetch(server))


def test_others_have_their_turn_while_much_is_unpacked(server: str) -> None:
    serve(bomb(32 * 2**20), "gzip", kind="text/plain")

    async def both() -> int:
        turns = 0
        task = asyncio.create_task(fetch(server))
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        assert len((await task).content) == 32 * 2**20
        return turns

    assert asyncio.run(both()) > 100


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROVIDERS.values():
        monkeypatch.setenv(name, KEY)


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("status", [200, 400])
def test_no_provider_s_client_unpacks_a_bomb(server: str, provider: str, status: int) -> None:
    serve(PACKED, "gzip", status)
    model = ModelEntry("a", f"{provider}/a", api_base=server.rstrip("/"), api_key_env=PROVIDERS[provider])
    ask_once(pool(model, max_retries=0))  # what is loaded on first use is not counted
    Server.asked.clear()
    assert peak_of(lambda: ask_once(pool(model, max_retries=0))) < ALLOWED
    assert set(Server.asked) == {ENCODINGS}


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("provider", ["openai", "cohere"])
def test_no_client_of_embeddings_unpacks_a_bomb(server: str, provider: str) -> None:
    serve(PACKED, "gzip")
    spec = EmbedderSpec(f"litellm:{provider}/a", dimension=8)

    key = PROVIDERS.get(provider, "COHERE_API_KEY")

    def embed() -> None:
        embedder = load_embedder(spec, api_base=server.rstrip("/"), api_key_env=key)
        with pytest.raises(JisiError):
            embedder.embed(["a"])

    embed()
    Server.asked.clear()
    assert peak_of(embed) < ALLOWED
    assert set(Server.asked) == {ENCODINGS}
