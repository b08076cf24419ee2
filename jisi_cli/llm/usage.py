"""How many tokens a call took: what the provider says where that can be true, else counted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

from jisi_cli.config import ModelEntry
from jisi_cli.llm.answer import Message, TokensSource
from jisi_cli.llm.litellm_setup import load_litellm

_MOST_TOKENS = 100_000_000
"""No model reads or writes this much in one call; a larger number is a mistake."""
_MOST_DOLLARS = 1_000_000
"""The same of a call's cost."""
_LEAST_LOGPROB = -100.0
"""Keeps a perplexity finite."""


class Tokens(NamedTuple):
    """Tokens of one call, reasoning included in the completion, and who counted them."""

    prompt: int
    completion: int
    source: TokensSource


async def tokens_of(
    entry: ModelEntry,
    messages: Sequence[Message],
    text: str,
    usage: Any,  # noqa: ANN401 - LiteLLM's Usage, or whatever a server made of it
) -> Tokens:
    """Return the tokens of a call.

    Args:
        entry: The model's pool entry.
        messages: The conversation as the model got it.
        text: The response.
        usage: What the provider reported; None when it reported nothing.
    """
    reported = _reported(usage, text)
    if reported is not None:
        return Tokens(*reported, "provider")
    # A long text takes long to count, and other calls want to be read meanwhile.
    counted = await asyncio.to_thread(lambda: (count_prompt(entry, messages), count_text(entry, text)))
    return Tokens(*counted, "counted")


def _reported(usage: Any, text: str) -> tuple[int, int] | None:  # noqa: ANN401
    """Return the provider's (prompt, completion); None when it gave none, or what cannot be."""
    prompt, completion = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if not is_count(prompt) or not is_count(completion):
        return None
    if prompt == 0 or (text and completion == 0):
        return None
    details = getattr(usage, "completion_tokens_details", None)
    reasoning = getattr(details, "reasoning_tokens", None)
    # Some providers leave reasoning out of the completion and count it in the total alone.
    if is_count(reasoning) and usage.total_tokens == prompt + completion + reasoning:
        completion += reasoning
    return (prompt, completion) if is_count(completion) else None


def reported_cost(usage: Any) -> float | None:  # noqa: ANN401 - as above
    """Return the dollars the provider says it charged (OpenRouter's `usage.cost`); None when it does not."""
    cost = getattr(usage, "cost", None)
    return float(cost) if is_amount(cost) else None


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
    return int(load_litellm().token_counter(model=entry.litellm, messages=[dict(m) for m in messages]))


def count_text(entry: ModelEntry, text: str) -> int:
    """Count a text's tokens with LiteLLM's tokenizer for the model (an estimate for most)."""
    return int(load_litellm().token_counter(model=entry.litellm, text=text)) if text else 0
