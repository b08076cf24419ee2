"""Calls made directly, without LiteLLM: importing it takes seconds, and each call through it ten milliseconds.

LiteLLM passes common parameters on as they are to a server that speaks OpenAI's protocol, so jisi can write such a
request itself and send it over a connection of its own. A plain answer is read as it arrives (`plain_reply`), a plain
refusal is named (`plain_refusal`), and LiteLLM may not be needed at all. Any other answer is left to LiteLLM: it makes
the call as it always does, and its connection (`transport`) hands it the answer to the request already sent instead of
sending another. What an answer means is therefore decided in the same way for direct calls and for all others.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from jisi_cli.config import ModelEntry
from jisi_cli.messages import is_plain
from jisi_cli.models.address import Target, address_of
from jisi_cli.models.connections import Connections
from jisi_cli.models.known_requests import KnownRequest, known_request
from jisi_cli.models.litellm_client import RefusedError, Rules, begin_loading, is_loaded, is_the_programs_own
from jisi_cli.models.plain_refusal import plain_refusal
from jisi_cli.models.plain_reply import PlainAnswer, plain_answer
from jisi_cli.models.unpacking import ENCODINGS
from jisi_cli.types import Message, OnText

if TYPE_CHECKING:
    import httpx

    from jisi_cli.models.failure import ProviderFailure
    from jisi_cli.models.redaction import Withheld

_PATIENCE = 1.0
"""Seconds to let requests leave; after that LiteLLM is imported even if some have not."""
_PASSED_ON = frozenset(
    {
        *("temperature", "top_p", "max_tokens", "seed", "stop", "frequency_penalty", "presence_penalty"),
        *("stream", "stream_options"),
    }
)
"""Parameters that LiteLLM sends to such a server as they are."""
_OF_ITS_OWN = re.compile(
    r"(?<![a-z0-9])o\d|gpt-(?:[5-9]|\d\d)|audio|search|research|codex|computer|realtime|responses|image|instruct",
    re.IGNORECASE,
)
"""Models whose parameters, or address, LiteLLM changes because of these words in their names."""
_PLAIN_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(?:/[\w.~%-]+)*/?", re.IGNORECASE)
"""Addresses to which OpenAI's client appends a path as is done here; with any other, a request would be sent twice."""
_DECIDES = re.compile(
    r"^(?:https?|all)_proxy$|^SSL_(?:VERIFY|CERTIFICATE|SECURITY_LEVEL|ECDH_CURVE)$|LITELLM_PROXY"
    r"|^OPENAI_(?:ORG|PROJECT|CUSTOM)",
    re.IGNORECASE,
)
"""Variables that change how LiteLLM connects, or what OpenAI's client sends with a request. Those that name other
certificates, such as `SSL_CERT_FILE`, are not among them: httpx reads those, too."""


def goes_directly(litellm_name: str, api_base: str | None, parameters: Mapping[str, Any]) -> bool:
    """Whether a call can be made without LiteLLM.

    Args:
        litellm_name: LiteLLM's name of the model; one that jisi serves itself has a server of this kind.
        api_base: The address that the pool file names; None for none.
        parameters: The call's parameters by LiteLLM's names, the pool file's own among them.
    """
    is_local = litellm_name.startswith("local:")
    address = address_of(litellm_name, api_base) or ""
    has_server = litellm_name.startswith("openai/") and _PLAIN_ADDRESS.fullmatch(address) is not None
    return (
        (is_local or has_server)
        and not is_the_programs_own()
        and _PASSED_ON.issuperset(parameters)
        and not _OF_ITS_OWN.search(litellm_name)
        and not _environment_decides()
    )


def known_direct_request(
    entry: ModelEntry, messages: Sequence[Message], asked: Mapping[str, Any]
) -> KnownRequest | None:
    """Return how LiteLLM writes a call's request, if that is known and the call may be made without LiteLLM."""
    if is_the_programs_own() or _environment_decides() or not all(map(is_plain, messages)):
        return None
    return known_request(entry, messages, asked)


def _environment_decides() -> bool:
    """Whether the environment changes how LiteLLM connects, so that LiteLLM has to make the call."""
    return any(value and _DECIDES.search(name) for name, value in os.environ.items())


class DirectRequest:
    """A request sent without LiteLLM, and the answer to it, which is taken once.

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
        """Return how many of `timeout` seconds are left; all of them once the answer has begun."""
        if self._sending is None or self._sending.done():
            return timeout
        return max(0.0, timeout - (asyncio.get_running_loop().time() - self._began))

    async def plain_answer(self, on_text: OnText | None) -> PlainAnswer | None:
        """Read the answer as it arrives; None if it is not plain, which leaves it to LiteLLM.

        Args:
            on_text: Receives its text piece by piece, even of an answer that turns out not to be plain; None if it
                was asked for whole.
        """
        response = await self._arrived()
        answer = None if response is None else await plain_answer(response, on_text)
        if answer is not None:
            self._sending = None
        return answer

    async def plain_refusal(self, withheld: Withheld) -> ProviderFailure | None:
        """Read why the request was refused; None if that is not plain, which leaves it to LiteLLM.

        Args:
            withheld: What of the request no message may repeat.
        """
        response = await self._arrived()
        failure = None if response is None else await plain_refusal(response, withheld)
        if failure is not None:
            self._sending = None
        return failure

    async def _arrived(self) -> httpx.Response | None:
        """Wait for the answer; None where none comes, or where it was taken."""
        if self._sending is None:
            return None
        await asyncio.wait([self._sending])
        if self._sending.cancelled() or self._sending.exception() is not None:
            return None
        return self._sending.result()

    def answer_to(self, request: httpx.Request) -> asyncio.Task[httpx.Response] | None:
        """Return the answer to come if this is the same request; it is given once, and None after that."""
        sending = self._sending
        if sending is None or (request.method, str(request.url)) != (self._request.method, str(self._request.url)):
            return None
        self._sending = None
        return sending

    async def close(self) -> None:
        """Cancel the request, unless its answer has been taken."""
        sending, self._sending = self._sending, None
        if sending is None:
            return
        sending.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await (await sending).aclose()

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_body.complete"):
            self.left.set()


class AnswerSource(Protocol):
    """Has answers to requests that LiteLLM is about to send."""

    def answer_to(self, request: httpx.Request) -> Awaitable[httpx.Response] | None:
        """Return the answer to come to a request; None if the request has to be sent."""
        ...


_at_hand: ContextVar[AnswerSource | None] = ContextVar("jisi_answer_at_hand", default=None)


def answer_at_hand(request: httpx.Request) -> Awaitable[httpx.Response] | None:
    """Return the answer to a request that this context has already; None if the request has to be sent."""
    direct = _at_hand.get()
    return None if direct is None else direct.answer_to(request)


@contextmanager
def answering(answers: AnswerSource) -> Iterator[None]:
    """Answer what LiteLLM sends in this context without a connection, where there is an answer."""
    token = _at_hand.set(answers)
    try:
        yield
    finally:
        _at_hand.reset(token)


class DirectCalls:
    """Makes calls without LiteLLM; for one event loop.

    Args:
        timeout: Seconds one call may take.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._connections = Connections()
        self._under_way: set[DirectRequest] = set()
        self._loading: asyncio.Task[None] | None = None

    def begin(
        self,
        target: Target,
        messages: Sequence[Message],
        parameters: Mapping[str, Any],
        rules: Rules,
        known: KnownRequest | None = None,
    ) -> DirectRequest | None:
        """Send a call's request; LiteLLM gets its answer if it sends the same request in this context.

        Args:
            target: Where it goes.
            messages: The conversation.
            parameters: The call's parameters.
            rules: What it may send.
            known: How LiteLLM writes it, if that is known.

        Returns:
            The request; None if it cannot be written or may not be sent: LiteLLM then makes the call, and says why.
        """
        import httpx

        answers = _at_hand.get()
        if answers is not None and not isinstance(answers, DirectRequest):
            return None  # nothing may be sent in this context
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
        direct = DirectRequest(request, self._connections.transport(is_secure=request.url.scheme == "https"))
        self._under_way.add(direct)
        _at_hand.set(direct)
        return direct

    async def all_left(self) -> None:
        """Wait until every request has left, so that importing LiteLLM holds none of them up.

        The wait ends after a second, even if a server has not accepted its connection by then.
        """
        if is_loaded():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                for direct in list(self._under_way):
                    await direct.left.wait()

    def load_soon(self) -> None:
        """Import LiteLLM as soon as the requests have left, for a call that will need it."""
        if self._loading is None and not is_loaded():
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        await self.all_left()
        begin_loading()

    async def end(self, direct: DirectRequest) -> None:
        """Close a request whose call has ended."""
        _at_hand.set(None)
        self._under_way.discard(direct)
        await direct.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await self._connections.close()


def _headers(key: str) -> dict[str, str]:
    """Return the headers of OpenAI's client, which some gateways look at."""
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
