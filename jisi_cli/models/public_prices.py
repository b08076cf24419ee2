"""LiteLLM's public prices of models that were asked before, where they can be read without LiteLLM.

Importing LiteLLM takes seconds, and most prices are a sum of tokens times dollars. Where LiteLLM prices a model so,
the dollars are kept in a small file of the user's cache folder: what is said of an answer from the cache is then the
same to the last bit, at once. Whether a model is priced so is asked of LiteLLM itself, with counts from one token to
the most that the file is used for; what is priced otherwise (by the length of the prompt, by the hour, by
the search) is never kept.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jisi_cli.models.kept_file import kept_path, read_kept, write_kept

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
