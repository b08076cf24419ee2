"""Replies that jisi reads itself: only what is plain, and what is not is as if nobody had read it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from jisi_cli.models.plain_reply import PlainAnswer, StreamReader, plain_answer

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def whole(message: Any = None, **more: Any) -> dict[str, Any]:
    """Return a chat completion; `more` goes into its choice where it is a choice's, else beside it."""
    of_choice = {
        name: more.pop(name) for name in ("finish_reason", "logprobs", "index", "error_in_choice") if name in more
    }
    message = (
        {"role": "assistant", "content": "It is 4.", "refusal": None, "tool_calls": []} if message is None else message
    )
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None, **of_choice}
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}


def event(delta: dict[str, Any] | None = None, end: Any = None, **more: Any) -> bytes:
    """Return an event of a stream."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": end}]
    return b"data: %s\n\n" % json.dumps({"object": "chat.completion.chunk", "choices": choices, **more}).encode()


STREAM = (
    event({"role": "assistant", "content": ""}),
    event({"content": "It "}),
    b": a comment that keeps the connection\n\n",
    event({"content": "is 4."}),
    event({}, "stop"),
    event(usage=USAGE),
    b"data: [DONE]\n\n",
)


class Body(httpx.AsyncByteStream):
    """A body that comes in pieces, and may break."""

    def __init__(self, pieces: Sequence[bytes], error: Exception | None = None) -> None:
        self._pieces, self._error = pieces, error
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        self.is_closed = True


def response(body: Body, kind: str, status: int = 200) -> httpx.Response:
    request = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")
    return httpx.Response(status, headers={"content-type": kind}, stream=body, request=request)


def read(found: httpx.Response, *, streamed: bool) -> tuple[PlainAnswer | None, str]:
    """Read an answer; return it, and what of its text was passed on meanwhile."""
    answer, shown, _ = asyncio.run(twice(found, streamed=streamed))
    return answer, shown


async def twice(found: httpx.Response, *, streamed: bool) -> tuple[PlainAnswer | None, str, bytes]:
    """Read an answer; where it is not plain, return also what another reader gets."""
    shown: list[str] = []
    answer = await plain_answer(found, shown.append if streamed else None)
    return answer, "".join(shown), b"" if answer is not None else await found.aread()


def test_a_plain_answer_is_read_with_all_that_is_told_of_it() -> None:
    body = Body([json.dumps({**whole(), "service_tier": "flex"}).encode()])
    answer, _ = read(response(body, "application/json; charset=utf-8"), streamed=False)
    assert answer is not None and answer[:2] == ("It is 4.", "stop")
    assert answer.usage.prompt_tokens == 7 and answer.service_tier == "flex" and answer.is_final
    assert body.is_closed


@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
def test_a_plain_stream_is_passed_on_as_it_arrives_however_it_is_cut(size: int) -> None:
    sent = b"".join(STREAM)
    body = Body([sent[place : place + size] for place in range(0, len(sent), size)])
    answer, shown = read(response(body, "text/event-stream"), streamed=True)
    assert answer is not None and answer[:2] == ("It is 4.", "stop")
    assert shown == "It is 4." and answer.usage.completion_tokens == 2 and answer.is_final
    assert body.is_closed


def test_a_stream_passes_its_text_on_before_it_ends() -> None:
    reader = StreamReader()
    assert [reader.feed(piece) for piece in STREAM[:4]] == [[], ["It "], [], ["is 4."]]


def test_text_after_a_usage_is_told_of() -> None:
    parts = (
        event({"content": "It "}, usage=USAGE),
        event({"content": "is 4."}),
        event({}, "stop"),
        b"data: [DONE]\n\n",
    )
    answer, _ = read(response(Body(parts), "text/event-stream"), streamed=True)
    assert answer is not None and not answer.is_final


ODD_WHOLE: dict[str, Any] = {
    "an error": {**whole(), "error": {"message": "no"}},
    "no choices": {**whole(), "choices": []},
    "two choices": {**whole(), "choices": whole()["choices"] * 2},
    "choices that are none": {**whole(), "choices": [None]},
    "a list": [1],
    "a tool call": whole({"role": "assistant", "content": "x", "tool_calls": [{"id": "1"}]}),
    "thinking beside it": whole({"role": "assistant", "content": "x", "reasoning_content": "hm"}),
    "thinking in it": whole({"role": "assistant", "content": "<think>hm</think>x"}),
    "a refusal": whole({"role": "assistant", "content": None, "refusal": "no"}),
    "parts": whole({"role": "assistant", "content": [{"type": "text", "text": "x"}]}),
    "a number": whole({"role": "assistant", "content": 4}),
    "nothing": whole({"role": "assistant", "content": ""}),
    "no message": whole("x"),
    "another end": whole(finish_reason="tool_calls"),
    "no end": whole(finish_reason=None),
    "an end that is no word": whole(finish_reason={"why": 7}),
    "a failed end": whole(finish_reason="error"),
    "probabilities": whole(logprobs={"content": []} | {"x": 1}),
    "odd tokens": {**whole(), "usage": {"prompt_tokens": "7", "completion_tokens": 2.5}},
}


@pytest.mark.parametrize("name", ODD_WHOLE)
def test_what_is_odd_is_not_read_and_can_be_read_from_its_beginning(name: str) -> None:
    sent = json.dumps(ODD_WHOLE[name]).encode()
    found = response(Body([sent[:9], sent[9:]]), "application/json")
    assert asyncio.run(twice(found, streamed=False)) == (None, "", sent)


ODD_STREAMS: dict[str, Sequence[bytes]] = {
    "an error": (*STREAM[:4], b'data: {"error": {"message": "overloaded"}}\n\n'),
    "no JSON": (*STREAM[:4], b"data: {\n\n"),
    "another kind of line": (*STREAM[:4], b"event: error\n\n"),
    "a tool call": (*STREAM[:4], event({"tool_calls": [{"index": 0}]})),
    "thinking": (event({"reasoning_content": "hm"}), *STREAM),
    "a failed end": (*STREAM[:4], event({}, "error")),
    "an end that is no word": (*STREAM[:4], event({}, ["stop"])),
    "no end": STREAM[:4],
    "text after the end": (*STREAM[:5], event({"content": "more"}), *STREAM[5:]),
    "no text": STREAM[4:],
    "an odd usage": (*STREAM[:5], event(usage={"prompt_tokens": "7"}), STREAM[6]),
    "circles": (*(event({"content": "round "}),) * 60, *STREAM[4:]),
}


@pytest.mark.parametrize("name", ODD_STREAMS)
def test_an_odd_stream_can_be_read_from_its_beginning(name: str) -> None:
    found = response(Body(ODD_STREAMS[name]), "text/event-stream")
    answer, _, sent = asyncio.run(twice(found, streamed=True))
    assert answer is None and sent == b"".join(ODD_STREAMS[name])


def test_a_connection_that_breaks_breaks_for_the_next_reader_too() -> None:
    found = response(Body(STREAM[:3], httpx.ReadError("reset")), "text/event-stream")

    async def both() -> None:
        assert await plain_answer(found, lambda piece: None) is None
        with pytest.raises(httpx.ReadError, match="reset"):
            await found.aread()

    asyncio.run(both())


def test_a_long_answer_is_left_to_the_reader_that_bounds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jisi_cli.models.plain_reply._MOST_KEPT", 200)
    found = response(Body(STREAM), "text/event-stream")
    answer, _, sent = asyncio.run(twice(found, streamed=True))
    assert answer is None and sent == b"".join(STREAM)


@pytest.mark.parametrize(
    ("kind", "status", "streamed"),
    [
        ("application/json", 200, True),
        ("text/event-stream", 200, False),
        ("text/html", 200, False),
        ("application/json", 429, False),
        ("application/json", 307, False),
    ],
)
def test_only_good_answers_of_the_kind_that_was_asked_for_are_looked_at(kind: str, status: int, streamed: bool) -> None:
    found = response(Body(STREAM if streamed else [json.dumps(whole()).encode()]), kind, status)
    assert read(found, streamed=streamed) == (None, "")
