"""One call to one model through LiteLLM: what came back, or why nothing did."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from jisi_cli.answer_format import in_words
from jisi_cli.config import ModelEntry, unusable_name
from jisi_cli.errors import JisiError
from jisi_cli.messages import ToolCall, with_system
from jisi_cli.models.address import NO_KEY, key_for
from jisi_cli.models.called_tools import CalledTools, words_in
from jisi_cli.models.completion import Completion
from jisi_cli.models.early_rules import Target, has_head_start, known_head_start
from jisi_cli.models.failure import ProviderFailure, failure_from, failure_in, one_line
from jisi_cli.models.head_start import EarlyRequest, HeadStarts
from jisi_cli.models.keys import missing_key
from jisi_cli.models.known_requests import KnownRequest, keep_request
from jisi_cli.models.litellm_client import Rules, keeping, litellm_loaded, own_headers
from jisi_cli.models.parameters import STREAM, STREAM_OPTIONS, Accepted, names_refused, remedy
from jisi_cli.models.passing_on import PassingOn
from jisi_cli.models.pricing import prices_without_litellm
from jisi_cli.models.reasoning import AnswerStream, answer_in
from jisi_cli.models.redaction import Withheld, withheld_from
from jisi_cli.models.replies import Received, received_now, receiving
from jisi_cli.models.usage import (
    Usage,
    perplexity_of,
    reasoning_in,
    reported_tier,
    streamed_usage,
    usage_of,
    usage_without_answer,
)
from jisi_cli.types import Message, OnText, whole_characters

if TYPE_CHECKING:
    import httpx
    import openai

_LOCAL = "local:"

_PLAIN_REASON = re.compile(r"[a-z_]{1,24}")

LONGEST_ANSWER = 64 * 2**20
"""Characters; what goes on beyond them is no answer."""
_MOST_PIECES = 2**18
"""Pieces of a stream, about a token each: LiteLLM keeps every one until the end."""


_STREAMED: dict[str, Any] = {STREAM: True, STREAM_OPTIONS: {"include_usage": True}}

OnAdapted = Callable[[str, bool], None]
"""Told what is done about a refused parameter, and whether the pool file sets it."""


class Endpoint(Protocol):
    """Where a local model listens."""

    @property
    def api_base(self) -> str:
        """Its address."""
        ...

    @property
    def api_key(self) -> str:
        """The key it asks for."""
        ...


class LocalServers(Protocol):
    """Models that jisi serves itself; started on first use."""

    async def endpoint(self, weights: str) -> Endpoint:
        """Return where a model listens, starting it if need be."""
        ...

    async def close(self) -> None:
        """End the servers."""
        ...


class Provider:
    """Calls models through LiteLLM, once per call: repeating is left to the pool.

    Args:
        timeout: Seconds one call may take, from the request to the end of the response.
        local_models: Serves the entries whose LiteLLM name begins with `local:`.
    """

    def __init__(self, timeout: float, local_models: LocalServers | None = None) -> None:
        self._timeout = timeout
        self._local_models = local_models
        self._http: httpx.AsyncClient | None = None
        self._clients: dict[tuple[str, str], openai.AsyncOpenAI] = {}
        self._head_starts = HeadStarts(timeout)
        self._accepted: dict[str, Accepted] = {}

    async def prepare(
        self, entry: ModelEntry, messages: Sequence[Message], parameters: Mapping[str, Any], on_text: OnText | None
    ) -> None:
        """Import LiteLLM, unless the request of a call can leave before, and start a local model."""
        if entry.litellm.startswith(_LOCAL) and self._local_models is not None:
            with suppress(JisiError):  # which the call itself will meet
                await self._local_models.endpoint(entry.litellm.removeprefix(_LOCAL))
        asked = _asked(parameters, on_text)
        if not has_head_start(entry.litellm, entry.api_base, asked) and not known_head_start(entry, messages, asked):
            await litellm_loaded()

    async def complete(
        self,
        entry: ModelEntry,
        messages: Sequence[Message],
        parameters: Mapping[str, Any],
        on_text: OnText | None = None,
        on_adapted: OnAdapted | None = None,
    ) -> Completion:
        """Call a model, once more for each parameter of jisi's own choice that it refuses.

        Args:
            entry: The model's pool entry.
            messages: The conversation as the model gets it.
            parameters: Sampling parameters by LiteLLM's names.
            on_text: Receives the response piece by piece; None asks for it whole.
            on_adapted: Told what is done about a refusal, and whether it concerns a parameter of the pool file.

        Raises:
            ProviderFailure: No response came, or only a part of one.
        """
        asked = _asked(parameters, on_text)
        accepted = self._accepted.setdefault(entry.name, Accepted())
        known = known_head_start(entry, messages, asked) if accepted == Accepted() else None
        # What of the user's own was left out is to be told each time, so that this is no way of asking to keep.
        kept_as: Mapping[str, Any] | None = asked
        while True:
            sent = accepted.sent(entry, asked) if known is None else known.given
            form = asked.get("response_format") if "response_format" not in sent else None
            said = messages if form is None else with_system(messages, in_words(form))
            try:
                return await self._once(entry, said, sent, on_text, known, kept_as)
            except ProviderFailure as failure:
                known = None
                change = accepted.adapt(entry, sent, failure.refused)
                if (
                    change is None
                    and isinstance(failure, _UnsentFailure)
                    and accepted.leave_to_litellm(failure.refused)
                ):
                    change = f"{failure.reason}; asking without"
                if change is None:
                    failure.reason += remedy(entry, failure.refused)
                    raise
                is_the_users = accepted.by_litellm and bool(failure.refused & set(entry.params))
                kept_as = None if is_the_users else kept_as
                if on_adapted is not None:
                    on_adapted(change, is_the_users)
                if failure.billable:
                    # Another attempt is for the pool to make, which books this one.
                    raise

    async def _once(
        self,
        entry: ModelEntry,
        messages: Sequence[Message],
        parameters: Mapping[str, Any],
        on_text: OnText | None,
        known: KnownRequest | None,
        kept_as: Mapping[str, Any] | None,
    ) -> Completion:
        missing = missing_key(entry) if known is None else None
        if missing is not None:
            raise ProviderFailure(f"no key for {entry.litellm}: set {missing} in the environment", key_refused=True)
        target, key = await self._target(entry)
        answer = AnswerStream()
        rules = Rules(key, entry.api_key_env, own_headers(entry.params))
        try:
            with keeping(rules), receiving() as received:
                take = None if on_text is None or STREAM not in parameters else PassingOn(on_text, answer)
                async with self._under_way(entry, target, messages, parameters, rules, known) as early:
                    found = None if early is None else await self._plain(early, take)
                    text, end = found or await self._by_litellm(early, target, messages, parameters, take)
                rest = (answer.feed(text) if take is None else "") + answer.finish()
        except ProviderFailure as failure:
            failure.spent = _spent(received)
            raise _explained(failure, entry, rules) from failure
        except TimeoutError as error:
            # One of ours: LiteLLM's timeouts arrive as failures.
            reason = f"no answer within {self._timeout:g} s"
            raise ProviderFailure(reason, retryable=True, billable=True) from error
        if kept_as is not None and received.request is not None and early is None:
            keep_request(entry, messages, kept_as, parameters, received.request)
        if on_text is not None and rest:
            on_text(rest)
        text = whole_characters(text)
        # All of the response was paid for, its thinking too.
        written = text + words_in(end.tool_calls)
        if end.usage is None:
            await litellm_loaded()  # which counts
        usage = await usage_of(entry, messages, written, end.reasoning, end.usage, is_final=end.is_final)
        return _completion(answer_in(text), usage, end)

    async def close(self) -> None:
        """Close the connections this object opened."""
        await self._head_starts.close()
        if self._http is not None:
            await self._http.aclose()
            self._http = None
            self._clients.clear()

    async def _target(self, entry: ModelEntry) -> tuple[Target, str | None]:
        """Return where a call goes, and the one key that goes there, if only one may."""
        model, api_base = entry.litellm, entry.api_base
        problem = None if model.startswith(_LOCAL) else unusable_name(model)
        if problem is not None:
            raise ProviderFailure(f"the model's name {problem}")
        if not model.startswith(_LOCAL):
            key = key_for(model, api_base, entry.api_key_env)
            return Target(model, api_base, key), key
        if self._local_models is None:
            raise ProviderFailure(f"{entry.name} is a local model, and nothing serves local models here")
        try:
            endpoint = await self._local_models.endpoint(model.removeprefix(_LOCAL))
        except JisiError as error:
            raise ProviderFailure(str(error)) from error
        return Target(f"openai/{entry.name}", endpoint.api_base, endpoint.api_key), endpoint.api_key

    @asynccontextmanager
    async def _under_way(
        self,
        entry: ModelEntry,
        target: Target,
        messages: Sequence[Message],
        parameters: Mapping[str, Any],
        rules: Rules,
        known: KnownRequest | None,
    ) -> AsyncIterator[EarlyRequest | None]:
        """Have the request of a call under way where it can be before LiteLLM is there; yield it."""
        early = None
        if known is not None or has_head_start(target.model, target.api_base, parameters):
            early = self._head_starts.begin(target, messages, parameters, rules, known)
        if early is None:
            yield None
            return
        try:
            if not prices_without_litellm(entry):
                self._head_starts.load_soon()
            yield early
        finally:
            await self._head_starts.end(early)

    async def _plain(self, early: EarlyRequest, take: PassingOn | None) -> tuple[str, _End] | None:
        """Read the answer to a request that has left, without LiteLLM; None where it is for LiteLLM to read."""
        async with asyncio.timeout(self._timeout):
            found = await early.plain_answer(take)
        if found is None:
            return None
        end = _End(found.usage, found.finish_reason, is_final=found.is_final, service_tier=found.service_tier)
        return found.text, end

    async def _by_litellm(
        self,
        early: EarlyRequest | None,
        target: Target,
        messages: Sequence[Message],
        parameters: Mapping[str, Any],
        take: PassingOn | None,
    ) -> tuple[str, _End]:
        """Make the call through LiteLLM, which gets the answer to a request that has left already."""
        await self._head_starts.all_left()
        await litellm_loaded()
        request = {**self._arguments(target), **parameters, "messages": list(messages)}
        async with asyncio.timeout(self._timeout if early is None else early.seconds_left(self._timeout)):
            if take is None:
                text, end = await self._whole(request)
            else:
                take.begin_again()
                text, end = await self._streamed(request, take)
        return text, end._replace(finish_reason=_finish_reason(end.finish_reason, request))

    def _arguments(self, target: Target) -> dict[str, Any]:
        """Return the arguments of LiteLLM that say where a call goes."""
        model, api_base, key = target
        if api_base is None or not model.startswith("openai/"):
            return {"model": model, "api_base": api_base, **({} if key is None else {"api_key": key})}
        return {"model": model, "api_base": api_base, "client": self._client(api_base, target.own_key)}

    def _client(self, api_base: str, api_key: str) -> openai.AsyncOpenAI:
        import openai

        from jisi_cli.models.transport import lenient_client

        client = self._clients.get((api_base, api_key))
        if client is None:
            self._http = self._http or lenient_client()
            # From its release 3 on, openai is typed for httpx2 alone and takes clients of httpx as before.
            http: Any = self._http
            client = openai.AsyncOpenAI(api_key=api_key, base_url=api_base, max_retries=0, http_client=http)
            self._clients[api_base, api_key] = client
        return client

    async def _whole(self, request: dict[str, Any]) -> tuple[str, _End]:
        response = await self._send(request)
        if not response.choices:
            raise ProviderFailure("the answer has no choices", retryable=True, billable=True, most_retries=1)
        choice = response.choices[0]
        text, called = choice.message.content or "", CalledTools()
        if len(text) + called.feed(choice.message) > LONGEST_ANSWER:
            raise _endless()
        usage = getattr(response, "usage", None)
        return text, _End(
            usage,
            choice.finish_reason,
            perplexity_of(getattr(choice, "logprobs", None)),
            reasoning_in(choice.message),
            service_tier=reported_tier(response, usage),
            tool_calls=called.finish(),
        )

    async def _streamed(self, request: dict[str, Any], on_text: OnText) -> tuple[str, _End]:
        stream = await self._send(request)
        withheld = withheld_from(request)
        pieces: list[str] = []
        reasoning: list[str] = []
        called = CalledTools()
        received = length = 0
        try:
            while (chunk := await _next(stream, withheld)) is not None:
                received += 1
                delta = chunk.choices[0].delta if chunk.choices else None
                reasoning.append(reasoning_in(delta))
                length += len(reasoning[-1]) + called.feed(delta)
                piece = None if delta is None else delta.content
                if piece:
                    length += len(piece)
                    pieces.append(piece)
                    on_text(piece)
                if received > _MOST_PIECES or length > LONGEST_ANSWER:
                    raise _endless()
        finally:
            # A stream left in the middle holds its connection, and says so on stderr when it is collected.
            if hasattr(stream, "aclose"):
                await stream.aclose()
        # LiteLLM ends every stream with a "stop" of its own; only this tells whether the provider did.
        finish_reason = getattr(stream, "received_finish_reason", "unknown")
        if finish_reason is None:
            failed = failure_in(body, withheld) if (body := _good_body()) is not None else None
            if failed is not None:
                raise failed
            # Of a server that does not stream, nothing arrives that can be read.
            refused = frozenset() if pieces or any(reasoning) else frozenset({STREAM})
            reason = "the stream broke off before its end"
            raise ProviderFailure(reason, retryable=True, billable=True, refused=refused)
        chunks = getattr(stream, "chunks", ())
        usage, is_final = streamed_usage(chunks)
        tier = reported_tier(*chunks, usage)
        return "".join(pieces), _End(
            usage,
            finish_reason,
            reasoning="".join(reasoning),
            is_final=is_final,
            service_tier=tier,
            tool_calls=called.finish(),
        )

    async def _send(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 - LiteLLM's response
        """Call LiteLLM, which refuses parameters that it believes unknown to the model before anything is sent."""
        from jisi_cli.models.transport import connected_litellm

        litellm = connected_litellm()
        # With `drop_params` an HTTP 422 makes LiteLLM call twice. The limit of `complete` comes before LiteLLM's
        # own, which only keeps it from falling back to ten minutes.
        settings = {"drop_params": False, "timeout": self._timeout + 1, "max_retries": 0, "num_retries": 0}
        try:
            return await litellm.acompletion(**{**settings, **request})
        except litellm.UnsupportedParamsError as error:
            names = names_refused(str(error), "parameter") & request.keys()
            told = " and ".join(f"`{name}`" for name in sorted(names)) or "some of the parameters"
            raise _UnsentFailure(f"LiteLLM does not pass {told} on to this model", refused=names) from error
        except Exception as error:  # LiteLLM's adapters raise many kinds; each becomes a failure with its words.
            raise failure_from(error, withheld_from(request), _good_body()) from error


def _asked(parameters: Mapping[str, Any], on_text: OnText | None) -> dict[str, Any]:
    return {**parameters, **({} if on_text is None else _STREAMED)}


class _UnsentFailure(ProviderFailure):
    """LiteLLM refused a parameter before it sent anything."""


def _good_body() -> bytes | None:
    """Return the body of an answer that came whole and with a good status; None of any other."""
    received = received_now()
    return received.body if received.status is not None and received.status < 300 else None


def _spent(received: Received) -> Completion | None:
    """Return what the provider reports of a call that gave no answer, without a text."""
    reported = received.usage
    usage = None if reported is None else usage_without_answer(reported)
    if usage is None:
        return None
    return _completion("", usage, _End(reported, None, service_tier=reported_tier(reported)))


def _explained(failure: ProviderFailure, entry: ModelEntry, rules: Rules) -> ProviderFailure:
    """Return a failure with what only jisi knows of it: a request that it refused, a key that it did not send."""
    if rules.refused is not None:
        return ProviderFailure(rules.refused)
    if failure.status in (401, 403) and rules.only_key == NO_KEY:
        failure.reason += (
            f'; no key was sent there: if it wants one, write api_key_env = "…" for `{entry.name}` in the pool file'
        )
    return failure


def _finish_reason(said: Any, request: Mapping[str, Any]) -> str | None:  # noqa: ANN401 - a provider's word
    """Return why a response ended; in a stream LiteLLM passes on whatever the provider sends."""
    if said is None:
        return None
    # Most are one plain word; reading all of the request for each would take longer than all else here.
    return str(said) if _PLAIN_REASON.fullmatch(str(said)) else one_line(str(said), withheld_from(request))


def _endless() -> ProviderFailure:
    reason = f"the answer went on beyond {LONGEST_ANSWER >> 20} Mi characters or {_MOST_PIECES:,} pieces"
    return ProviderFailure(reason, billable=True)


class _End(NamedTuple):
    """What came with a response: the provider's usage, why it ended, and how sure the model was of it."""

    usage: Any
    finish_reason: Any
    perplexity: float | None = None
    reasoning: str = ""
    is_final: bool = True
    service_tier: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


def _completion(text: str, usage: Usage, end: _End) -> Completion:
    tokens = usage.tokens
    return Completion(
        text=text,
        prompt_tokens=tokens.prompt,
        completion_tokens=tokens.completion,
        tokens_source=tokens.source,
        provider_cost=usage.cost,
        finish_reason=end.finish_reason,
        perplexity=end.perplexity,
        cached_tokens=tokens.cached,
        cache_write_tokens=tokens.written,
        cache_write_hour_tokens=tokens.written_for_an_hour,
        reasoning_tokens=tokens.reasoning,
        service_tier=end.service_tier,
        tool_calls=end.tool_calls,
        usage=usage,
    )


async def _next(stream: Any, withheld: Withheld) -> Any | None:  # noqa: ANN401 - LiteLLM's stream
    """Return the next piece of a stream; None at its end."""
    try:
        return await anext(stream)
    except StopAsyncIteration:
        return None
    except Exception as error:  # As in `_send`.
        if getattr(stream, "received_finish_reason", None) is not None:
            # The response is complete; what broke is the usage after it.
            return None
        raise failure_from(error, withheld, _good_body()) from error
