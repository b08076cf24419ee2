"""The most that one call can cost, known before it goes out, and the most that it can have cost, known afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jisi_cli.config import ModelEntry, Price
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.llm.answer import Message
from jisi_cli.llm.costly_parameters import Extras, read_extras
from jisi_cli.llm.litellm_setup import load_litellm
from jisi_cli.llm.provider import Completion
from jisi_cli.llm.usage import most_prompt_tokens
from jisi_cli.pricing import Parts, allowed_tokens, max_output_tokens, price_of_call, sends_limit

_PRIORITY_FACTOR = 2.0
"""How much dearer the priority tier is than the usual one, at most; for prices that the pool file names."""
_SEARCHES = ("sonar", "search-preview", "search-api")
"""Names of models that search the web for every answer, at a fee."""


async def worst_case_of(entry: ModelEntry, messages: Sequence[Message], parameters: Mapping[str, Any]) -> float | None:
    """Return the most that one attempt can cost, in dollars; None when the model has no price.

    Args:
        entry: The model's pool entry.
        messages: The conversation as it will be sent.
        parameters: The call's parameters by LiteLLM's names.

    Raises:
        BudgetError: How long the response may get is not known.
        InputError: A parameter makes the worst case unknowable.
    """
    extras = read_extras(entry, parameters)
    completion = (_longest_answer(entry, parameters, extras) + extras.reasoning) * extras.copies + extras.predicted
    prompt = await asyncio.to_thread(most_prompt_tokens, entry, messages) + extras.prompt
    dearest = _dearest(entry, prompt, completion, extras)
    return None if dearest is None else dearest + _search_fee(entry)


def most_spent(entry: ModelEntry, completion: Completion, bill: float | None, worst: float) -> float | None:
    """Return the dollars that a budget counts for an answer: the largest figure that can be true.

    Args:
        entry: The model's pool entry.
        completion: What came back.
        bill: What the bill says; None when unknown.
        worst: The worst case that was set aside. Where nobody reported tokens, an answer counts for no more.

    Returns:
        Dollars; None when nothing is known.
    """
    usage = completion.usage
    if usage is None:
        return bill
    counted = completion.tokens_source == "counted"
    listed = _listed(entry, completion, usage.most_prompt, usage.most_completion)
    if listed is not None and counted:
        # A bound that every text keeps; where the provider says what it charged, nothing has to be guessed.
        listed = min(listed, worst) if usage.cost is None else None
    return max((amount for amount in (bill, usage.most_cost, listed) if amount is not None), default=None)


def _listed(entry: ModelEntry, completion: Completion, prompt: int, response: int) -> float | None:
    """Return what an answer costs by its tokens and the list price; None without a price."""
    listed = price_of_call(entry, prompt, response, parts=completion.parts).usd
    if listed is None:
        return None
    dearer = entry.price is not None and completion.service_tier == "priority"
    return listed * (_PRIORITY_FACTOR if dearer else 1.0) + _search_fee(entry)


def _longest_answer(entry: ModelEntry, parameters: Mapping[str, Any], extras: Extras) -> int:
    """Return the most tokens of one answer.

    Raises:
        BudgetError: Nothing limits them.
    """
    is_limited = sends_limit(entry)
    asked = allowed_tokens(parameters) if is_limited and not extras.unlimited else None
    longest = asked or max_output_tokens(entry)
    if longest is None:
        remedy = (
            "add `params = { max_tokens = … }` to the model in the pool file"
            if is_limited
            else "LiteLLM sends its provider no `max_tokens`; leave the model out, or --max-cost"
        )
        raise BudgetError(f"--max-cost needs to know how long an answer of `{entry.name}` may get; {remedy}")
    return max(longest, extras.longest)


def _dearest(entry: ModelEntry, prompt: int, completion: int, extras: Extras) -> float | None:
    """Return the dollars of so many tokens at the dearest price they can have; None without a price."""
    if entry.price is not None:
        price = entry.price
        dearest = max(price.input, price.cached_input or 0.0, price.cache_write or 0.0)
        usd = price_of_call(replace(entry, price=Price(dearest, price.output)), prompt, completion).usd
        return None if usd is None else usd * (_PRIORITY_FACTOR if extras.tier else 1.0)
    usual = price_of_call(entry, prompt, completion).usd
    if usual is None:
        return None
    dear = price_of_call(entry, prompt, completion, parts=Parts(tier=extras.tier)).usd or 0.0
    if extras.tier and dear <= usual:
        raise InputError(
            f"--max-cost cannot hold for model `{entry.name}`: nobody knows what `service_tier = {extras.tier}` costs "
            "there; remove it, or give the model a `price`"
        )
    hour = prompt if extras.hour else 0
    variants = (Parts(written=prompt, written_for_an_hour=hour, tier=extras.tier), Parts(0, 0, 0, completion))
    dearer = [price_of_call(entry, prompt, completion, parts=parts).usd or 0.0 for parts in variants]
    return max(usual, dear, *dearer)


def _search_fee(entry: ModelEntry) -> float:
    """Return the dollars of the search that some models make for every answer, by LiteLLM's map."""
    if not any(word in entry.litellm.lower() for word in _SEARCHES):
        return 0.0
    prices = load_litellm().model_cost
    known = prices.get(entry.litellm) or prices.get(entry.litellm.partition("/")[2]) or {}
    fees = known.get("search_context_cost_per_query") or {}
    return max((float(fee) for fee in fees.values()), default=0.0)
