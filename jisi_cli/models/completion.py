"""What a model returned, as it is handed on, kept and priced."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from jisi_cli.answer_format import AnswerFormat, UnfitError
from jisi_cli.messages import ToolCall
from jisi_cli.models.pricing import Parts
from jisi_cli.types import Answer, TokensSource, cut_off_words, whole_characters

if TYPE_CHECKING:
    from jisi_cli.models.usage import Usage


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model returned.

    Attributes:
        text: The response; may be empty.
        prompt_tokens: Tokens of the prompt.
        completion_tokens: Tokens of the response, reasoning included.
        tokens_source: Whether the provider counted them, or jisi with LiteLLM's tokenizer.
        provider_cost: Dollars the provider says it charged; None when it does not say.
        finish_reason: Why the response ended, in the provider's word.
        perplexity: Of the response; None where no log-probabilities were asked for, or came.
        cached_tokens: Tokens of the prompt that the provider had in its own cache.
        cache_write_tokens: Tokens of the prompt that it put there.
        cache_write_hour_tokens: Of these, to be kept for an hour.
        reasoning_tokens: Tokens of the response that are reasoning.
        service_tier: The tier that the provider says it answered in, where that changes the price.
        tool_calls: The user's tools that the model asks to be called.
        usage: The figures behind these, with any contradictions in them; None once the response was stored.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    tokens_source: TokensSource
    provider_cost: float | None = None
    finish_reason: str | None = None
    perplexity: float | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_hour_tokens: int = 0
    reasoning_tokens: int = 0
    service_tier: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = field(default=None, compare=False, repr=False)

    @property
    def has_answer(self) -> bool:
        """Whether there is a response to read, or a tool to be called."""
        return bool(self.text.strip() or self.tool_calls)

    @property
    def lack(self) -> str | None:
        """Why there is no response to read; None where there is one."""
        if self.has_answer:
            return None
        if self.finish_reason == "length":
            return "the model returned no text: `max_tokens` was spent before the answer began"
        return f"the model returned no text (finish reason: {self.finish_reason or 'none'})"

    @property
    def parts(self) -> Parts:
        """What of the call has a price of its own."""
        written = (self.cache_write_tokens, self.cache_write_hour_tokens)
        return Parts(self.cached_tokens, *written, self.reasoning_tokens, self.service_tier)


class End(NamedTuple):
    """What came with a response: the provider's usage, why it ended, and how sure the model was of it."""

    usage: Any
    finish_reason: Any
    perplexity: float | None = None
    reasoning: str = ""
    is_final: bool = True
    service_tier: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


def completed(text: str, usage: Usage, end: End) -> Completion:
    """Return a response with what it took."""
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


async def fitted(answer: Answer, wanted: AnswerFormat | None) -> Answer:
    """Return an answer as it was asked for: its JSON alone, or an error where it does not fit.

    Args:
        answer: The answer; one that failed, or calls tools, is returned as it is.
        wanted: The form; None for any.
    """
    if wanted is None or not answer.ok or answer.tool_calls:
        return answer
    try:
        # In a thread: a long answer to an intricate schema takes a while.
        return replace(answer, text=await asyncio.to_thread(wanted.fit, answer.text))
    except UnfitError as reason:
        why = f"its answer does not have the form that was asked for: {reason}"
        if answer.cut_off is not None:
            why += f" (it was cut off {cut_off_words(answer.cut_off)})"
        return replace(answer, text="", error=why, unfit=True)


# The tool calls in a model's answer, whole or put together from the pieces of a stream.


class CalledTools:
    """Puts tool calls together that arrive in pieces."""

    def __init__(self) -> None:
        self._calls: list[_Written] = []
        self._places: dict[object, _Written] = {}

    def feed(self, message: Any) -> int:  # noqa: ANN401 - LiteLLM's Message or Delta
        """Take what a message, or a piece of one, has of tool calls; return its length in characters."""
        length = 0
        for place, piece in enumerate(getattr(message, "tool_calls", None) or ()):
            written, function = self._at(piece, place), getattr(piece, "function", None)
            name, arguments = getattr(function, "name", None), getattr(function, "arguments", None)
            if isinstance(name, str):
                written.name = written.name or name
            if isinstance(arguments, dict):
                arguments = json.dumps(arguments)
            if isinstance(arguments, str):
                written.arguments.append(arguments)
                length += len(arguments)
        return length

    def finish(self) -> tuple[ToolCall, ...]:
        """Return the calls in their order; one without the name of a tool is none."""
        return tuple(written.call(place) for place, written in enumerate(self._calls) if written.name)

    def _at(self, piece: Any, place: int) -> _Written:  # noqa: ANN401 - as above
        """Return the call that a piece continues; some servers number every call of several with 0."""
        index, given = getattr(piece, "index", None), getattr(piece, "id", None)
        index = place if index is None else index
        written = self._places.get(index)
        if written is None or (given and written.id and given != written.id):
            written = self._places[index] = _Written()
            self._calls.append(written)
        if isinstance(given, str):
            written.id = written.id or given
        return written


class _Written:
    """One call as far as it has come."""

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []

    def call(self, place: int) -> ToolCall:
        name, arguments = whole_characters(self.name), whole_characters("".join(self.arguments)) or "{}"
        # Results name the call that they belong to, so that it needs a name.
        made = hashlib.sha256(f"{place} {name} {arguments}".encode()).hexdigest()[:24]
        return ToolCall(whole_characters(self.id) or f"call_{made}", name, arguments)


def words_in(calls: Iterable[ToolCall]) -> str:
    """Return what a model wrote to make calls, for counting it."""
    return "".join(f"{call.name}{call.arguments}" for call in calls)
