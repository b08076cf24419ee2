"""Replies that are OpenAI's protocol to the letter, read without LiteLLM; whatever is odd is left to it.

A reply counts as plain only where LiteLLM would change nothing of it: one choice with text and nothing else, that
ended of itself or at its limit. Errors, tool calls, thinking, content in parts, streams that break off: all of that
is LiteLLM's to read, from the first byte on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from jisi_cli.models.replies import is_odd_event, normalised, usage_in
from jisi_cli.models.unpacking import bound_body
from jisi_cli.models.usage import reported_tier, streamed_usage
from jisi_cli.types import OnText

if TYPE_CHECKING:
    import httpx

_ENDS = ("stop", "length")
_SAID = frozenset({"role", "content"})
"""What a message may have; all else must be empty."""
_MOST_ALIKE = 50
"""Equal pieces in a row: at twice as many LiteLLM assumes that a model is repeating itself."""

_MOST_KEPT = 8 * 2**20
"""Bytes of an answer; a longer one is left to LiteLLM."""
_FAREWELL = 0.05
"""Seconds that a stream has to close after its last event, so that its connection can be used again."""


class PlainAnswer(NamedTuple):
    """An answer as LiteLLM would have read it.

    Attributes:
        text: The response.
        finish_reason: Why it ended.
        usage: What the provider reports; None where it reports nothing.
        is_final: Whether it reports that after the last of the text.
        service_tier: The tier that it says it answered in, where that changes the price.
    """

    text: str
    finish_reason: str
    usage: Any
    is_final: bool
    service_tier: str | None


Made = TypeVar("Made")
Read = TypeVar("Read", covariant=True)


class Reader(Protocol[Read]):
    """Reads the body of a response piece by piece.

    Attributes:
        is_odd: Whether it has turned out not to be plain.
        has_ended: Whether nothing more is to come.
    """

    is_odd: bool
    has_ended: bool

    def feed(self, piece: bytes) -> Sequence[str]:
        """Take more of the body; return the pieces of the text in it that are certain."""
        ...

    def finish(self) -> Read | None:
        """Return what it says when all has come; None where it is not plain."""
        ...


class WholeReader(Generic[Made]):
    """Reads a body of which nothing is certain before its end.

    Args:
        read: Returns what the whole body says; None where it is not plain.
    """

    def __init__(self, read: Callable[[bytes], Made | None]) -> None:
        self.is_odd = self.has_ended = False
        self._read = read
        self._body = bytearray()

    def feed(self, piece: bytes) -> Sequence[str]:
        """Take more of the body."""
        self._body += piece
        return ()

    def finish(self) -> Made | None:
        """Return what it says; None where it is not plain."""
        return self._read(bytes(self._body))


def whole_answer(body: bytes) -> PlainAnswer | None:
    """Return the answer in one piece of JSON; None where it is not plain."""
    reply = _plain_reply(body)
    if reply is None or len(reply["choices"]) != 1 or _is_changed(body):
        return None
    choice = reply["choices"][0]
    text = _plain_text(choice, "message")
    # LiteLLM takes thinking out of a text that begins with a tag of it.
    if not text or text.lstrip().startswith("<") or (end := choice.get("finish_reason")) not in _ENDS:
        return None
    usage = usage_in(reply)
    return PlainAnswer(text, end, usage, True, reported_tier(SimpleNamespace(**_tier(reply)), usage))


class StreamReader:
    """Reads an answer that comes as server-sent events."""

    def __init__(self) -> None:
        self.is_odd = self.has_ended = False
        self._line = b""
        self._pieces: list[str] = []
        self._chunks: list[SimpleNamespace] = []
        self._end: str | None = None
        self._alike = 0

    def feed(self, piece: bytes) -> Sequence[str]:
        """Take more of the body; return the text of each event that is whole."""
        *lines, self._line = (self._line + piece).split(b"\n")
        before = len(self._pieces)
        for line in lines:
            if not (self.is_odd or self.has_ended):
                self._take(line.strip())
        return self._pieces[before:]

    def finish(self) -> PlainAnswer | None:
        """Return the answer; None where it is not plain, or broke off."""
        self.feed(b"\n")
        text = "".join(self._pieces)
        if self.is_odd or self._end is None or not text:
            return None
        usage, is_final = streamed_usage(self._chunks)
        return PlainAnswer(text, self._end, usage, is_final, reported_tier(*self._chunks, usage))

    def _take(self, line: bytes) -> None:
        if not line or line.startswith(b":"):
            return  # the end of an event, or a comment that keeps the connection
        if line == b"data: [DONE]":
            self.has_ended = True
            return
        event = _plain_reply(line.removeprefix(b"data:")) if line.startswith(b"data:") else None
        if event is None or is_odd_event(line) or len(event["choices"]) > 1:
            self.is_odd = True
            return
        text = self._of_choice(event["choices"][0]) if event["choices"] else ""
        if text is None or (event.get("usage") is not None and usage_in(event) is None):
            self.is_odd = True
            return
        self._chunks.append(_chunk(event, text))
        if text:
            self._alike = self._alike + 1 if self._pieces[-1:] == [text] else 0
            self.is_odd = self._alike > _MOST_ALIKE
            self._pieces.append(text)

    def _of_choice(self, choice: Any) -> str | None:  # noqa: ANN401 - whatever a server sent
        """Return the text of a choice; None where it is not plain."""
        text = _plain_text(choice, "delta")
        if text is None or self._end is not None:
            return None if text is None or text else text
        self._end = choice.get("finish_reason")
        return text if self._end is None or self._end in _ENDS else None


async def plain_answer(response: httpx.Response, on_text: OnText | None) -> PlainAnswer | None:
    """Read an answer if it is plain; if it is not, return None and leave the response as if unread.

    Args:
        response: What came, its body unread.
        on_text: Receives the text as it arrives; None where the answer was asked for whole.
    """
    reader = _reader(response, is_stream=on_text is not None)
    return None if reader is None else await read_plain(response, reader, _MOST_KEPT, on_text)


async def read_plain(
    response: httpx.Response, reader: Reader[Read], most: int, on_text: OnText | None = None
) -> Read | None:
    """Return what a reader makes of a body; if that is nothing, return None and leave the response as if unread.

    Args:
        response: What came, its body unread.
        reader: Reads it.
        most: Bytes of a body that is read; they are kept in case LiteLLM has to read them again.
        on_text: Receives the text in it as it arrives; None where nothing does.
    """
    import httpx

    if not isinstance(response.stream, httpx.AsyncByteStream):
        return None
    bound_body(response)
    pieces, kept, length = aiter(response.stream), [], 0
    broken: Exception | None = None
    try:
        async for piece in pieces:
            kept.append(piece)
            length += len(piece)
            for text in reader.feed(piece):
                if on_text is not None:
                    on_text(text)
            if reader.is_odd or reader.has_ended or length > most:
                break
    except httpx.HTTPError as error:
        broken = error
    found = None if broken is not None or reader.is_odd or length > most else reader.finish()
    if found is None:
        response.stream = _as_if_unread(response.stream, kept, pieces, broken)
        return None
    with suppress(TimeoutError, StopAsyncIteration, httpx.HTTPError):
        async with asyncio.timeout(_FAREWELL):
            await anext(pieces)
    await response.aclose()
    if isinstance(pieces, AsyncGenerator):
        await pieces.aclose()
    return found


def _reader(response: httpx.Response, *, is_stream: bool) -> Reader[PlainAnswer] | None:
    """Return a reader for a response; None if it cannot be plain."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code != 200 or kind != ("text/event-stream" if is_stream else "application/json"):
        return None
    return StreamReader() if is_stream else WholeReader(whole_answer)


def _as_if_unread(
    body: httpx.AsyncByteStream, kept: Sequence[bytes], rest: AsyncIterator[bytes], broken: Exception | None
) -> httpx.AsyncByteStream:
    """Return a body from its beginning, though a part of it was read; an error met then is raised again.

    Args:
        body: What the pieces come from.
        kept: The pieces that were read.
        rest: Yields those that are still to come.
        broken: The error; None where none was met.
    """
    import httpx

    class Again(httpx.AsyncByteStream):
        """What was read, and what is still to come."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in kept:
                yield piece
            if broken is not None:
                raise broken
            async for piece in rest:
                yield piece

        async def aclose(self) -> None:
            await body.aclose()

    return Again()


def _plain_reply(body: bytes) -> dict[str, Any] | None:
    """Return a chat completion, or an event of one; None where it is anything else, or says that something failed."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list) or reply.get("error"):
        return None
    return reply


def _is_changed(body: bytes) -> bool:
    try:
        return normalised(body) is not body
    except Exception:  # It says that the provider failed in the middle, which LiteLLM has to find.
        return True


def _plain_text(choice: Any, part: str) -> str | None:  # noqa: ANN401 - as above
    """Return the text in a choice, empty where there is none; None where there is anything else in it."""
    if not isinstance(choice, dict) or choice.get("index") not in (None, 0):
        return None
    if choice.get("logprobs") or choice.get("error"):
        return None
    said = choice.get(part)
    if not isinstance(said, dict) or any(said[name] for name in said.keys() - _SAID):
        return None
    text = said.get("content")
    return "" if text is None else text if isinstance(text, str) else None


def _chunk(event: dict[str, Any], text: str) -> SimpleNamespace:
    """Return what is read of an event once all have come, in LiteLLM's shape."""
    delta = SimpleNamespace(delta=SimpleNamespace(content=text))
    return SimpleNamespace(usage=usage_in(event), choices=[delta] if text else [], **_tier(event))


def _tier(reply: dict[str, Any]) -> dict[str, Any]:
    return {"service_tier": reply.get("service_tier")}
