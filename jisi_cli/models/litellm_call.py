"""One call made by LiteLLM: whole or in pieces, and the failures that its many adapters raise."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jisi_cli.models.address import Target
from jisi_cli.models.completion import CalledTools, End
from jisi_cli.models.failure import ProviderFailure, failure_from, failure_in, one_line
from jisi_cli.models.parameters import STREAM, names_refused
from jisi_cli.models.reasoning import AnswerSink
from jisi_cli.models.redaction import Withheld, withheld_from
from jisi_cli.models.replies import received_now
from jisi_cli.models.usage import perplexity_of, reasoning_in, reported_tier, streamed_usage
from jisi_cli.types import Message, OnText

if TYPE_CHECKING:
    import httpx
    import openai

LONGEST_ANSWER = 64 * 2**20
"""Characters; what goes on beyond them is no answer."""
_MOST_PIECES = 2**18
"""Pieces of a stream, about a token each: LiteLLM keeps every one until the end."""
_PLAIN_REASON = re.compile(r"[a-z_]{1,24}")


class UnsentFailure(ProviderFailure):
    """LiteLLM refused a parameter before it sent anything."""


class LiteLLMCalls:
    """Calls models through LiteLLM, once each; for one event loop.

    Args:
        timeout: Seconds one call may take.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._http: httpx.AsyncClient | None = None
        self._clients: dict[tuple[str, str], openai.AsyncOpenAI] = {}

    async def make(
        self,
        target: Target,
        messages: Sequence[Message],
        parameters: Mapping[str, Any],
        take: AnswerSink | None,
        seconds: float,
    ) -> tuple[str, End]:
        """Make a call; LiteLLM must have been imported.

        Args:
            target: Where it goes.
            messages: The conversation.
            parameters: The call's parameters by LiteLLM's names.
            take: Receives the response piece by piece; None where it was asked for whole.
            seconds: What is left of the time that the call may take.

        Raises:
            ProviderFailure: No response came, or only a part of one.
            TimeoutError: None came in time.
        """
        request = {**self._arguments(target), **parameters, "messages": list(messages)}
        async with asyncio.timeout(seconds):
            if take is None:
                text, end = await self._whole(request)
            else:
                take.begin_again()
                text, end = await self._streamed(request, take)
        return text, end._replace(finish_reason=_finish_reason(end.finish_reason, request))

    async def close(self) -> None:
        """Close the connections this object opened."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None
            self._clients.clear()

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

    async def _whole(self, request: dict[str, Any]) -> tuple[str, End]:
        response = await self._send(request)
        if not response.choices:
            raise ProviderFailure("the answer has no choices", retryable=True, billable=True, most_retries=1)
        choice = response.choices[0]
        text, called = choice.message.content or "", CalledTools()
        if len(text) + called.feed(choice.message) > LONGEST_ANSWER:
            raise _endless()
        usage = getattr(response, "usage", None)
        return text, End(
            usage,
            choice.finish_reason,
            perplexity_of(getattr(choice, "logprobs", None)),
            reasoning_in(choice.message),
            service_tier=reported_tier(response, usage),
            tool_calls=called.finish(),
        )

    async def _streamed(self, request: dict[str, Any], on_text: OnText) -> tuple[str, End]:
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
        return "".join(pieces), End(
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
            raise UnsentFailure(f"LiteLLM does not pass {told} on to this model", refused=names) from error
        except Exception as error:  # LiteLLM's adapters raise many kinds; each becomes a failure with its words.
            raise failure_from(error, withheld_from(request), _good_body()) from error


def withheld_of(target: Target, messages: Sequence[Message], parameters: Mapping[str, Any]) -> Withheld:
    """Return what of a call to a server that speaks OpenAI's protocol no error message may repeat.

    Args:
        target: Where it goes.
        messages: The conversation.
        parameters: Its parameters by LiteLLM's names.
    """
    named = {} if target.key is None or target.api_base is not None else {"api_key": target.key}
    request = {"model": target.model, "api_base": target.api_base, **named, **parameters, "messages": list(messages)}
    found = withheld_from(request)
    return Withheld((*found.secrets, target.own_key), found.texts)


def _good_body() -> bytes | None:
    """Return the body of an answer that came whole and with a good status; None of any other."""
    received = received_now()
    return received.body if received.status is not None and received.status < 300 else None


def _finish_reason(said: Any, request: Mapping[str, Any]) -> str | None:  # noqa: ANN401 - a provider's word
    """Return why a response ended; in a stream LiteLLM passes on whatever the provider sends."""
    if said is None:
        return None
    # Most are one plain word; reading all of the request for each would take longer than all else here.
    return str(said) if _PLAIN_REASON.fullmatch(str(said)) else one_line(str(said), withheld_from(request))


def _endless() -> ProviderFailure:
    reason = f"the answer went on beyond {LONGEST_ANSWER >> 20} Mi characters or {_MOST_PIECES:,} pieces"
    return ProviderFailure(reason, billable=True)


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
