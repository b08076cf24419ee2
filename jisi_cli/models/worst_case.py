"""The most that a call can cost, before it goes out, and the most that it can have cost, afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from jisi_cli.config import ModelEntry, Price
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.models.litellm_client import is_loaded, load_litellm
from jisi_cli.models.parameters import Extras, read_extras
from jisi_cli.models.pricing import Parts, price_of_call
from jisi_cli.models.usage import has_own_tokenizer, most_prompt_tokens
from jisi_cli.types import Message

if TYPE_CHECKING:
    from jisi_cli.models.completion import Completion

_PRIORITY_FACTOR = 2.0
"""How much dearer the priority tier is than the usual one, at most; for prices that the pool file names."""
_MOST_KNOWN, _MANY = 1000, 1_000_000
_SEARCHES = ("sonar", "search-preview", "search-api")
"""Names of models that search the web for every answer, at a fee."""


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
    return entry.litellm.startswith(("local:", "openai/")) or _sends_limit(entry.litellm)


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


def needs_litellm(entry: ModelEntry, parameters: Mapping[str, Any]) -> bool:
    """Whether the worst case of a call takes LiteLLM's map or tokenizer: what the pool file says is not enough."""
    provider = entry.litellm.partition("/")[0]
    says_all = entry.price is not None and allowed_tokens(parameters) is not None
    is_plain = (provider == "openai" or entry.litellm.startswith("local:")) and not has_own_tokenizer(entry)
    return not (says_all and is_plain) or any(word in entry.litellm.lower() for word in _SEARCHES)


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
    completion = _most_completion(entry, parameters, extras)
    prompt = await asyncio.to_thread(most_prompt_tokens, entry, messages)
    return _worst(entry, prompt, completion, extras)


def worst_case_known_now(entry: ModelEntry, messages: Sequence[Message], parameters: Mapping[str, Any]) -> float | None:
    """Return the same without waiting for anything, of a call that has gone out already; None where it is not known."""
    if needs_litellm(entry, parameters) and not is_loaded():
        return None
    try:
        extras = read_extras(entry, parameters)
        completion = _most_completion(entry, parameters, extras)
        return _worst(entry, most_prompt_tokens(entry, messages), completion, extras)
    except (BudgetError, InputError):
        return None


class WorstCases:
    """The same, or more, for the calls of a pool, in some microseconds: of a text each byte counts as a token.

    Where the pool file names a price, calls of a model with the same parameters differ in their prompts alone.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float]] = {}
        """Dollars without a prompt, and those of each of its tokens, by model and parameters."""

    def of(self, entry: ModelEntry, messages: Sequence[Message], parameters: Mapping[str, Any]) -> float | None:
        """Return the most that one attempt can cost, in dollars; None where it is not known now."""
        key = f"{entry.name} {parameters!r}"
        prompt = most_prompt_tokens(entry, messages, exactly=False)
        if key in self._known:
            without, each = self._known[key]
            return without + each * prompt
        says_all = entry.price is not None and allowed_tokens(parameters) is not None
        is_plain = entry.litellm.startswith(("local:", "openai/"))
        if not (says_all and is_plain) and not is_loaded():
            return None
        try:
            extras = read_extras(entry, parameters)
            completion = _most_completion(entry, parameters, extras)
            if entry.price is not None and len(self._known) < _MOST_KNOWN:
                without = _worst(entry, 0, completion, extras) or 0.0
                self._known[key] = without, ((_worst(entry, _MANY, completion, extras) or 0.0) - without) / _MANY
            return _worst(entry, prompt, completion, extras)
        except (BudgetError, InputError):
            return None


def _most_completion(entry: ModelEntry, parameters: Mapping[str, Any], extras: Extras) -> int:
    """Return the most tokens that are paid for as a response.

    Raises:
        BudgetError: Nothing limits them.
    """
    return (_longest_answer(entry, parameters, extras) + extras.reasoning) * extras.copies + extras.predicted


def _worst(entry: ModelEntry, prompt: int, completion: int, extras: Extras) -> float | None:
    dearest = _dearest(entry, prompt + extras.prompt, completion, extras)
    return None if dearest is None else dearest + _search_fee(entry)


def most_spent(entry: ModelEntry, completion: Completion, bill: float | None, worst: float) -> float | None:
    """Return the dollars that a budget counts for an answer: the largest figure that can be true.

    Args:
        entry: The model's pool entry.
        completion: What came back.
        bill: What the bill says; None when unknown.
        worst: The worst case that was set aside. An answer without reported tokens counts for at most that.

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
            f"--max-cost cannot hold for model `{entry.name}`: what `service_tier = {extras.tier}` costs is not known "
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
