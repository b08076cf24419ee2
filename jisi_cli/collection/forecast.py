"""What a collection would ask and cost, found out without asking anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jisi_cli.bank.records import Question
from jisi_cli.collection.collect import Pair
from jisi_cli.config import ModelEntry
from jisi_cli.llm.answer import Message, PriceSource, Role, Sampling
from jisi_cli.llm.cache_key import cache_key, conversation, effective_parameters
from jisi_cli.llm.usage import count_prompt
from jisi_cli.pricing import Cost, allowed_tokens, max_output_tokens, price_of_call

LengthBasis = Literal["bank", "max_tokens", "model limit"]
"""Where the length of an answer comes from: the mean of this model's answers in the bank; else the most that the
pool file allows, or that the model can do, which are worst cases."""

Recall = Callable[[str], str | None]
"""Returns the response that the cache has under a key; None when it has none."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What asking one model for one reason would take. Unknown is None, never 0.

    Attributes:
        model: The pool's name of the model, or the embedder's.
        role: Why it would be asked.
        calls: Calls that would go out, if each succeeds at once.
        in_bank: Answers that the bank has.
        in_cache: Answers that the cache has, or that another question with the same text brings.
        prompt_tokens: Tokens of the prompts of all calls; None when the length of what they would hold is unknown.
        completion_tokens: Tokens of all answers, expected.
        length_basis: Where the expected length comes from.
        cost_usd: Dollars of all calls.
        price_source: Who named the price.
    """

    model: str
    role: Role
    calls: int
    in_bank: int
    in_cache: int
    prompt_tokens: float | None
    completion_tokens: float | None
    length_basis: LengthBasis | None
    cost_usd: float | None
    price_source: PriceSource | None


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """A response that a collection would bring.

    Attributes:
        question: What it answers.
        text: The response, where the cache has it.
        tokens: Its length where it has yet to be written; None when nobody knows how long it may get.
    """

    question: Question
    text: str | None
    tokens: float | None


def forecast(
    entry: ModelEntry,
    pairs: Sequence[Pair],
    *,
    in_bank: int,
    recall: Recall,
    mean_length: float | None,
    sampling: Sampling | None = None,
) -> tuple[Forecast, list[ExpectedAnswer]]:
    """Work out what asking one model would take, and what would come of it.

    Args:
        entry: The model's pool entry.
        pairs: What would be asked; those of other models are passed over.
        in_bank: Answers of the model that the bank has.
        recall: What the cache has.
        mean_length: Mean tokens of the model's answers in the bank; None when there are none.
        sampling: Sampling parameters; the paper's by default.
    """
    parameters = effective_parameters(entry, sampling or Sampling())
    length, basis = expected_length(entry, parameters, mean_length)
    wanted = [question for question, model in pairs if model == entry.name]
    asked: dict[str, list[Message]] = {}
    expected = []
    for question in wanted:
        sent = conversation(entry, [{"role": "user", "content": question.query}])
        key = cache_key(entry, sent, parameters, 0)
        text = recall(key)
        expected.append(ExpectedAnswer(question, text, length))
        if text is None:
            asked.setdefault(key, sent)
    counted = [count_prompt(entry, sent) for sent in asked.values()]
    cost = price_together(entry, counted, length)
    found = Forecast(
        model=entry.name,
        role="expert",
        calls=len(counted),
        in_bank=in_bank,
        in_cache=len(wanted) - len(counted),
        prompt_tokens=sum(counted),
        completion_tokens=None if length is None else length * len(counted),
        length_basis=basis,
        cost_usd=cost.usd,
        price_source=cost.source,
    )
    return found, expected


def price_together(entry: ModelEntry, prompts: Sequence[float | None], length: float | None) -> Cost:
    """Return the dollars of calls with these tokens of prompt, each answered at a length; 0 for no calls."""
    completion = None if length is None else round(length)
    prices = [price_of_call(entry, None if prompt is None else round(prompt), completion) for prompt in prompts]
    known = [price.usd for price in prices if price.usd is not None]
    return Cost(sum(known) if len(known) == len(prices) else None, prices[0].source if prices else None)


def expected_length(
    entry: ModelEntry, parameters: Mapping[str, object], mean: float | None
) -> tuple[float | None, LengthBasis | None]:
    """Return the tokens of an answer that are to be expected, and why."""
    if mean is not None:
        return mean, "bank"
    allowed = allowed_tokens(parameters)
    if allowed is not None:
        return float(allowed), "max_tokens"
    limit = max_output_tokens(entry)
    return (None, None) if limit is None else (float(limit), "model limit")
