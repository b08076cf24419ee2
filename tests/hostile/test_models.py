"""Models that answer without end, with megabytes, with commands for the terminal, or with orders."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jisi_cli.cli.output import printable
from jisi_cli.config import ModelEntry, Price
from tests.loopback import Loopback
from tests.models.asking import ask_once, cache_in, entry, pool

MEBI = 2**20


@contextmanager
def endless(head: bytes, again: bytes, kind: str) -> Iterator[ModelEntry]:
    """A model whose answer begins and then never ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            try:
                self.wfile.write(head)
                while True:
                    self.wfile.write(again)
            except OSError:
                pass

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield ModelEntry("a", "openai/a", api_base=f"http://127.0.0.1:{server.server_port}/v1", price=Price(1, 2))
    finally:
        server.shutdown()
        server.server_close()


def delta(text: str) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    body = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "a", "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n".encode()


def test_a_stream_without_end_fails_at_the_limit_of_length() -> None:
    shown: list[int] = []
    with endless(b"", delta("word " * 200_000), "text/event-stream") as model:
        answer = ask_once(pool(model, max_retries=0, timeout=600.0), on_text=lambda piece: shown.append(len(piece)))
    assert not answer.ok
    assert "went on beyond 64 Mi characters" in (answer.error or "")
    assert answer.cost_usd is None


def test_a_stream_that_drips_without_end_fails_at_the_time_limit() -> None:
    with endless(b"", delta("x"), "text/event-stream") as model:
        answer = ask_once(pool(model, max_retries=0, timeout=1.0), on_text=lambda piece: None)
    assert "no answer within 1 s" in (answer.error or "")


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_body_that_is_one_endless_line_fails_at_the_limit_of_bytes(kind: str) -> None:
    with endless(b'data: {"', b"x" * MEBI, kind) as model:
        on_text = (lambda piece: None) if "stream" in kind else None
        answer = ask_once(pool(model, max_retries=0, timeout=600.0), on_text=on_text)
    assert not answer.ok
    assert answer.error
    assert "600 s" not in answer.error
    assert "\n" not in answer.error


@pytest.mark.parametrize("usage", ["count", None])
def test_an_answer_of_fifty_megabytes_without_a_space_is_an_answer(
    loopback: Loopback, tmp_path: Path, usage: str | None
) -> None:
    loopback.script("a", text="x" * 50 * MEBI, usage=usage)
    cache = cache_in(tmp_path)
    answer = ask_once(pool(entry(loopback), cache=cache, timeout=600.0))
    assert len(answer.text) == 50 * MEBI
    assert ask_once(pool(entry(loopback), cache=cache)).text == answer.text
    assert loopback.count("a") == 1


def test_an_answer_longer_than_any_answer_is_a_failure(loopback: Loopback) -> None:
    loopback.script("a", text="x" * 65 * MEBI)
    answer = ask_once(pool(entry(loopback), max_retries=0, timeout=600.0))
    assert "went on beyond" in (answer.error or "")


def test_a_terminal_obeys_nothing_in_an_answer() -> None:
    hostile = "\x1b]0;title\x07\x1b[2Jred\x1b[31m\x9b5n\u202eabc\x00\rover\x1b]52;c;aGk=\x1b\\"
    assert printable(hostile) == "redabcover"


def test_a_call_of_tools_in_an_answer_calls_nothing_and_is_no_answer(loopback: Loopback) -> None:
    called = {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "rm", "arguments": "{}"}}]}
    loopback.script("a", text=json.dumps(called))
    # Text that looks like a call is text.
    assert json.loads(ask_once(pool(entry(loopback))).text) == called
