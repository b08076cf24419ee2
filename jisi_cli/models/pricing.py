"""From tokens to dollars, and where the price came from.

The order is fixed: what the provider says the call cost, then the pool file's price, then LiteLLM's map of
public prices. Where none of them knows, the cost is unknown, which is None and never 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.litellm_client import has_usual_prices, is_loaded, load_litellm
from jisi_cli.models.public_prices import Counts, is_covered, keep_rates, kept_rates
from jisi_cli.types import PriceSource

if TYPE_CHECKING:
    from jisi_cli.models.completion import Completion

_MILLION = 1_000_000


class Cost(NamedTuple):
    """Dollars of a call, and who named the price; both None when the price is unknown."""

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


def cost_of(entry: ModelEntry, completion: Completion) -> Cost:
    """Price a completion for the bill: the provider's own figure goes first."""
    return price_of_call(
        entry,
        completion.prompt_tokens,
        completion.completion_tokens,
        provider_cost=completion.provider_cost,
        parts=completion.parts,
    )


def prices_without_litellm(entry: ModelEntry) -> bool:
    """Whether a plain call of a model can be priced before LiteLLM is there."""
    return (
        entry.price is not None
        or entry.litellm.startswith("local:")
        or is_loaded()
        or kept_rates(entry.litellm) is not None
    )


def needs_litellm_to_price(entry: ModelEntry, completion: Completion) -> bool:
    """Whether the price of an answer is LiteLLM's to say, and it is not there yet."""
    tokens = (completion.prompt_tokens, completion.completion_tokens)
    return not prices_without_litellm(entry) or (
        entry.price is None and not is_loaded() and _plain_counts(*tokens, completion.parts) is None
    )


def _pool_price(price: Price, prompt_tokens: int, completion_tokens: int, parts: Parts) -> float:
    cached_price = price.input if price.cached_input is None else price.cached_input
    write_price = price.input if price.cache_write is None else price.cache_write
    plain = prompt_tokens - parts.cached - parts.written
    prompt = plain * price.input + parts.cached * cached_price + parts.written * write_price
    return (prompt + completion_tokens * price.output) / _MILLION


def _public_price(model: str, prompt_tokens: int, completion_tokens: int, parts: Parts) -> float | None:
    if model.startswith("local:"):
        return None
    tokens = _plain_counts(prompt_tokens, completion_tokens, parts)
    if tokens is not None and not is_loaded() and (kept := kept_rates(model)) is not None:
        return kept.price(tokens)
    if has_usual_prices():
        keep_rates(model, lambda tried: _by_litellm(model, tried.prompt, tried.completion, _parts(tried)))
    return _by_litellm(model, prompt_tokens, completion_tokens, parts)


def _plain_counts(prompt_tokens: int, completion_tokens: int, parts: Parts) -> Counts | None:
    """Return a call's tokens where the prices that are kept are good for it."""
    tokens = Counts(prompt_tokens, completion_tokens, parts.cached, parts.reasoning)
    return tokens if parts == _parts(tokens) and is_covered(tokens) else None


def _parts(tokens: Counts) -> Parts:
    return Parts(cached=tokens.cached, reasoning=tokens.reasoning)


def _by_litellm(model: str, prompt_tokens: int, completion_tokens: int, parts: Parts) -> float | None:
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
