"""The HTTP connections to models: bounded, and read through `replies`, whichever of LiteLLM's providers asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING, Any

from jisi_cli.models.direct_call import answer_at_hand
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.litellm_client import load_litellm
from jisi_cli.models.replies import as_stream, as_whole, normalised, normalised_line, received_now
from jisi_cli.models.unpacking import ENCODINGS, bound_body

if TYPE_CHECKING:
    import httpx

_STREAM = "text/event-stream"
_LONGEST_WAIT = 5.0
"""Seconds for the rest of a stream that failed."""
_UNLABELLED = ("", "text/plain", "text/html", "application/octet-stream")


@cache
def connected_litellm() -> Any:  # noqa: ANN401 - a module without types
    """Return LiteLLM with all connections that it opens from now on reading replies through this module."""
    litellm = load_litellm()
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    make = getattr(AsyncHTTPHandler, "create_async_transport", None)
    if make is not None:

        def filtered(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as LiteLLM's
            made = make(*arguments, **options)
            return None if made is None else _filtering(made)

        AsyncHTTPHandler.create_async_transport = staticmethod(filtered)
    return litellm


def lenient_client() -> httpx.AsyncClient:
    """Return an HTTP client for OpenAI's own client, which reads replies as LiteLLM's connections do."""
    import httpx

    return httpx.AsyncClient(transport=_fast_transport(), follow_redirects=True)


def _fast_transport() -> httpx.AsyncBaseTransport:
    """Return the transport LiteLLM itself uses (a third less time a call), or httpx's own without it."""
    import httpx

    connected_litellm()
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    make = getattr(AsyncHTTPHandler, "create_async_transport", None)
    made = make() if make is not None else None
    if isinstance(made, httpx.AsyncBaseTransport):
        return made
    return _filtering(httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None)))


def _filtering(transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
    """Make a transport read what it receives through `replies`; it stays of its kind, which LiteLLM asks for."""
    send = transport.handle_async_request

    async def handle_async_request(request: httpx.Request) -> httpx.Response:
        request.headers["accept-encoding"] = ENCODINGS
        response = await (answer_at_hand(request) or send(request))
        bound_body(response)
        return await _readable(request, response)

    transport.handle_async_request = handle_async_request  # type: ignore[method-assign]
    return transport


async def _readable(request: httpx.Request, response: httpx.Response) -> httpx.Response:
    """Return a response in the shape that LiteLLM reads."""
    import httpx

    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    received_now().begin(response.status_code)
    is_refused = response.status_code >= httpx.codes.BAD_REQUEST
    received_now().request = request if response.status_code == httpx.codes.OK else None
    wants_stream = not is_refused and await _asks_for_stream(request)
    if not isinstance(response.stream, httpx.AsyncByteStream):
        return response
    if kind == _STREAM and wants_stream:
        response.stream = _by_lines(response.stream)
        return response
    # Only what may be a chat completion under another name is read to see: anything else goes through as it comes.
    if kind not in ("application/json", _STREAM) and (is_refused or kind not in _UNLABELLED):
        return response
    if kind in _UNLABELLED and wants_stream:
        first, response.stream = await _peeked(response.stream)
        if not first.lstrip().startswith(b"{"):
            response.stream = _by_lines(response.stream)
            return response
    body = await response.aread()
    received_now().end(body)
    # The body is whole now, so the headers that described its coming are no longer true.
    headers = {name: value for name, value in response.headers.items() if name != "transfer-encoding"}
    if not is_refused:
        body = normalised(body)
        other = as_stream(body) if wants_stream else as_whole(body) if kind == _STREAM else None
        if other is not None:
            headers["content-type"], body = _STREAM if wants_stream else "application/json", other
    return httpx.Response(response.status_code, headers=headers, content=body)


async def _asks_for_stream(request: httpx.Request) -> bool:
    return b'"stream":true' in (await request.aread()).replace(b" ", b"")


async def _peeked(body: httpx.AsyncByteStream) -> tuple[bytes, httpx.AsyncByteStream]:
    """Return how a body begins, and the body from its beginning."""
    import httpx

    pieces = aiter(body)
    first = b""
    while not first.strip() and (piece := await anext(pieces, None)) is not None:
        first += piece

    class Whole(httpx.AsyncByteStream):
        """What was read already, and the rest."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield first
            async for piece in pieces:
                yield piece

        async def aclose(self) -> None:
            await body.aclose()

    return first, Whole()


def _by_lines(body: httpx.AsyncByteStream) -> httpx.AsyncByteStream:
    """Return a stream of events line by line, each in the shape that LiteLLM reads."""
    import httpx

    class Lines(httpx.AsyncByteStream):
        """Whole lines as they arrive."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            lines = _noted_lines(body)
            async for ended in lines:
                try:
                    piece = b"".join(normalised_line(line) + b"\n" for line in ended)
                except ProviderFailure:
                    # What it cost is told at the very end.
                    with contextlib.suppress(Exception):
                        async with asyncio.timeout(_LONGEST_WAIT):
                            async for _ in lines:
                                pass
                    raise
                yield piece

        async def aclose(self) -> None:
            await body.aclose()

    return Lines()


async def _noted_lines(body: httpx.AsyncByteStream) -> AsyncIterator[list[bytes]]:
    """Yield the whole lines of a body, as many as came at once, and note them."""
    received = received_now()
    begun: list[bytes] = []
    async for piece in body:
        *ended, rest = piece.split(b"\n")
        if ended:
            ended[0] = b"".join((*begun, ended[0]))
            begun = []
            for line in ended:
                received.note(line)
            yield ended
        begun.append(rest)
    last = b"".join(begun)
    received.note(last)
    received.end()
    if last:
        yield [last]
