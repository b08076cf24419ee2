"""Who may ask, and how much: checked before a request reaches anything else."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from jisi_cli.serve.requests import RequestError
from jisi_cli.serve.responses import error_parts

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = frozenset({"/health"})
"""What needs no key: it says nothing but whether the server is ready."""


class Guard:
    """Lets a request through that may come through; an ASGI application around another.

    A page in a browser can send requests to this machine, too, and read the answers if a name of its own resolves to
    it. So a server on loopback answers to loopback's names alone, and bodies must say that they are JSON, which a
    browser sends to strangers only after asking, and is refused.

    Args:
        app: What it guards.
        key: The bearer token; None where none is wanted.
        host: The address that the server listens on.
        most_bytes: Bytes of a body at most.
    """

    def __init__(self, app: App, *, key: str | None, host: str, most_bytes: int) -> None:
        self._app, self._key, self._most_bytes = app, key, most_bytes
        self._local = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with an error, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check(scope["path"], found)
            counted = self._counted(receive, found)
        except RequestError as error:
            await _refuse(error, send)
            return
        await _until_cancelled(self._app, scope, counted, send)

    def _check(self, path: str, found: dict[str, str]) -> None:
        if self._local and not is_loopback(_name(found.get("host", ""))):
            raise RequestError("this server answers requests to localhost only", status=421, code="misdirected_request")
        if self._key is not None and path not in _OPEN:
            given = found.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode("latin-1"), self._key.encode()):
                raise RequestError("wrong or missing bearer token", status=401, code="invalid_api_key")
        has_body = found.get("content-length", "0") != "0" or "transfer-encoding" in found
        if has_body and found.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RequestError("send JSON as `Content-Type: application/json`", status=415, code="unsupported_media")
        if found.get("content-encoding", "identity").lower() != "identity":
            raise RequestError("send the body as it is, not compressed", status=415, code="unsupported_media")

    def _counted(self, receive: Receive, found: dict[str, str]) -> Receive:
        length = found.get("content-length", "")
        if length.isdigit() and int(length) > self._most_bytes:
            raise self._too_large()
        read = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> RequestError:
        words = f"the body is larger than {self._most_bytes} bytes"
        return RequestError(words, status=413, code="request_too_large")


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own, for itself alone."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Return the name in a `Host` header, without the port."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


async def _until_cancelled(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass on; a request is cancelled when the server, asked to end, has waited for it long enough."""
    has_begun = False

    async def noted(message: MutableMapping[str, Any]) -> None:
        nonlocal has_begun
        has_begun = True
        await send(message)

    try:
        await app(scope, receive, noted)
    except asyncio.CancelledError:
        if not has_begun:
            await _refuse(RequestError("the server is ending; ask again later", status=503, code="server_ending"), send)


async def _refuse(error: RequestError, send: Send) -> None:
    import json

    status, data = error_parts(error)
    body = json.dumps(data).encode()
    kinds = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    kinds += [(b"connection", b"close")] if status == 413 else []
    await send({"type": "http.response.start", "status": status, "headers": kinds})
    await send({"type": "http.response.body", "body": body})
