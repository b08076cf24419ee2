"""The HTTP connection to OpenAI-compatible servers that a pool names by address.

Servers people run themselves report odd usage numbers (fractions, words). LiteLLM refuses an answer over
that; an answer that was paid for is worth more than its count, so such numbers are taken out here, and the
tokens are counted later.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jisi_cli.llm.litellm_setup import load_litellm
from jisi_cli.llm.unpacking import ENCODINGS, bound_body

if TYPE_CHECKING:
    import httpx

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def lenient_client() -> httpx.AsyncClient:
    """Return an HTTP client that drops usage numbers which are not whole numbers from JSON answers."""
    import httpx

    class UsageFilter(httpx.AsyncBaseTransport):
        """Passes everything through but the usage of whole (not streamed) JSON answers."""

        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.headers["accept-encoding"] = ENCODINGS
            response = await self.inner.handle_async_request(request)
            bound_body(response)
            if not response.headers.get("content-type", "").startswith("application/json"):
                return response
            body = await response.aread()
            # The body is whole now, so the header that described its coming is no longer true.
            headers = {name: value for name, value in response.headers.items() if name != "transfer-encoding"}
            return httpx.Response(response.status_code, headers=headers, content=without_odd_usage(body))

        async def aclose(self) -> None:
            await self.inner.aclose()

    return httpx.AsyncClient(transport=UsageFilter(_fast_transport()), follow_redirects=True)


def without_odd_usage(body: bytes) -> bytes:
    """Return a JSON answer without its `usage`, or the details of it, that count in anything but whole numbers."""
    if b'"usage"' not in body:
        return body
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return body
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if usage is None:
        return body
    kept = {name: part for name, part in usage.items() if not _is_odd_detail(part)} if _is_whole(usage) else None
    if kept == usage:
        return body
    return json.dumps({**answer, "usage": kept}).encode()


def _is_whole(usage: Any) -> bool:  # noqa: ANN401 - whatever a server sent
    if not isinstance(usage, dict):
        return False
    return all(type(usage.get(name, 0)) is int for name in _COUNTS)


def _is_odd_detail(part: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a part of a usage counts tokens (reasoning, cached, ...) and not in whole numbers."""
    return isinstance(part, dict) and any(
        name.endswith("_tokens") and count is not None and type(count) is not int for name, count in part.items()
    )


def _fast_transport() -> httpx.AsyncBaseTransport:
    """Return the transport LiteLLM itself uses (a third less time a call), or httpx's own without it."""
    import httpx

    load_litellm()
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    make = getattr(AsyncHTTPHandler, "create_async_transport", None)
    made = make() if make is not None else None
    if isinstance(made, httpx.AsyncBaseTransport):
        return made
    return httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))
