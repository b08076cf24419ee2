"""One call to one model, directly or through LiteLLM: what came back, or why nothing did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from jisi_cli.answer_format import in_words
from jisi_cli.config import ModelEntry, unusable_name
from jisi_cli.errors import JisiError
from jisi_cli.messages import with_system
from jisi_cli.models.address import NO_KEY, Target, key_for
from jisi_cli.models.completion import Completion, End, completed, words_in
from jisi_cli.models.direct_call import DirectCalls, DirectRequest, goes_directly, known_direct_request
from jisi_cli.models.facts import missing_key
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.known_requests import KnownRequest, keep_request
from jisi_cli.models.litellm_call import LiteLLMCalls, UnsentFailure, withheld_of
from jisi_cli.models.litellm_client import Rules, keeping, litellm_loaded, own_headers
from jisi_cli.models.parameters import STREAM, STREAM_OPTIONS, Accepted, remedy
from jisi_cli.models.pricing import prices_without_litellm
from jisi_cli.models.reasoning import AnswerSink, AnswerStream, answer_in
from jisi_cli.models.replies import Received, receiving
from jisi_cli.models.usage import reported_tier, usage_of, usage_without_answer
from jisi_cli.types import Message, OnText, whole_characters

_LOCAL = "local:"
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
    """Calls models, once per call: repeating is left to the pool.

    Args:
        timeout: Seconds one call may take, from the request to the end of the response.
        local_models: Serves the entries whose LiteLLM name begins with `local:`.
    """

    def __init__(self, timeout: float, local_models: LocalServers | None = None) -> None:
        self._timeout = timeout
        self._local_models = local_models
        self._litellm = LiteLLMCalls(timeout)
        self._direct_calls = DirectCalls(timeout)
        self._accepted: dict[str, Accepted] = {}

    async def prepare(
        self, entry: ModelEntry, messages: Sequence[Message], parameters: Mapping[str, Any], on_text: OnText | None
    ) -> None:
        """Import LiteLLM, unless the call can be made without it, and start a local model."""
        if entry.litellm.startswith(_LOCAL) and self._local_models is not None:
            with suppress(JisiError):  # which the call itself will meet
                await self._local_models.endpoint(entry.litellm.removeprefix(_LOCAL))
        asked = _asked(parameters, on_text)
        if not goes_directly(entry.litellm, entry.api_base, asked) and not known_direct_request(entry, messages, asked):
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
        known = known_direct_request(entry, messages, asked) if accepted == Accepted() else None
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
                if change is None and isinstance(failure, UnsentFailure) and accepted.leave_to_litellm(failure.refused):
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
                take = None if on_text is None or STREAM not in parameters else AnswerSink(on_text, answer)
                async with self._under_way(entry, target, messages, parameters, rules, known) as direct:
                    found = None if direct is None else await self._plain(direct, target, messages, parameters, take)
                    text, end = found or await self._by_litellm(direct, target, messages, parameters, take)
                rest = (answer.feed(text) if take is None else "") + answer.finish()
        except ProviderFailure as failure:
            failure.spent = _spent(received)
            raise _explained(failure, entry, rules) from failure
        except TimeoutError as error:
            # One of ours: LiteLLM's timeouts arrive as failures.
            reason = f"no answer within {self._timeout:g} s"
            raise ProviderFailure(reason, retryable=True, billable=True) from error
        if kept_as is not None and received.request is not None and direct is None:
            keep_request(entry, messages, kept_as, parameters, received.request)
        if on_text is not None and rest:
            on_text(rest)
        text = whole_characters(text)
        # All of the response was paid for, its thinking too.
        written = text + words_in(end.tool_calls)
        if end.usage is None:
            await litellm_loaded()  # which counts
        usage = await usage_of(entry, messages, written, end.reasoning, end.usage, is_final=end.is_final)
        return completed(answer_in(text), usage, end)

    async def close(self) -> None:
        """Close the connections this object opened."""
        await self._direct_calls.close()
        await self._litellm.close()

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
    ) -> AsyncIterator[DirectRequest | None]:
        """Send the request of a call if that takes no LiteLLM; yield it, or None."""
        direct = None
        if known is not None or goes_directly(target.model, target.api_base, parameters):
            direct = self._direct_calls.begin(target, messages, parameters, rules, known)
        if direct is None:
            yield None
            return
        try:
            if not prices_without_litellm(entry):
                self._direct_calls.load_soon()
            yield direct
        finally:
            await self._direct_calls.end(direct)

    async def _plain(
        self,
        direct: DirectRequest,
        target: Target,
        messages: Sequence[Message],
        parameters: Mapping[str, Any],
        take: AnswerSink | None,
    ) -> tuple[str, End] | None:
        """Read the answer to a request sent directly; None where LiteLLM has to read it."""
        async with asyncio.timeout(self._timeout):
            found = await direct.plain_answer(take)
            # LiteLLM names the errors of other providers in ways of their own.
            if found is None and target.model.startswith("openai/"):
                failure = await direct.plain_refusal(withheld_of(target, messages, parameters))
                if failure is not None:
                    raise failure
        if found is None:
            return None
        end = End(found.usage, found.finish_reason, is_final=found.is_final, service_tier=found.service_tier)
        return found.text, end

    async def _by_litellm(
        self,
        direct: DirectRequest | None,
        target: Target,
        messages: Sequence[Message],
        parameters: Mapping[str, Any],
        take: AnswerSink | None,
    ) -> tuple[str, End]:
        """Make the call through LiteLLM, which gets the answer to a request sent already."""
        await self._direct_calls.all_left()
        await litellm_loaded()
        seconds = self._timeout if direct is None else direct.seconds_left(self._timeout)
        return await self._litellm.make(target, messages, parameters, take, seconds)


def _asked(parameters: Mapping[str, Any], on_text: OnText | None) -> dict[str, Any]:
    return {**parameters, **({} if on_text is None else _STREAMED)}


def _spent(received: Received) -> Completion | None:
    """Return what the provider reports of a call that gave no answer, without a text."""
    reported = received.usage
    usage = None if reported is None else usage_without_answer(reported)
    if usage is None:
        return None
    return completed("", usage, End(reported, None, service_tier=reported_tier(reported)))


def _explained(failure: ProviderFailure, entry: ModelEntry, rules: Rules) -> ProviderFailure:
    """Return a failure with what only jisi knows of it: a request that it refused, a key that it did not send."""
    if rules.refused is not None:
        return ProviderFailure(rules.refused)
    if failure.status in (401, 403) and rules.only_key == NO_KEY:
        failure.reason += (
            f'; no key was sent there: if it wants one, write api_key_env = "…" for `{entry.name}` in the pool file'
        )
    return failure
