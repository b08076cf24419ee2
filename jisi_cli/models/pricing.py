"""From tokens to dollars, and where the price came from.

The order is fixed: what the provider says the call cost, then the pool file's price, then LiteLLM's map of
public prices. Where none of them knows, the cost is unknown, which is None and never 0.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.kept_file import kept_path, read_kept, write_kept
from jisi_cli.models.litellm_client import has_usual_prices, is_loaded, load_litellm
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


# LiteLLM's public prices of models that were asked before, where they can be read without LiteLLM.
#
# Importing LiteLLM takes seconds, and most prices are a sum of tokens times dollars. Where LiteLLM prices a model so,
# the dollars are kept in a small file of the user's cache folder: what is said of an answer from the cache is then the
# same to the last bit, at once. Whether a model is priced so is asked of LiteLLM itself, with counts from one token to
# the most that the file is used for; what is priced otherwise (by the length of the prompt, by the hour, by the search)
# is never kept.

_FILE = "prices.json"
_MOST_MODELS = 1000
_MOST_TOKENS = 100_000
"""Tokens of the longest prompt, and of the longest response, that are priced by the file: beyond, some models are
dearer."""
_MOST_DOLLARS = 1.0
"""For one token; no model is a thousandth as dear."""


class Counts(NamedTuple):
    """Tokens of a call: of the prompt, of the response, and those among them that may have prices of their own."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


class Rates(NamedTuple):
    """Dollars of one token; all None for a model without a public price.

    Attributes:
        input: Of the prompt.
        output: Of the response.
        cached: Of the prompt, where the provider had it in its cache.
        reasoning: Of the response, where it is reasoning.
    """

    input: float | None = None
    output: float | None = None
    cached: float | None = None
    reasoning: float | None = None

    def price(self, tokens: Counts) -> float | None:
        """Return the dollars of a call, in the order in which LiteLLM adds them up; None without a price."""
        if self.input is None or self.output is None or self.cached is None or self.reasoning is None:
            return None
        prompt = (tokens.prompt - tokens.cached) * self.input + tokens.cached * self.cached
        response = (tokens.completion - tokens.reasoning) * self.output + tokens.reasoning * self.reasoning
        return prompt + response


Pricing = Callable[[Counts], float | None]
"""What LiteLLM says a call costs; None where it knows no price."""

_ADDED_UP_OTHERWISE = ("perplexity/", "xai/")
"""Providers of whose prices LiteLLM makes another sum, which can differ in the last bit."""
_TRIES = 60
_PATIENCE = 0.5
"""Seconds that trying a model's prices may take; it takes a twentieth of that on a quiet machine."""


def is_covered(tokens: Counts) -> bool:
    """Whether a call is one that kept prices are good for."""
    return (
        0 <= tokens.cached <= tokens.prompt <= _MOST_TOKENS
        and 0 <= tokens.reasoning <= tokens.completion <= _MOST_TOKENS
    )


def kept_rates(model: str) -> Rates | None:
    """Return what is kept of a model; None when that is nothing.

    Args:
        model: LiteLLM's name of it.
    """
    return _kept(kept_path(_FILE)).get(model)


def keep_rates(model: str, pricing: Pricing) -> None:
    """Keep what LiteLLM asks for a model, unless that is kept already or is not a price by the token.

    Args:
        model: LiteLLM's name of it.
        pricing: LiteLLM's prices of it.
    """
    path = kept_path(_FILE)
    kept, refused = _kept(path), _refused(path)
    if model in kept or model in refused or model.startswith(_ADDED_UP_OTHERWISE):
        return
    rates = _rates(pricing)
    if rates is None:
        refused.add(model)
        return
    kept[model] = rates
    for oldest in list(kept)[:-_MOST_MODELS]:
        del kept[oldest]
    write_kept(path, dict(kept))


def _rates(pricing: Pricing) -> Rates | None:
    """Return the rates from which every price that was tried follows; None where there are none.

    For the models of some servers LiteLLM asks these again for every price, which may take long: they are left alone.
    """
    started = time.monotonic()
    plain = pricing(Counts(1, 0)), pricing(Counts(0, 1))
    rates = Rates(*plain, pricing(Counts(1, 0, cached=1)), pricing(Counts(0, 1, reasoning=1)))
    if not _is_possible(rates):
        return None
    for tokens in _tried():
        if pricing(tokens) != rates.price(tokens) or time.monotonic() - started > _PATIENCE:
            return None
    return rates


def _tried() -> Iterator[Counts]:
    """Yield the counts that LiteLLM is asked about: the ends of what is covered, and of every length between."""
    lengths = (1, 1009, 31_999, _MOST_TOKENS)
    yield from (Counts(prompt, completion) for prompt in lengths for completion in lengths)
    rng = random.Random(0)
    for _ in range(_TRIES):
        prompt, completion = (int(_MOST_TOKENS ** rng.random()) for _ in range(2))
        cached, reasoning = (rng.choice((0, most, rng.randint(0, most))) for most in (prompt, completion))
        yield Counts(prompt, completion, cached, reasoning)


@cache
def _kept(path: Path) -> dict[str, Rates]:
    return dict(_believed(read_kept(path)))


@cache
def _refused(path: Path) -> set[str]:
    """Return the models that turned out to be priced otherwise, so that each is tried once in a process."""
    return set()


def _believed(prices: Mapping[str, Any]) -> Iterator[tuple[str, Rates]]:
    for model, row in prices.items():
        if isinstance(row, list) and len(row) == len(Rates._fields) and _is_possible(rates := Rates(*row)):
            yield model, rates


def _is_possible(rates: Rates) -> bool:
    """Whether rates are all dollars, or all unknown."""
    if all(rate is None for rate in rates):
        return True
    return all(isinstance(rate, float) and math.isfinite(rate) and 0 <= rate <= _MOST_DOLLARS for rate in rates)
