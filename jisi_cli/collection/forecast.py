"""What a collection would ask and cost, found out without asking anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jisi_cli.collection.collect import Pair
from jisi_cli.config import ModelEntry
from jisi_cli.llm.answer import Message, PriceSource, Sampling
from jisi_cli.llm.cache_key import cache_key, conversation, effective_parameters
from jisi_cli.llm.usage import count_prompt
from jisi_cli.pricing import max_output_tokens, price_of_call

LengthBasis = Literal["bank", "max_tokens", "model limit"]
"""Where the length of an answer comes from: the mean of this model's answers in the bank; else the most that the
pool file allows, or that the model can do, which are worst cases."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What asking one model would take. Unknown is None, never 0.

    Attributes:
        model: The pool's name of the model.
        calls: Calls that would go out, if each succeeds at once.
        in_bank: Answers that the bank has.
        in_cache: Answers that the cache has, or that another question with the same text brings.
        prompt_tokens: Tokens of the prompts of all calls, counted.
        completion_tokens: Tokens of all answers, expected.
        length_basis: Where the expected length comes from.
        cost_usd: Dollars of all calls.
        price_source: Who named the price.
    """

    model: str
    calls: int
    in_bank: int
    in_cache: int
    prompt_tokens: int
    completion_tokens: float | None
    length_basis: LengthBasis | None
    cost_usd: float | None
    price_source: PriceSource | None


def forecast(
    entry: ModelEntry,
    pairs: Sequence[Pair],
    *,
    in_bank: int,
    is_cached: Callable[[str], bool],
    mean_length: float | None,
    sampling: Sampling | None = None,
) -> Forecast:
    """Work out what asking one model would take.

    Args:
        entry: The model's pool entry.
        pairs: What would be asked; those of other models are passed over.
        in_bank: Answers of the model that the bank has.
        is_cached: Whether an answer lies in the cache under a key.
        mean_length: Mean tokens of the model's answers in the bank; None when there are none.
        sampling: Sampling parameters; the paper's by default.
    """
    parameters = effective_parameters(entry, sampling or Sampling())
    length, basis = _expected_length(entry, parameters, mean_length)
    prompts: dict[str, list[Message]] = {}
    wanted = [question for question, model in pairs if model == entry.name]
    for question in wanted:
        sent = conversation(entry, [{"role": "user", "content": question.query}])
        prompts.setdefault(cache_key(entry, sent, parameters, 0), sent)
    counted = [count_prompt(entry, sent) for key, sent in prompts.items() if not is_cached(key)]
    prices = [price_of_call(entry, tokens, None if length is None else round(length)) for tokens in counted]
    known = [price.usd for price in prices if price.usd is not None]
    return Forecast(
        model=entry.name,
        calls=len(counted),
        in_bank=in_bank,
        in_cache=len(wanted) - len(counted),
        prompt_tokens=sum(counted),
        completion_tokens=None if length is None else length * len(counted),
        length_basis=basis,
        cost_usd=sum(known) if len(known) == len(prices) else None,
        price_source=prices[0].source if prices else None,
    )


def _expected_length(
    entry: ModelEntry, parameters: Mapping[str, object], mean: float | None
) -> tuple[float | None, LengthBasis | None]:
    """Return the tokens of an answer that are to be expected, and why."""
    if mean is not None:
        return mean, "bank"
    asked = parameters.get("max_tokens") or parameters.get("max_completion_tokens")
    if isinstance(asked, int):
        return float(asked), "max_tokens"
    limit = max_output_tokens(entry)
    return (None, None) if limit is None else (float(limit), "model limit")
