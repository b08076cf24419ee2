"""What a batch sends for a call, and what comes back for it: as the live path would write the one and read the other.

Both are the live path. To write a request, LiteLLM makes the call and is handed an empty answer in place of a
connection, so that what it would have sent is known, where it goes and with which key, and nothing leaves. To read a
result, LiteLLM makes the call again and is handed the result. A parameter that a model refuses is therefore left out
or renamed by the same rules as in a live call, the next time that its requests are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from jisi_cli.addresses import Address
from jisi_cli.config import ModelEntry
from jisi_cli.messages import is_plain
from jisi_cli.models.address import is_openai_host
from jisi_cli.models.batch.terms import BatchProtocol, protocol_of, refusal
from jisi_cli.models.call import Call
from jisi_cli.models.completion import Completion, End, completed
from jisi_cli.models.direct_call import answering, goes_directly
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.litellm_client import litellm_loaded
from jisi_cli.models.plain_reply import whole_answer
from jisi_cli.models.provider import Provider
from jisi_cli.models.reasoning import answer_in
from jisi_cli.models.usage import usage_of
from jisi_cli.types import whole_characters

if TYPE_CHECKING:
    import httpx

_PATHS = {
    "openai": re.compile(r"(?P<address>.+)/chat/completions"),
    "azure": re.compile(r"(?P<address>.+?)(?:/deployments/[^/]+)?/chat/completions"),
    "anthropic": re.compile(r"(?P<address>.+)/v1/messages"),
    "gemini": re.compile(r"(?P<address>.+/v\d\w*)/models/(?P<model>[^/:]+):generateContent"),
    "bedrock": re.compile(r"(?P<address>.+)/model/(?P<model>[^/]+)/(?P<operation>converse|invoke)"),
    "vertex_ai": re.compile(
        r"(?P<address>.+/(?P<key>projects/[^/]+/locations/[^/]+))/"
        r"(?P<model>publishers/(?:google|anthropic)/models/[^/:]+):(?:generateContent|rawPredict)"
    ),
}
"""Where a live call goes, by the protocol that is spoken there; its batch endpoints are beside it."""
_GOOD = 200
_EMPTY = {
    "id": "none",
    "object": "chat.completion",
    "created": 0,
    "model": "none",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "none"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
_EMPTY_MESSAGE = {
    "id": "none",
    "type": "message",
    "role": "assistant",
    "model": "none",
    "content": [{"type": "text", "text": "none"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
_EMPTY_CANDIDATES = {
    "candidates": [{"content": {"parts": [{"text": "none"}], "role": "model"}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
}
_EMPTY_CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "none"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
}
_NOTHING: Mapping[BatchProtocol, Mapping[str, Any]] = {
    "openai": _EMPTY,
    "azure": _EMPTY,
    "anthropic": _EMPTY_MESSAGE,
    "gemini": _EMPTY_CANDIDATES,
    "bedrock": _EMPTY_CONVERSE,
    "vertex_ai": _EMPTY_CANDIDATES,
}
"""What LiteLLM is handed in place of an answer."""
_SIGNED_FOR = re.compile(r"Credential=[^/,\s]+/\d{8}/(?P<region>[a-z0-9-]{1,32})/bedrock/")
_AWS_HOST = re.compile(r"(?:.+\.)?bedrock-runtime(?:-fips)?\.(?P<region>[a-z0-9-]{1,32})\..+")
_KEY_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
_MORE_HEADERS = ("anthropic-version", "anthropic-beta")
_ACCOUNT_HEADERS = ("openai-organization", "openai-project")
"""What else the user's environment says of OpenAI alone."""


class UnmadeCallFailure(ProviderFailure):
    """LiteLLM did not get as far as to make a call: what is missing is on this side, such as credentials.

    It has no status: whoever was asked for credentials does not know of batches.
    """

    def __init__(self, failure: ProviderFailure) -> None:
        super().__init__(failure.reason, retryable=failure.retryable, most_retries=1, key_refused=failure.key_refused)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the calls of a model go, and what goes with them.

    Attributes:
        address: The server's address, without the path of an endpoint.
        key: The key; where calls are signed, or a token stands for it that changes, whose account that is.
        headers: What a call says there: the key, and what else the user's own files or environment send.
        protocol: Which batch endpoints are there.
        query: What stands behind the path of an address.
        model: The model, where the address of a call names it and its body does not.
        operation: What is asked of it there, likewise.
        region: Where the provider works on it; empty where that is not asked.
        store: The folder of a bucket through which batches go; None where none is needed.
        role: As whom the provider reads and writes there.
        renewed: Returns the headers with a token that a call would have now; None where none changes.
    """

    address: str
    key: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    protocol: BatchProtocol = "openai"
    query: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    operation: str = ""
    region: str = ""
    store: Address | None = None
    role: str = ""
    renewed: Callable[[], Awaitable[Mapping[str, str]]] | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        return hash((self.address, self.key))


@dataclass(frozen=True, slots=True)
class Sent:
    """What the live path would send for a call.

    Attributes:
        place: Where.
        body: The request, as JSON.
    """

    place: Place
    body: dict[str, Any]


class Rows:
    """Writes requests and reads results, without a connection.

    Args:
        provider: The live path.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._known: dict[str, Sent] = {}

    async def sent(self, call: Call) -> Sent:
        """Return what the live path would send for a call.

        Raises:
            ProviderFailure: It would send nothing, or elsewhere than to where chat completions are.
        """
        key = _alike(call)
        known = None if key is None else self._known.get(key)
        if known is not None:
            return replace(known, body={**known.body, "messages": list(call.messages)})
        found = await self._captured(call)
        if key is not None and found.body.get("messages") == list(call.messages):
            self._known[key] = found
        return found

    async def read(self, call: Call, status: int, body: bytes) -> Completion:
        """Return what a result says.

        Args:
            call: The call that it answers.
            status: Its HTTP status.
            body: Its body.

        Raises:
            ProviderFailure: It is no answer.
            UnmadeCallFailure: LiteLLM does not get as far as to read it.
        """
        plain = await _plain(call, status, body)
        if plain is not None:
            return plain
        handed = _Handed(status, body)
        try:
            completion = await self._complete(call, handed)
        except ProviderFailure as failure:
            if not handed.requests:
                raise UnmadeCallFailure(failure) from failure
            if len(handed.requests) > 1:
                # It was going to ask again, without what was refused; so that is what is to be done.
                self._known.clear()
            elif not _asks_less(call, handed, failure):
                raise
            raise ProviderFailure(f"{failure.reason}; asking without it", retryable=True) from failure
        # Some models call tools that they were never told of; it is no answer.
        return completion if call.request.wanted.tools else replace(completion, tool_calls=())

    async def close(self) -> None:
        """Close what the live path has open."""
        await self._provider.close()

    async def _captured(self, call: Call) -> Sent:
        await litellm_loaded()
        entry, why = call.entry, refusal(call.entry)
        if why is not None:
            raise ProviderFailure(f"`{entry.litellm}` cannot be asked by batch: {why}")
        protocol = protocol_of(entry)
        request = await self._request_of(call, protocol)
        place = _place(protocol, request, entry)
        if protocol == "vertex_ai":

            async def renewed() -> Mapping[str, str]:
                return _token_in(await self._request_of(call, protocol))

            place = replace(place, store=entry.batch_store, renewed=renewed)
        return Sent(place, json.loads(request.content))

    async def _request_of(self, call: Call, protocol: BatchProtocol) -> httpx.Request:
        nothing = _NOTHING[protocol]
        if protocol == "vertex_ai" and "claude" in call.entry.litellm:
            nothing = _EMPTY_MESSAGE
        handed = _Handed(_GOOD, json.dumps(nothing).encode())
        try:
            await self._complete(call, handed)
        except ProviderFailure as failure:
            # Families of models answer in their own ways; what was asked is known all the same.
            if not handed.requests:
                raise UnmadeCallFailure(failure) from failure
        return handed.requests[0]

    async def _complete(self, call: Call, handed: _Handed) -> Completion:
        await litellm_loaded()  # before which a request might leave
        with answering(handed):
            found = await self._provider.complete(call.entry, call.messages, call.parameters)
        if not handed.requests:
            raise AssertionError("LiteLLM made a call past its connections")
        return found


class _Handed:
    """Answers the first request of a call, and notes all of them; none is sent."""

    def __init__(self, status: int, body: bytes) -> None:
        self.requests: list[httpx.Request] = []
        self._status, self._body = status, body

    async def answer_to(self, request: httpx.Request) -> httpx.Response:
        import httpx

        await request.aread()
        self.requests.append(request)
        if len(self.requests) > 1:
            raise ProviderFailure("it refuses a parameter")
        headers = {"content-type": "application/json"}
        return httpx.Response(self._status, headers=headers, content=self._body, request=request)


async def _plain(call: Call, status: int, body: bytes) -> Completion | None:
    """Read a result without LiteLLM, in a fifth of the time, where a live call would be; None where it is LiteLLM's."""
    if status != _GOOD or not goes_directly(call.entry.litellm, call.entry.api_base, call.parameters):
        return None
    found = whole_answer(body)
    if found is None or found.usage is None:
        return None
    text = whole_characters(found.text)
    usage = await usage_of(call.entry, call.messages, text, "", found.usage, is_final=found.is_final)
    return completed(answer_in(text), usage, End(found.usage, found.finish_reason, service_tier=found.service_tier))


def _asks_less(call: Call, handed: _Handed, failure: ProviderFailure) -> bool:
    """Whether what a model refuses has been left out since: a result before this one refused it, too."""
    refused = failure.refused & call.parameters.keys()
    return bool(handed.requests) and bool(refused - json.loads(handed.requests[0].content).keys())


def _alike(call: Call) -> str | None:
    """Return what calls have in common whose requests differ in their messages alone; None where that is not sure."""
    if not all(map(is_plain, call.messages)):
        return None
    roles = [message["role"] for message in call.messages]
    return json.dumps([call.entry.name, roles, dict(call.parameters)], sort_keys=True, default=str)


def _place(protocol: BatchProtocol, request: httpx.Request, entry: ModelEntry) -> Place:
    """Return where a live call goes.

    Raises:
        ProviderFailure: That is elsewhere than to where the batch endpoints are beside it.
    """
    found = _PATHS[protocol].fullmatch(str(request.url.copy_with(query=None)))
    if found is None:
        raise ProviderFailure(f"it is asked at {request.url.path}, which is not asked by batch")
    if protocol == "bedrock":
        return _bedrock_place(found, request, entry)
    if protocol == "vertex_ai":
        _token_in(request)
        query, model = dict(request.url.params), unquote(found["model"])
        return Place(found["address"], found["key"], _own_headers(entry), protocol, query, model)
    kept = (*_KEY_HEADERS, *_MORE_HEADERS, *(_ACCOUNT_HEADERS if is_openai_host(request.url.host) else ()))
    headers = {name: request.headers[name] for name in kept if name in request.headers}
    query = dict(request.url.params)
    if protocol == "gemini" and "key" in query:
        # Older releases of LiteLLM send the key in the address, which clients repeat in their errors.
        headers["x-goog-api-key"] = query.pop("key")
    credential = next((headers[name] for name in _KEY_HEADERS if name in headers), "")
    return Place(
        found["address"],
        credential.removeprefix("Bearer "),
        headers | _own_headers(entry),
        protocol,
        query,
        found.groupdict().get("model", ""),
    )


def _bedrock_place(found: re.Match[str], request: httpx.Request, entry: ModelEntry) -> Place:
    """Return where a live call to Bedrock goes, without its signature.

    Raises:
        ProviderFailure: Its region is not to be known.
    """
    signed = _SIGNED_FOR.search(request.headers.get("authorization", ""))
    signed = signed or _AWS_HOST.fullmatch(request.url.host)
    if signed is None:
        raise ProviderFailure("its region is not known; set `aws_region_name` in its `params`, or AWS_REGION")
    role = entry.batch_role or ""
    return Place(
        address=found["address"],
        # AWS has a job created by the account of its role alone, and temporary keys change while it is at work.
        key=f"{role.split(':')[4]}/{signed['region']}",
        headers={},
        protocol="bedrock",
        model=unquote(found["model"]),
        operation=found["operation"],
        region=signed["region"],
        store=entry.batch_store,
        role=role,
    )


def _token_in(request: httpx.Request) -> Mapping[str, str]:
    """Return the header with the token of a live call.

    Raises:
        ProviderFailure: It has none.
    """
    if "authorization" not in request.headers:
        raise ProviderFailure("a call there has no token, without which nothing is written to the bucket")
    return {"authorization": request.headers["authorization"]}


def _own_headers(entry: ModelEntry) -> dict[str, str]:
    tables = (entry.params.get(name) for name in ("extra_headers", "headers"))
    return {str(name): str(value) for table in tables if isinstance(table, Mapping) for name, value in table.items()}
