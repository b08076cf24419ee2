"""The connections of requests that leave without LiteLLM: quick to open for a few, quick to use for many.

httpx is soon imported, and takes several milliseconds of processor time for each request beside others; aiohttp, which
LiteLLM sends through, takes less than one, and a third of a second to import. So the first requests leave over httpx,
and those that follow over aiohttp, whose answers are given as httpx's, too.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

from jisi_cli.large_imports import import_aside, uncollected
from jisi_cli.models.litellm_client import is_loaded

if TYPE_CHECKING:
    import ssl

    import httpx

_FEW = 40
"""Requests over httpx that take about as long as importing aiohttp."""


class Connections:
    """Connections to servers, which are kept for the next request; for one event loop."""

    def __init__(self) -> None:
        self._sent = 0
        self._open: dict[tuple[bool, bool], httpx.AsyncBaseTransport] = {}

    def transport(self, *, is_secure: bool) -> httpx.AsyncBaseTransport:
        """Return what sends the next request.

        Args:
            is_secure: Whether it goes to an address that begins with https.
        """
        self._sent += 1
        is_quick = is_loaded() or (self._sent > _FEW and _begin_import().is_set())
        kind = is_secure, is_quick
        if kind not in self._open:
            self._open[kind] = _quick(_trust(is_secure)) if is_quick else _usual(_trust(is_secure))
        return self._open[kind]

    async def close(self) -> None:
        """Close the connections."""
        for transport in self._open.values():
            await transport.aclose()
        self._open.clear()


@cache
def _begin_import() -> threading.Event:
    """Begin to import aiohttp in a thread of its own; return what is set when it is there."""
    there = threading.Event()

    def load() -> None:
        with uncollected():
            import aiohttp  # noqa: F401
        there.set()

    import_aside(load)
    return there


def _usual(trust: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    import httpx

    return httpx.AsyncHTTPTransport(verify=trust, limits=httpx.Limits(max_connections=None))


def _quick(trust: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    from jisi_cli.models.aiohttp_transport import AiohttpTransport

    return AiohttpTransport(trust)


@cache
def _trust(is_secure: bool) -> ssl.SSLContext:
    """Return the certificate authorities to trust."""
    if is_secure:
        import httpx

        return httpx.create_ssl_context()
    import ssl

    # Reading the certificates of all authorities takes longer than a request without them.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
