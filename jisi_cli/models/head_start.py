"""Requests that leave without LiteLLM: importing it takes seconds, and each call by it ten milliseconds.

To a server that speaks OpenAI's protocol LiteLLM passes common parameters on as they are, so jisi can write such a
request itself, which leaves over a connection of its own. A plain answer is read as it arrives (`early_answer`), and
LiteLLM may not be needed at all. Any other is LiteLLM's: it makes the call as it always does, and its connection
(`transport`) hands it the answer to the request that has left instead of sending another. Whatever has to be
understood of an answer is therefore understood in the same way with and without a head start.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from jisi_cli.messages import is_plain
from jisi_cli.models.connections import Connections
from jisi_cli.models.early_answer import plain_answer
from jisi_cli.models.early_rules import Target, address_of
from jisi_cli.models.known_requests import KnownRequest
from jisi_cli.models.litellm_client import RefusedError, Rules, begin_loading, is_loaded
from jisi_cli.models.plain_reply import PlainAnswer
from jisi_cli.models.unpacking import ENCODINGS
from jisi_cli.types import Message, OnText

if TYPE_CHECKING:
    import httpx

_PATIENCE = 1.0
"""Seconds in which requests may leave before LiteLLM is imported all the same."""


class EarlyRequest:
    """A request that has left, and the answer to it, which is taken once.

    Args:
        request: What is sent.
        transport: Sends it.
    """

    def __init__(self, request: httpx.Request, transport: httpx.AsyncBaseTransport) -> None:
        self.left = asyncio.Event()
        self._began = asyncio.get_running_loop().time()
        self._request = request
        request.extensions["trace"] = self._trace
        self._sending: asyncio.Task[httpx.Response] | None = asyncio.create_task(
            transport.handle_async_request(request)
        )
        self._sending.add_done_callback(lambda _: self.left.set())

    def seconds_left(self, timeout: float) -> float:
        """Return how long may still be waited: an answer that has begun may be read as long as any other."""
        if self._sending is None or self._sending.done():
            return timeout
        return max(0.0, timeout - (asyncio.get_running_loop().time() - self._began))

    async def plain_answer(self, on_text: OnText | None) -> PlainAnswer | None:
        """Read the answer as it arrives; None where it is not plain, so that it is still to be asked for.

        Args:
            on_text: Receives its text piece by piece, also of an answer that turns out not to be plain; None where it
                was asked for whole.
        """
        if self._sending is None:
            return None
        await asyncio.wait([self._sending])
        if self._sending.cancelled() or self._sending.exception() is not None:
            return None
        answer = await plain_answer(self._sending.result(), on_text)
        if answer is not None:
            self._sending = None
        return answer

    def answer_to(self, request: httpx.Request) -> asyncio.Task[httpx.Response] | None:
        """Return what becomes of the request that has left, the first time that one like it is to be sent."""
        sending = self._sending
        if sending is None or (request.method, str(request.url)) != (self._request.method, str(self._request.url)):
            return None
        self._sending = None
        return sending

    async def close(self) -> None:
        """Give up what nobody has asked for."""
        sending, self._sending = self._sending, None
        if sending is None:
            return
        sending.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await (await sending).aclose()

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_body.complete"):
            self.left.set()


class Answering(Protocol):
    """What has the answer to a request that LiteLLM is about to send."""

    def answer_to(self, request: httpx.Request) -> Awaitable[httpx.Response] | None:
        """Return what becomes of a request; None where it is still to be sent."""
        ...


_early: ContextVar[Answering | None] = ContextVar("jisi_early_request", default=None)


def early_answer(request: httpx.Request) -> Awaitable[httpx.Response] | None:
    """Return what becomes of a request that has left already in this call; None where it is still to be sent."""
    early = _early.get()
    return None if early is None else early.answer_to(request)


@contextmanager
def answering(answers: Answering) -> Iterator[None]:
    """Have what LiteLLM sends in this context answered without a connection, as far as there is an answer."""
    token = _early.set(answers)
    try:
        yield
    finally:
        _early.reset(token)


class HeadStarts:
    """Sends requests without LiteLLM; for one event loop.

    Args:
        timeout: Seconds one call may take.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._connections = Connections()
        self._under_way: set[EarlyRequest] = set()
        self._loading: asyncio.Task[None] | None = None

    def begin(
        self,
        target: Target,
        messages: Sequence[Message],
        parameters: Mapping[str, Any],
        rules: Rules,
        known: KnownRequest | None = None,
    ) -> EarlyRequest | None:
        """Send the request of a call; its answer is handed over to whatever asks for it in this context.

        Args:
            target: Where it goes.
            messages: The conversation.
            parameters: The call's parameters.
            rules: What it may send.
            known: How it is written, where that is known from LiteLLM.

        Returns:
            The request; None where it cannot be written or may not be sent, which the call is then to find out.
        """
        import httpx

        answers = _early.get()
        if answers is not None and not isinstance(answers, EarlyRequest):
            return None  # nothing is to be sent in this context
        if not all(map(is_plain, messages)):
            return None  # LiteLLM may write others in its own way
        address = address_of(target.model, target.api_base) or ""
        url, name = f"{address.rstrip('/')}/chat/completions", target.model.removeprefix("openai/")
        headers = _headers(target.own_key)
        if known is not None:
            url, name, parameters = known.url, known.name, known.body
            headers = {**headers, **known.headers, "authorization": f"Bearer {os.environ[known.variable]}"}
        body = {"messages": list(messages), "model": name, **parameters}
        try:
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
            request = httpx.Request("POST", url, headers=headers, content=content)
            rules.check(request)
        except (ValueError, TypeError, httpx.InvalidURL, RefusedError):
            return None
        seconds = self._timeout + 1
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        early = EarlyRequest(request, self._connections.transport(is_secure=request.url.scheme == "https"))
        self._under_way.add(early)
        _early.set(early)
        return early

    async def all_left(self) -> None:
        """Wait until every request that was begun has left, so that what is imported then holds none of them up.

        One whose server does not even take a connection is not waited for: the others' answers may be there.
        """
        if is_loaded():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                for early in list(self._under_way):
                    await early.left.wait()

    def load_soon(self) -> None:
        """Have LiteLLM imported as soon as the requests have left, for what will need it."""
        if self._loading is None and not is_loaded():
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        await self.all_left()
        begin_loading()

    async def end(self, early: EarlyRequest) -> None:
        """Forget a request whose call has ended."""
        _early.set(None)
        self._under_way.discard(early)
        await early.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await self._connections.close()


def _headers(key: str) -> dict[str, str]:
    """Return what OpenAI's client says of itself, which some gateways look at."""
    return {
        "accept": "application/json",
        "accept-encoding": ENCODINGS,
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "user-agent": f"AsyncOpenAI/Python {_client_version()}",
    }


@cache
def _client_version() -> str:
    from importlib.metadata import version

    return version("openai")
