"""What a user reads when a model gives no answer, and what must not be in it."""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from pathlib import Path

import pytest

from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError
from jisi_cli.models.facts import missing_key
from jisi_cli.models.failure import one_line
from jisi_cli.models.redaction import redact, secrets_in
from jisi_cli.types import Answer
from tests.loopback import Fault, Loopback
from tests.models.asking import ask_once, cache_in, entry, everything_written, ledger_in, pool

SECRET = "sk-planted-0123456789abcdef"


def test_a_missing_key_is_named() -> None:
    answer = ask_once(pool(ModelEntry("a", "openrouter/some/model")))
    assert answer.error == "no key for openrouter/some/model: set OPENROUTER_API_KEY in the environment"


def test_a_key_that_is_there_or_not_needed_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_key(ModelEntry("a", "openai/gpt-4o")) == "OPENAI_API_KEY"
    assert missing_key(ModelEntry("a", "openai/mine", api_base="http://127.0.0.1:1/v1")) is None
    assert missing_key(ModelEntry("a", "local:smollm2")) is None
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert missing_key(ModelEntry("a", "openai/gpt-4o")) is None


def test_the_key_that_an_entry_names_is_what_its_server_gets(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    loopback.script("a")
    ask_once(pool(entry(loopback, api_key_env="OPENAI_API_KEY")))
    assert loopback.requests[0].headers["authorization"] == f"Bearer {SECRET}"


def test_a_server_of_ones_own_needs_no_key(loopback: Loopback) -> None:
    loopback.script("a")
    assert ask_once(pool(entry(loopback))).ok


def test_an_unknown_host_is_named_as_such() -> None:
    dead = ModelEntry("a", "openai/a", api_base="http://no-such-host.invalid/v1")
    error = ask_once(pool(dead, max_retries=0)).error
    assert error is not None
    assert error.startswith("connection failed: ")
    assert "unknown" in error or "not known" in error


def test_a_port_where_nobody_listens_is_a_failed_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    answer = ask_once(pool(ModelEntry("a", "openai/a", api_base=f"http://127.0.0.1:{port}/v1"), max_retries=0))
    assert answer.error is not None
    assert answer.error.startswith("connection failed: ")
    assert answer.cost_usd == 0.0


def test_a_provider_litellm_does_not_know_is_an_error_with_the_right_form() -> None:
    error = ask_once(pool(ModelEntry("a", "nobody/model"))).error
    assert error == "LiteLLM knows no such provider; `litellm` is written `provider/model`"


def test_a_model_the_server_does_not_know_fails_in_the_servers_words(loopback: Loopback) -> None:
    assert ask_once(pool(entry(loopback))).error == "HTTP 404: the model `a` does not exist"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["empty", "null_content"])
def test_an_empty_answer_is_an_error_and_is_never_cached(
    loopback: Loopback, tmp_path: Path, kind: str, streamed: bool
) -> None:
    loopback.script("a", faults=[Fault(kind)])  # type: ignore[arg-type]
    cache = cache_in(tmp_path)
    on_text = (lambda _: None) if streamed else None
    empty = ask_once(pool(entry(loopback), cache=cache), on_text=on_text)
    assert (empty.text, empty.error) == ("", "the model returned no text (finish reason: stop)")
    assert empty.prompt_tokens is not None
    assert ask_once(pool(entry(loopback), cache=cache), on_text=on_text).text == "an answer"
    assert loopback.count() == 2


def test_blank_text_is_an_empty_answer(loopback: Loopback) -> None:
    loopback.script("a", text=" \n ", finish_reason="length")
    answer = ask_once(pool(entry(loopback)))
    assert answer.text == ""
    assert answer.error == "the model returned no text: `max_tokens` was spent before the answer began"


@pytest.mark.parametrize("reason", ["half \ud800\nof it", {"why": 7}, "x" * 5000], ids=["halves", "an object", "long"])
def test_why_an_answer_ended_may_be_any_word_of_the_provider(
    loopback: Loopback, tmp_path: Path, reason: object
) -> None:
    for text in ("it is four", " "):
        loopback.script("a", text=text, finish_reason=reason)
        asked = pool(entry(loopback), cache=cache_in(tmp_path), ledger=ledger_in(tmp_path))
        answer = ask_once(asked, text, on_text=lambda _: None)
        assert answer.text == text.strip()
    assert answer.error is not None
    assert "\n" not in answer.error and len(answer.error) < 500
    assert [row.error for row in ledger_in(tmp_path).rows()] == [None, answer.error]


def test_an_error_is_never_cached(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", faults=[Fault("status", status=400)])
    cache = cache_in(tmp_path)
    assert ask_once(pool(entry(loopback), cache=cache)).error is not None
    assert ask_once(pool(entry(loopback), cache=cache)).text == "an answer"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_planted_key_is_in_no_error_and_in_no_file(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    loopback.script("a", faults=[Fault("status", status=401, message="bad header: {authorization}")])
    named = entry(loopback, api_key_env="OPENAI_API_KEY")
    on_text = (lambda _: None) if streamed else None

    def asked_once() -> Answer:
        asked = pool(named, cache=cache_in(tmp_path), ledger=ledger_in(tmp_path))
        return ask_once(asked, on_text=on_text)

    failed = asked_once()
    assert asked_once().ok
    assert failed.error == "HTTP 401: bad header: Bearer [redacted]"
    assert loopback.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET.encode() not in everything_written(tmp_path)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("key AIzaNotReallyAKey rejected", "key [redacted] rejected"),
        ("GET https://host/x?alt=json&key=abc123&v=1", "GET https://host/x?alt=json&key=[redacted]&v=1"),
        ("POST https://me:pass@host/v1", "POST https://[redacted]@host/v1"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer [redacted]"),
        ("Incorrect API key: sk-abcdefgh12345678", "Incorrect API key: [redacted]"),
        ("nothing to hide at https://host/v1", "nothing to hide at https://host/v1"),
    ],
)
def test_secrets_are_taken_out_of_a_providers_words(monkeypatch: pytest.MonkeyPatch, said: str, shown: str) -> None:
    monkeypatch.setitem(os.environ, "GEMINI_API_KEY", "AIzaNotReallyAKey")
    assert redact(said) == shown


def test_a_providers_words_become_one_line_without_litellms_wrapping() -> None:
    said = "litellm.RateLimitError: RateLimitError: OpenAIException - slow\n  down,\tplease"
    assert one_line(said) == "slow down, please"
    assert one_line("the model says: no") == "the model says: no"
    assert one_line("it broke Traceback (most recent call last):\n File x") == "it broke"
    assert len(one_line("word " * 1000)) <= 400


@pytest.mark.parametrize("character", [".", "a"])
def test_a_long_run_of_one_kind_of_character_is_read_once(character: str) -> None:
    # Were each of its beginnings tried, this would take half an hour.
    assert one_line(character * 200_000) == character * 399 + "…"


@pytest.mark.parametrize(
    ("said", "shown"),
    [("half a \ud800 character", "half a \ufffd character"), ("[" * 100_000, "[" * 399 + "…")],
    ids=["half a character", "nested"],
)
def test_words_that_no_file_and_no_parser_can_hold_are_a_failed_answer_like_any(
    loopback: Loopback, tmp_path: Path, said: str, shown: str
) -> None:
    loopback.script("a", faults=[Fault("status", status=400, message=said)])
    answer = ask_once(pool(entry(loopback), ledger=ledger_in(tmp_path)))
    (row,) = ledger_in(tmp_path).rows()
    assert answer.error == row.error == f"HTTP 400: {shown}"


@pytest.mark.parametrize("body", [b'{"usage": ' + b"[" * 100_000, b'{"choices": "\xff"}'], ids=["nested", "bytes"])
def test_a_body_that_cannot_be_read_may_have_cost_something(body: bytes) -> None:
    class Server(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

    with socketserver.TCPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.handle_request).start()
        odd = ModelEntry("a", "openai/a", api_base=f"http://127.0.0.1:{server.server_address[1]}/v1")
        answer = ask_once(pool(odd, max_retries=0))
    assert (answer.error, answer.cost_usd) == ("the answer is not JSON that can be read", None)


def test_a_key_that_begins_like_another_leaves_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "planted")
    monkeypatch.setenv("MISTRAL_API_KEY", "planted-and-longer")
    assert redact("planted-and-longer, planted") == "[redacted], [redacted]"


def test_a_local_model_that_cannot_start_is_a_failed_answer_with_its_reason() -> None:
    class NoServers:
        async def endpoint(self, weights: str) -> None:
            raise InputError(f"no weights `{weights}`; install them")

        async def close(self) -> None:
            pass

    answer = ask_once(pool(ModelEntry("a", "local:tiny"), local_models=NoServers()))
    assert answer.error == "no weights `tiny`; install them"
    assert (answer.cost_usd, answer.text) == (0.0, "")


def test_a_local_model_is_reached_at_the_address_and_with_the_key_of_its_server(loopback: Loopback) -> None:
    loopback.script("tiny", text="it is four")

    class Place:
        api_base = loopback.api_base
        api_key = "only-for-this-run"

    class Servers:
        asked_for: tuple[str, ...] = ()
        closed = False

        async def endpoint(self, weights: str) -> Place:
            self.asked_for += (weights,)
            return Place()

        async def close(self) -> None:
            self.closed = True

    servers = Servers()
    assert ask_once(pool(ModelEntry("tiny", "local:smollm2"), local_models=servers)).text == "it is four"
    # Once before the seconds of the call count, once for the call.
    assert (servers.asked_for, servers.closed) == (("smollm2", "smollm2"), True)
    assert loopback.requests[0].headers["authorization"] == "Bearer only-for-this-run"


def test_secrets_of_a_request_are_its_own_headers_and_what_is_named_so() -> None:
    request = {"extra_headers": {"X-Id": "a header"}, "aws_secret_access_key": "a key", "max_tokens": 9, "seed": "no"}
    assert secrets_in(request) == ["a header", "a key"]
    deeper = {"extra_body": {"provider": {"auth_token": "a token"}, "top_k": 5}, "headers": {"X": "Bearer the-rest "}}
    assert secrets_in(deeper) == ["a token", "the-rest"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("headers", ["X-Id: 7", ["X-Id"], 7])
def test_headers_of_the_pool_file_that_are_none_are_a_failed_answer(
    loopback: Loopback, headers: object, streamed: bool
) -> None:
    loopback.script("a")
    asked = pool(entry(loopback, params={"extra_headers": headers}), max_retries=0)
    answer = ask_once(asked, on_text=(lambda _: None) if streamed else None)
    assert answer.error
    assert "\n" not in answer.error
