"""The answer to a request that has left early: read at once where it is plain, else put back for LiteLLM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from jisi_cli.models.plain_reply import PlainAnswer, Reader, StreamReader, WholeReader
from jisi_cli.models.unpacking import bound_body
from jisi_cli.types import OnText

if TYPE_CHECKING:
    import httpx

_MOST_KEPT = 8 * 2**20
"""Bytes that are kept to be read once more; a longer answer is LiteLLM's."""
_FAREWELL = 0.05
"""Seconds in which a stream that has said its last may end, so that its connection can be used again."""


async def plain_answer(response: httpx.Response, on_text: OnText | None) -> PlainAnswer | None:
    """Read an answer if it is plain; None where it is not, and the response is then as if nobody had read it.

    Args:
        response: What came, its body unread.
        on_text: Receives the text as it arrives; None where the answer was asked for whole.
    """
    import httpx

    reader = _reader(response, is_stream=on_text is not None)
    if reader is None or not isinstance(response.stream, httpx.AsyncByteStream):
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
            if reader.is_odd or reader.has_ended or length > _MOST_KEPT:
                break
    except httpx.HTTPError as error:
        broken = error
    answer = None if broken is not None or reader.is_odd or length > _MOST_KEPT else reader.finish()
    if answer is None:
        response.stream = _again(response.stream, kept, pieces, broken)
        return None
    with suppress(TimeoutError, StopAsyncIteration, httpx.HTTPError):
        async with asyncio.timeout(_FAREWELL):
            await anext(pieces)
    await response.aclose()
    if isinstance(pieces, AsyncGenerator):
        await pieces.aclose()
    return answer


def _reader(response: httpx.Response, *, is_stream: bool) -> Reader | None:
    """Return what may be able to read a response; None where nothing is."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code != 200 or kind != ("text/event-stream" if is_stream else "application/json"):
        return None
    return StreamReader() if is_stream else WholeReader()


def _again(
    body: httpx.AsyncByteStream, kept: Sequence[bytes], rest: AsyncIterator[bytes], broken: Exception | None
) -> httpx.AsyncByteStream:
    """Return a body from its beginning, though a part of it was read, and what went wrong then."""
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
