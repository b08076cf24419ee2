"""How many tokens a call took and what it cost: what the provider says where that can be true, else counted.

A provider's figures are read twice. The bill goes by what it says. The budget, which must hold, goes by the largest
figure that can be true: where the two differ, the user is told.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeGuard

from jisi_cli.config import ModelEntry
from jisi_cli.messages import pictures_of, text_of
from jisi_cli.models.litellm_client import load_litellm
from jisi_cli.types import Message, TokensSource, whole_characters

_MOST_TOKENS = 100_000_000
"""No model reads or writes this much in one call; a larger number is a mistake."""
_MOST_DOLLARS = 1_000_000
"""The same of a call's cost."""
_LEAST_LOGPROB = -100.0
"""Keeps a perplexity finite."""
_REPORTED = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "prompt_cache_hit_tokens", "cached_tokens"),
    *("cost", "cost_details", "is_byok", "service_tier"),
)
"""What is read of a usage."""
_BYTES_PER_TOKEN = 16
"""A text with more bytes to a token than this was hardly written in so few."""
_SHORT_TEXT = 200
"""Bytes; of a shorter text the tokens may be anything."""
_OPENAI_ADDRESS = re.compile(r"https://api\.openai\.com(?:[:/]|$)")
_OPENAI_MODELS = ("gpt-3.5", "gpt-4", "gpt-5", "chatgpt-", "o1", "o3", "o4", "text-embedding-")
_OWN_TOKENIZER_MARGIN = 1.1
"""Some of LiteLLM's releases count a new model of OpenAI's with the tokenizer of the one before."""
_LONGEST_EXACT = 1_000_000
"""Characters; LiteLLM only estimates the tokens of much longer texts."""
_MESSAGE_TOKENS = 8
"""What a chat template puts around one message, at most."""
_PICTURE_TOKENS = 16_384
"""What a picture takes of a prompt, at most: the default limit of Qwen-VL; most models take a tenth of it."""
_DEAR_PICTURES, _DEAR_PICTURE = "gpt-4o-mini", 50_000
"""The one model that counts 33 times as many tokens for a picture, so that it costs what it costs with gpt-4o."""
_CONVERSATION_TOKENS = 16
"""What it puts around a conversation, such as the date or a system message of the model's own."""


class Tokens(NamedTuple):
    """Tokens of one call, and who counted them.

    Attributes:
        prompt: All tokens of the prompt.
        completion: All tokens of the response, reasoning included.
        source: Who counted them.
        cached: Tokens of the prompt that the provider had in its own cache.
        written: Tokens of the prompt that it put there.
        written_for_an_hour: Of these, to be kept for an hour.
        reasoning: Tokens of the response that are reasoning.
    """

    prompt: int
    completion: int
    source: TokensSource
    cached: int = 0
    written: int = 0
    written_for_an_hour: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call took.

    Attributes:
        tokens: For the bill.
        most_prompt: The largest number of tokens that the prompt can have had; at least that of the bill.
        most_completion: The same of the response.
        cost: Dollars the provider says it charged; None when it does not say.
        most_cost: The largest such figure that can be meant; at least `cost`.
        doubt: What does not agree in the provider's figures; None when all does.
    """

    tokens: Tokens
    most_prompt: int
    most_completion: int
    cost: float | None = None
    most_cost: float | None = None
    doubt: str | None = None


class Streamed(NamedTuple):
    """The usage of a stream, and whether nothing came after the chunk that reported it."""

    usage: Any
    is_final: bool


async def usage_of(
    entry: ModelEntry,
    messages: Sequence[Message],
    text: str,
    reasoning: str,
    usage: Any,  # noqa: ANN401 - LiteLLM's Usage, or whatever a server made of it
    *,
    is_final: bool = True,
) -> Usage:
    """Return what a call took.

    Args:
        entry: The model's pool entry.
        messages: The conversation as the model got it.
        text: The response.
        reasoning: Text of the reasoning that came beside it; empty where none did.
        usage: What the provider reported; None when it reported nothing.
        is_final: Whether it reported that after the last of the text.
    """
    costs = reported_cost(usage), most_reported_cost(usage)
    reported = _reported(usage, text)
    # A long text takes long to count, and other calls want to be read meanwhile.
    if reported is None:
        own = await asyncio.to_thread(_counted, entry, messages, (text, reasoning), costs)
        return replace(own, doubt=_beyond_belief(usage))
    tokens, doubt = reported
    if not is_final:
        return await asyncio.to_thread(_counted_on, entry, tokens, (text, reasoning), costs)
    most = max(tokens.completion, _with_reasoning(tokens))
    if _bytes(text) + _bytes(reasoning) > max(_SHORT_TEXT, _BYTES_PER_TOKEN * tokens.completion):
        counted = await asyncio.to_thread(_count_all, entry, (text, reasoning))
        if counted > most:
            most, doubt = counted, f"reports {tokens.completion:,} tokens for an answer of about {counted:,}"
    return Usage(tokens, tokens.prompt, most, *costs, doubt)


def usage_without_answer(usage: Any) -> Usage | None:  # noqa: ANN401 - as above
    """Return what a call took that gave no answer, by the provider's figures alone; None where it gives none."""
    costs = reported_cost(usage), most_reported_cost(usage)
    reported = _reported(usage, "")
    if reported is None:
        return None if costs[0] is None else Usage(Tokens(0, 0, "provider"), 0, 0, *costs)
    tokens, doubt = reported
    return Usage(tokens, tokens.prompt, max(tokens.completion, _with_reasoning(tokens)), *costs, doubt)


def _counted(
    entry: ModelEntry,
    messages: Sequence[Message],
    written: Sequence[str],
    costs: tuple[float | None, float | None],
) -> Usage:
    """Return the usage of a call for which the provider reported none."""
    tokens = Tokens(count_prompt(entry, messages), _count_all(entry, written), "counted")
    most = sum(most_text_tokens(entry, text) for text in written)
    return Usage(tokens, max(tokens.prompt, most_prompt_tokens(entry, messages)), max(tokens.completion, most), *costs)


def _counted_on(
    entry: ModelEntry, tokens: Tokens, written: Sequence[str], costs: tuple[float | None, float | None]
) -> Usage:
    """Return the usage of a call that was reported before the response ended."""
    completion = max(tokens.completion, _count_all(entry, written))
    most = max(completion, sum(most_text_tokens(entry, text) for text in written))
    doubt = "reports its usage before its answer ends; the rest is counted"
    return Usage(tokens._replace(completion=completion, source="counted"), tokens.prompt, most, *costs, doubt)


def streamed_usage(chunks: Iterable[Any]) -> Streamed:
    """Return what the provider reported in a stream, the largest of each number; None when it reported nothing.

    Some servers report after every piece what was used so far, some with the first piece alone.

    Args:
        chunks: LiteLLM's chunks, in their order.
    """
    reports: list[Any] = []
    is_final = True
    for chunk in chunks:
        usage = getattr(chunk, "usage", None)
        if usage is not None:
            reports.append(usage)
            is_final = True
        elif _has_text(chunk):
            is_final = False
    if len(reports) < 2:
        return Streamed(reports[0] if reports else None, is_final)
    return Streamed(_largest(reports), is_final)


def reasoning_in(message: Any) -> str:  # noqa: ANN401 - LiteLLM's Message or Delta
    """Return the text of the reasoning that came beside a response, or beside a piece of one."""
    found = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    return whole_characters(found) if isinstance(found, str) else ""


def reported_cost(usage: Any) -> float | None:  # noqa: ANN401 - as above
    """Return the dollars the provider says one pays for the call; None when it does not say.

    OpenRouter reports its own part as `cost` and, for a call with a key of the user's own, the provider's part beside
    it; Perplexity reports an object.
    """
    cost = _dollars(getattr(usage, "cost", None))
    upstream = _upstream(usage)
    if upstream is None or getattr(usage, "is_byok", None) is False:
        return cost
    own_key = getattr(usage, "is_byok", None) is True
    # Without a word about the key, the provider's part within OpenRouter's own would be no larger.
    return upstream + (cost or 0.0) if own_key or upstream > (cost or 0.0) else cost


def most_reported_cost(usage: Any) -> float | None:  # noqa: ANN401 - as above
    """Return the most dollars that a provider's figures can mean; None when it gives none."""
    known = [part for part in (_dollars(getattr(usage, "cost", None)), _upstream(usage)) if part is not None]
    if getattr(usage, "is_byok", None) is False:
        return max(known, default=None)
    return sum(known) if known else None


def reported_tier(*parts: Any) -> str | None:  # noqa: ANN401 - LiteLLM's response, chunks and usages
    """Return the service tier that the provider says it answered in; None where it says nothing, or the usual."""
    for part in parts:
        tier = getattr(part, "service_tier", None)
        if isinstance(tier, str) and tier.lower() in ("flex", "priority"):
            return tier.lower()
    return None


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value can be a number of tokens of one call."""
    return type(value) is int and 0 <= value <= _MOST_TOKENS


def is_amount(value: object) -> TypeGuard[float]:
    """Whether a value can be the dollars of one call."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= _MOST_DOLLARS


def perplexity_of(logprobs: Any) -> float | None:  # noqa: ANN401 - LiteLLM's ChoiceLogprobs, or whatever came
    """Return exp(-mean log-probability) of a response's tokens; None where they are not all known."""
    tokens = getattr(logprobs, "content", None) or ()
    values: list[Any] = [getattr(token, "logprob", None) for token in tokens]
    if not values or any(isinstance(v, bool) or not isinstance(v, int | float) or not v <= 0 for v in values):
        return None
    # A provider's -9999 for "not among the likely ones" is as good as unlikely can be.
    mean = math.fsum(max(float(value), _LEAST_LOGPROB) for value in values) / len(values)
    return math.exp(-mean)


def count_prompt(entry: ModelEntry, messages: Sequence[Message]) -> int:
    """Count a conversation's tokens with LiteLLM's tokenizer for the model (an estimate for most)."""
    sent = [dict(message) for message in messages]
    # Otherwise LiteLLM would look at each picture, and fetch one that is named by its address.
    counter = load_litellm().token_counter
    return int(counter(model=entry.litellm, messages=sent, use_default_image_token_count=True))


def count_text(entry: ModelEntry, text: str) -> int:
    """Count a text's tokens with LiteLLM's tokenizer for the model (an estimate for most)."""
    return int(load_litellm().token_counter(model=entry.litellm, text=text)) if text else 0


def most_prompt_tokens(entry: ModelEntry, messages: Sequence[Message], *, exactly: bool = True) -> int:
    """Return the most tokens that a conversation can have, with what a chat template and a provider put around it.

    Args:
        entry: The model's pool entry.
        messages: The conversation.
        exactly: Whether to count with the model's own tokenizer, where that is known, which takes long.
    """
    texts = sum(
        most_text_tokens(entry, text, exactly=exactly)
        for message in messages
        for text in (text_of(message), _calls_of(message))
    )
    is_dear = _DEAR_PICTURES in entry.litellm
    pictures = sum(len(pictures_of(message)) for message in messages) * (_DEAR_PICTURE if is_dear else _PICTURE_TOKENS)
    return texts + pictures + _MESSAGE_TOKENS * len(messages) + _CONVERSATION_TOKENS


def _calls_of(message: Message) -> str:
    """Return the calls of tools in a message as JSON, which is longer than what a model is shown of them."""
    calls = message.get("tool_calls", ())
    return json.dumps([*calls], ensure_ascii=False) if calls else ""


def most_text_tokens(entry: ModelEntry, text: str, *, exactly: bool = True) -> int:
    """Return the most tokens that a text can have with the model's own tokenizer.

    LiteLLM has that of OpenAI's models alone. Of any other a token is at least one byte of UTF-8; some tokenizers
    write compatibility characters out first.
    """
    most = max(_bytes(text), _bytes(unicodedata.normalize("NFKC", text)))
    if not exactly or len(text) > _LONGEST_EXACT or not has_own_tokenizer(entry):
        return most
    return min(most, math.ceil(count_text(entry, text) * _OWN_TOKENIZER_MARGIN))


def has_own_tokenizer(entry: ModelEntry) -> bool:
    """Whether LiteLLM counts with the model's own tokenizer: OpenAI's models at OpenAI's own address."""
    provider, _, name = entry.litellm.rpartition("/")
    if provider not in ("", "openai") or not name.startswith(_OPENAI_MODELS):
        return False
    addresses = (entry.api_base, *(os.environ.get(variable) for variable in ("OPENAI_BASE_URL", "OPENAI_API_BASE")))
    return all(_OPENAI_ADDRESS.match(address) for address in addresses if address)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _count_all(entry: ModelEntry, texts: Sequence[str]) -> int:
    return sum(count_text(entry, text) for text in texts)


def _reported(usage: Any, text: str) -> tuple[Tokens, str | None] | None:  # noqa: ANN401 - as above
    """Return the provider's tokens and what does not agree in them; None when it gave none, or what cannot be."""
    prompt, completion = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if not is_count(prompt) or not is_count(completion):
        return None
    if prompt == 0 or (text and completion == 0):
        return None
    parts = _parts(usage)
    total = getattr(usage, "total_tokens", None)
    beyond = total - prompt - completion if type(total) is int else 0
    beyond = beyond if is_count(beyond) else 0
    beside = parts.cached + parts.written
    doubt = None
    if beside > prompt or (beside and beyond == beside):
        # The provider counts what it had in its cache beside the prompt.
        prompt, beyond = prompt + beside, beyond - beside
    if beyond > 0:
        # Some leave reasoning out of the response and count it in the total alone.
        completion += beyond
        if beyond != parts.reasoning:
            doubt = f"reports {beyond:,} tokens in all beyond those of prompt and response; they count as response"
    elif parts.reasoning > completion:
        doubt = f"reports {parts.reasoning:,} tokens of reasoning in a response of {completion:,}"
    if not is_count(completion) or not is_count(prompt):
        return None
    return parts._replace(prompt=prompt, completion=completion), doubt


def _beyond_belief(usage: Any) -> str | None:  # noqa: ANN401 - as above
    """Return which figure of a usage is too large to be true; None where none is."""
    for name, most in (("prompt_tokens", _MOST_TOKENS), ("completion_tokens", _MOST_TOKENS), ("cost", _MOST_DOLLARS)):
        value = getattr(usage, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > most:
            return f"reports {name} = {value:,}, which cannot be true; the tokens of its answers are counted instead"
    return None


def _parts(usage: Any) -> Tokens:  # noqa: ANN401 - as above
    """Return the parts of prompt and response that have prices of their own; 0 where none are told."""
    prompt, completion = (getattr(usage, f"{part}_tokens_details", None) for part in ("prompt", "completion"))
    cached = _first_count(
        getattr(prompt, "cached_tokens", None),
        getattr(usage, "cache_read_input_tokens", None),
        getattr(usage, "prompt_cache_hit_tokens", None),
        getattr(usage, "cached_tokens", None),
    )
    written = _first_count(
        getattr(usage, "cache_creation_input_tokens", None),
        getattr(prompt, "cache_creation_tokens", None),
        getattr(prompt, "cache_write_tokens", None),
    )
    kept = getattr(prompt, "cache_creation_token_details", None)
    for_an_hour = min(written, _first_count(getattr(kept, "ephemeral_1h_input_tokens", None)))
    reasoning = _first_count(getattr(completion, "reasoning_tokens", None))
    return Tokens(0, 0, "provider", cached, written, for_an_hour, reasoning)


def _first_count(*values: object) -> int:
    """Return the first number of tokens above 0; 0 without one."""
    return next((value for value in values if is_count(value) and value > 0), 0)


def _with_reasoning(tokens: Tokens) -> int:
    """Return the tokens of a response whose reasoning cannot be within it."""
    return tokens.completion + tokens.reasoning if tokens.reasoning > tokens.completion else tokens.completion


def _dollars(value: object) -> float | None:
    if isinstance(value, Mapping):
        value = value.get("total_cost")
    return float(value) if is_amount(value) else None


def _upstream(usage: Any) -> float | None:  # noqa: ANN401 - as above
    details = getattr(usage, "cost_details", None)
    found = details.get("upstream_inference_cost") if isinstance(details, Mapping) else None
    return _dollars(found)


def _has_text(chunk: Any) -> bool:  # noqa: ANN401 - LiteLLM's chunk
    choices = getattr(chunk, "choices", None)
    delta = getattr(choices[0], "delta", None) if choices else None
    return bool(getattr(delta, "content", None) or reasoning_in(delta))


def _largest(reports: Sequence[Any]) -> SimpleNamespace:
    """Return several reports as one: each number the largest that can be true, all else as told last."""
    merged: dict[str, Any] = {}
    for report in reports:
        for name in _REPORTED:
            value, known = getattr(report, name, None), merged.get(name)
            if value is not None and (known is None or not _is_number(known) or (_is_number(value) and value > known)):
                merged[name] = value
    return SimpleNamespace(**merged)


def _is_number(value: object) -> bool:
    return is_count(value) or is_amount(value)
