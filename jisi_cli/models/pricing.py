"""From tokens to dollars, and where the price came from.

The order is fixed: what the provider says the call cost, then the pool file's price, then LiteLLM's map of
public prices. Where none of them knows, the cost is unknown, which is None and never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.litellm_setup import load_litellm
from jisi_cli.types import PriceSource

_MILLION = 1_000_000


class Cost(NamedTuple):
    """Dollars of a call, and who named the price; both None when nobody did."""

    usd: float | None
    source: PriceSource | None


UNKNOWN = Cost(None, None)


class Parts(NamedTuple):
    """What of a call has a price of its own.

    Attributes:
        cached: Tokens of the prompt that the provider had in its own cache.
        written: Tokens of the prompt that it put there.
        written_for_an_hour: Of these, to be kept for an hour.
        reasoning: Tokens of the response that are reasoning.
        tier: The provider's service tier; None for the usual one.
    """

    cached: int = 0
    written: int = 0
    written_for_an_hour: int = 0
    reasoning: int = 0
    tier: str | None = None


PLAIN = Parts()


def price_of_call(
    entry: ModelEntry,
    prompt_tokens: int | None,
    completion_tokens: int | None,
    *,
    provider_cost: float | None = None,
    parts: Parts = PLAIN,
) -> Cost:
    """Price one call.

    Args:
        entry: The model's pool entry.
        prompt_tokens: All tokens of the prompt; None when unknown.
        completion_tokens: Tokens of the response, reasoning included; None when unknown.
        provider_cost: Dollars the provider says it charged; None when it does not say.
        parts: What has a price of its own; a pool file's price knows of cached tokens alone.
    """
    if provider_cost is not None:
        return Cost(provider_cost, "provider")
    if prompt_tokens is None or completion_tokens is None:
        return UNKNOWN
    if entry.price is not None:
        return Cost(_pool_price(entry.price, prompt_tokens, completion_tokens, parts), "pool")
    public = _public_price(entry.litellm, prompt_tokens, completion_tokens, parts)
    return UNKNOWN if public is None else Cost(public, "litellm")


def worst_case(entry: ModelEntry, prompt_tokens: int, max_tokens: int) -> float | None:
    """Return the dollars of a call whose response is as long as it may be; None when there is no price."""
    return price_of_call(entry, prompt_tokens, max_tokens).usd


def allowed_tokens(parameters: Mapping[str, object]) -> int | None:
    """Return the most tokens that a call's parameters allow its response; None where they set no limit.

    Some servers read a number below 0 as no limit.
    """
    limits = (parameters.get(name) for name in ("max_tokens", "max_completion_tokens"))
    return max((limit for limit in limits if type(limit) is int and limit > 0), default=None)


def sends_limit(entry: ModelEntry) -> bool:
    """Whether the model's provider is told how long an answer may get: LiteLLM drops what it believes unknown there."""
    return entry.litellm.startswith("local:") or _sends_limit(entry.litellm)


@cache
def _sends_limit(model: str) -> bool:
    try:
        supported = load_litellm().get_supported_openai_params(model=model)
    except Exception:  # Some providers' own for a model that they do not know; the call will fail of itself.
        return True
    return supported is None or not {"max_tokens", "max_completion_tokens"}.isdisjoint(supported)


def max_output_tokens(entry: ModelEntry) -> int | None:
    """Return how long the model's responses can be, by LiteLLM's map; None when it does not know."""
    if entry.litellm.startswith("local:"):
        return None
    litellm = load_litellm()
    try:
        known = litellm.get_model_info(entry.litellm).get("max_output_tokens")
    except Exception:  # LiteLLM raises a plain Exception for a model that its map lacks.
        return None
    return int(known) if known else None


def _pool_price(price: Price, prompt_tokens: int, completion_tokens: int, parts: Parts) -> float:
    cached_price = price.input if price.cached_input is None else price.cached_input
    write_price = price.input if price.cache_write is None else price.cache_write
    plain = prompt_tokens - parts.cached - parts.written
    prompt = plain * price.input + parts.cached * cached_price + parts.written * write_price
    return (prompt + completion_tokens * price.output) / _MILLION


def _public_price(model: str, prompt_tokens: int, completion_tokens: int, parts: Parts) -> float | None:
    if model.startswith("local:"):
        return None
    litellm = load_litellm()
    detailed = {} if parts == PLAIN else _detailed(prompt_tokens, completion_tokens, parts)
    try:
        prompt, completion = litellm.cost_per_token(
            model=model, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, **detailed
        )
    except Exception:  # As above: the map lacks the model, or its provider.
        return None
    return float(prompt) + float(completion)


def _detailed(prompt_tokens: int, completion_tokens: int, parts: Parts) -> dict[str, Any]:
    """Return what LiteLLM wants to be told where parts of a call have prices of their own."""
    from litellm.types.utils import CacheCreationTokenDetails, Usage

    usage = Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        reasoning_tokens=parts.reasoning or None,
        prompt_tokens_details={"cached_tokens": parts.cached},
        cache_read_input_tokens=parts.cached,
        cache_creation_input_tokens=parts.written,
    )
    if parts.written_for_an_hour:
        usage.prompt_tokens_details.cache_creation_token_details = CacheCreationTokenDetails(
            ephemeral_5m_input_tokens=parts.written - parts.written_for_an_hour,
            ephemeral_1h_input_tokens=parts.written_for_an_hour,
        )
    return {"usage_object": usage, "service_tier": parts.tier}
