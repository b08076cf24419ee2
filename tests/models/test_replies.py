"""Answers in the shapes in which servers really send them: each is read, and paid for once."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.replies import text_and_thinking
from jisi_cli.types import Answer
from tests.loopback import Loopback, Raw, completion, events
from tests.models.asking import ask_once, cache_in, entry, everything_written, ledger_in, pool

STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Is it 40? No."}]}
TEXT = {"type": "text", "text": "42"}
PARTS: dict[str, tuple[Any, ...]] = {
    "thinking, then text": ([THINKING], [TEXT]),
    "in one list": ([THINKING, TEXT],),
    "then plain text": ([THINKING], "4", "2"),
    "after an empty text": ("", [TEXT]),
    "output text": ([{"type": "output_text", "text": "42", "annotations": []}],),
    "reasoning with a summary": ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "40"}]}, TEXT],),
    "a value": ([{"type": "text", "text": {"value": "42"}}],),
    "strings": (["4", "2"],),
    "a number": (42,),
    "nested": ([[TEXT]],),
    "nothing but other kinds beside it": ([{"type": "image_url", "image_url": {"url": "x"}}, None, True, TEXT],),
}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in ("OPENROUTER", "MISTRAL", "HOSTED_VLLM", "DEEPSEEK"):
        monkeypatch.setenv(f"{provider}_API_KEY", "planted-0123456789")


def answer_to(server: Loopback, streamed: bool, provider: str = "openai") -> Answer:
    asked = ModelEntry("a", f"{provider}/a", api_base=server.api_base, price=Price(1, 2))
    return ask_once(pool(asked), on_text=(lambda _: None) if streamed else None)


@STREAMED
@pytest.mark.parametrize("contents", PARTS.values(), ids=PARTS)
def test_content_in_parts_is_one_answer_without_its_thinking(
    loopback: Loopback, contents: tuple[Any, ...], streamed: bool
) -> None:
    joined = contents[0] if len(contents) == 1 else [part for part in contents if part]
    deltas = [{"content": content} for content in contents]
    reply = Raw(events(*deltas), events=True) if streamed else Raw(completion(joined))
    loopback.script("a", raw=lambda body: reply)
    answer = answer_to(loopback, streamed)
    assert (answer.text, answer.error, answer.cost_usd) == ("42", None, pytest.approx(20e-6))
    assert loopback.count() == 1


@STREAMED
@pytest.mark.parametrize("provider", ["openrouter", "mistral", "hosted_vllm", "deepseek"])
def test_content_in_parts_is_read_from_every_provider(loopback: Loopback, provider: str, streamed: bool) -> None:
    reply = Raw(events([THINKING], [TEXT]), events=True) if streamed else Raw(completion([THINKING, TEXT]))
    loopback.script("a", raw=lambda body: reply)
    assert answer_to(loopback, streamed, provider).text == "42"
    assert loopback.count() == 1


@STREAMED
@pytest.mark.parametrize(
    "content", [[], {}, [THINKING], [{"type": "image"}], True, [[[[[[[[[["too deep"]]]]]]]]]]], ids=str
)
def test_content_without_any_text_is_one_failure_that_was_paid_for(
    loopback: Loopback, content: Any, streamed: bool
) -> None:
    reply = Raw(events({"content": content}), events=True) if streamed else Raw(completion(content))
    loopback.script("a", raw=lambda body: reply)
    answer = answer_to(loopback, streamed)
    assert (answer.text, answer.error) == ("", "the model returned no text (finish reason: stop)")
    assert answer.cost_usd == pytest.approx(20e-6)
    assert loopback.count() == 1


@pytest.mark.parametrize("provider", ["openai", "openrouter", "mistral", "hosted_vllm"])
def test_whole_json_in_place_of_a_stream_is_the_answer(loopback: Loopback, provider: str) -> None:
    loopback.script("a", raw=lambda body: Raw(completion("<think>40?</think>\n\n42")))
    answer = answer_to(loopback, streamed=True, provider=provider)
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("42", 10, 5)
    assert loopback.requests[0].body["stream"] is True
    assert loopback.count() == 1


@pytest.mark.parametrize("provider", ["openai", "openrouter", "hosted_vllm"])
@pytest.mark.parametrize("kind", ["text/plain", "text/html; charset=utf-8", "application/octet-stream"])
@STREAMED
def test_an_answer_under_a_wrong_content_type_is_read(
    loopback: Loopback, provider: str, kind: str, streamed: bool
) -> None:
    loopback.script("a", raw=lambda body: Raw(completion("42"), kind=kind))
    assert answer_to(loopback, streamed, provider).text == "42"
    assert loopback.count() == 1


@pytest.mark.parametrize("provider", ["openai", "openrouter", "hosted_vllm"])
def test_a_stream_that_nobody_asked_for_is_the_answer(loopback: Loopback, provider: str) -> None:
    loopback.script("a", raw=lambda body: Raw(events("4", [THINKING], "2", finish_reason="length"), events=True))
    answer = answer_to(loopback, streamed=False, provider=provider)
    assert (answer.text, answer.prompt_tokens, answer.finish_reason) == ("42", 10, "length")
    assert loopback.count() == 1


def test_a_stream_under_a_wrong_content_type_is_streamed(loopback: Loopback) -> None:
    loopback.script("a", raw=lambda body: Raw(events("4", "2"), kind="text/plain", events=True))
    assert answer_to(loopback, streamed=True).text == "42"


def test_a_server_of_which_no_stream_can_be_read_is_asked_for_the_whole(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "planted-0123456789")
    said = {
        **{"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn"},
        "content": [{"type": "text", "text": "42"}],
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    loopback.script("a", raw=lambda body: Raw(said))
    answer = answer_to(loopback, streamed=True, provider="anthropic")
    assert (answer.text, loopback.count()) == ("42", 2)
    # The first was paid for, too, and nobody knows how much.
    assert [request.body.get("stream") for request in loopback.requests] == [True, None]


@STREAMED
def test_a_refusal_is_the_answer_of_a_model_that_was_kept_from_answering(loopback: Loopback, streamed: bool) -> None:
    refusal = {"content": None, "refusal": "I cannot help with that."}
    reply = Raw(events(refusal), events=True) if streamed else Raw(completion(**refusal))
    loopback.script("a", raw=lambda body: reply)
    assert answer_to(loopback, streamed).text == "I cannot help with that."


@STREAMED
@pytest.mark.parametrize("provider", ["openai", "openrouter", "hosted_vllm"])
@pytest.mark.parametrize("reason", ["error", "network_error", "ERROR"])
def test_an_answer_that_an_upstream_error_ended_is_asked_again(
    loopback: Loopback, provider: str, reason: str, streamed: bool
) -> None:
    def broken_once(body: dict[str, Any]) -> Raw | None:
        if loopback.count() > 1:
            return None
        if streamed:
            return Raw(events("The answ", finish_reason=reason), events=True)
        half = completion("The answ", reason)
        half["choices"][0]["error"] = {"code": 502, "message": "upstream died"}
        return Raw(half)

    loopback.script("a", text="The answer is 42", raw=broken_once)
    assert answer_to(loopback, streamed, provider).text == "The answer is 42"
    assert loopback.count() == 2


def test_an_upstream_error_is_told_in_its_own_words(loopback: Loopback) -> None:
    half = completion("The answ", "error")
    half["choices"][0]["error"] = {"code": 502, "message": "upstream died"}
    loopback.script("a", raw=lambda body: Raw(half))
    answer = ask_once(pool(entry(loopback), max_retries=1))
    assert answer.error == "the provider failed in the middle of the answer: upstream died"
    assert (answer.text, answer.cost_usd) == ("", pytest.approx(40e-6))


@STREAMED
@pytest.mark.parametrize("said", ["<think>\nIs it 40? No.\n</think>\n\n42", "Is it 40? No.\n</think>\n\n42", "\n\n42"])
def test_one_answer_has_one_text_however_it_is_asked(
    loopback: Loopback, tmp_path: Path, said: str, streamed: bool
) -> None:
    loopback.script("a", text=said)
    on_text = (lambda _: None) if streamed else None
    first = ask_once(pool(entry(loopback), cache=cache_in(tmp_path)), on_text=on_text)
    again = ask_once(pool(entry(loopback), cache=cache_in(tmp_path)))
    assert (first.text, again.text, again.cached) == ("42", "42", True)


def test_what_is_streamed_begins_with_the_answer(loopback: Loopback) -> None:
    loopback.script("a", text="<think>\nIs it 40? No.\n</think>\n\nIt is 42")
    pieces: list[str] = []
    answer = ask_once(pool(entry(loopback)), on_text=pieces.append)
    assert pieces == ["It ", "is ", "42"]
    assert answer.text == "It is 42"


def test_thinking_that_was_cut_off_is_no_answer(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", text="<think>\nIs it 40? No", finish_reason="length")
    for _ in range(2):
        answer = ask_once(pool(entry(loopback), cache=cache_in(tmp_path)), on_text=lambda _: None)
        assert answer.error == "the model returned no text: `max_tokens` was spent before the answer began"
    assert loopback.count() == 2


def test_an_answer_stored_with_its_thinking_is_found_without(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", text="42")
    ask_once(pool(entry(loopback), cache=cache_in(tmp_path)))
    cache = cache_in(tmp_path)
    ((key,),) = sqlite3.connect(next(tmp_path.rglob("cache.db"))).execute("SELECT key FROM Cache")
    cache.set(key, {**cache.get(key), "text": "<think>\nIs it 40? No.\n</think>\n\n42"})
    answer = ask_once(pool(entry(loopback), cache=cache))
    assert (answer.text, answer.cached) == ("42", True)
    assert loopback.count() == 1


@STREAMED
def test_packed_answers_are_unpacked(loopback: Loopback, streamed: bool) -> None:
    plain = Raw(events("42"), events=True) if streamed else Raw(completion("42"))
    kind = "text/event-stream" if streamed else "application/json"
    packed = Raw(gzip.compress(plain.encoded()), kind=kind, headers={"Content-Encoding": "gzip"})
    loopback.script("a", raw=lambda body: packed)
    assert answer_to(loopback, streamed).text == "42"


@pytest.mark.parametrize(
    ("content", "both"),
    [
        ("42", ("42", "")),
        (None, ("", "")),
        ([THINKING, TEXT], ("42", "Is it 40? No.")),
        ([{"type": "thinking", "text": "40"}, {"text": "42"}], ("42", "40")),
        ({"type": "refusal", "refusal": "no"}, ("no", "")),
    ],
)
def test_text_and_thinking_are_told_apart(content: Any, both: tuple[str, str]) -> None:
    assert text_and_thinking(content) == both


def test_an_answer_in_a_shape_of_another_provider_is_not_in_the_error(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "planted-0123456789")
    loopback.script("*", raw=lambda body: Raw(completion("the secret answer")))
    asked = ModelEntry("a", "gemini/m", api_base=loopback.api_base, price=Price(1, 2))
    answer = ask_once(pool(asked, ledger=ledger_in(tmp_path)))
    assert answer.error is not None
    assert answer.error.startswith("the answer has a shape that LiteLLM cannot read for this provider (HTTP 200)")
    assert b"secret answer" not in everything_written(tmp_path)
