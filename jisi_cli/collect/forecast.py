"""What a collection would ask and cost, worked out without a call."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from jisi_cli.bank.bank import Bank
from jisi_cli.collect.collect import Pair, known_answers, pairs_of
from jisi_cli.config import ModelEntry
from jisi_cli.formats.record import Question
from jisi_cli.grading.final_answer import END_LENGTH
from jisi_cli.grading.judge import JUDGE_SAMPLING, judge_prompts
from jisi_cli.grading.pairwise import pairwise_prompts
from jisi_cli.grading.registry import GraderSpec, GradingOptions, Submission
from jisi_cli.models.cache import cache_key, conversation, effective_parameters
from jisi_cli.models.pricing import Cost, price_of_call
from jisi_cli.models.usage import count_prompt, count_text
from jisi_cli.models.worst_case import allowed_tokens, max_output_tokens
from jisi_cli.types import Message, PriceSource, Role, Sampling, whole_sum

LengthBasis = Literal["bank", "max_tokens", "model limit"]
"""Where the length of an answer comes from: the mean of this model's answers in the bank; else the most that the
pool file allows, or that the model can do, which are worst cases."""

Recall = Callable[[str], str | None]
"""Returns the response that the cache has under a key; None when it has none."""


Share = Callable[[ModelEntry], float | None]
"""Returns what a call by batch costs of its list price; None where that is not known."""


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
        batch_cost_usd: Dollars where those calls that can be are made by batch; None where that was not asked for.
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
    batch_cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """A response that a collection would bring.

    Attributes:
        question: What it answers.
        text: The response, where the cache has it.
        tokens: Its length where it has yet to be written; None when its limit is unknown.
    """

    question: Question
    text: str | None
    tokens: float | None


@dataclass(frozen=True, slots=True)
class CollectionForecast:
    """What a whole collection would take.

    Attributes:
        questions: Questions that would be asked.
        models: What asking each model for each reason would take.
        missing_keys: Models that would not be asked, with the environment variable that lacks their key.
    """

    questions: int
    models: list[Forecast]
    missing_keys: Mapping[str, str] = field(default_factory=dict)

    def total(self) -> dict[str, Any]:
        """Return the sums over all models; one is None where a part is unknown."""
        return {
            **{name: sum(getattr(model, name) for model in self.models) for name in ("calls", "in_bank", "in_cache")},
            "prompt_tokens": _sum([model.prompt_tokens for model in self.models]),
            "completion_tokens": _sum([model.completion_tokens for model in self.models]),
            "cost_usd": whole_sum(model.cost_usd for model in self.models),
            "batch_cost_usd": whole_sum(model.batch_cost_usd for model in self.models),
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        models, missing = list(map(asdict, self.models)), dict(self.missing_keys)
        return {"questions": self.questions, "models": models, "total": self.total(), "missing_keys": missing}


def forecast_collection(
    questions: Sequence[Question],
    pool: Sequence[ModelEntry],
    models: Sequence[str],
    *,
    bank: Bank | None,
    retry_failed: bool,
    grading: GradingOptions,
    recall: Recall,
    embedder: ModelEntry | None,
    per_request: int,
    share: Share | None = None,
) -> CollectionForecast:
    """Work out what asking, grading and embedding would take.

    Args:
        questions: The questions.
        pool: The pool's entries.
        models: Names of those that would be asked.
        bank: The bank that would be extended; None for a new one.
        retry_failed: Ask again what the bank holds as failed.
        grading: Which grader grades what.
        recall: What the cache has.
        embedder: The endpoint that would embed, as a pool would name it; None for an embedder on this machine.
        per_request: Short texts that fit into one request of it.
        share: Returns what a batch costs of the list price of a model; None where nothing is asked by batch.
    """
    known = known_answers(bank, retry_failed=retry_failed) if bank is not None else set()
    pairs = pairs_of(questions, models, known)
    keys = {question.key for question in questions}
    in_bank = Counter(model for *key, model in known if tuple(key) in keys)
    found: list[Forecast] = []
    answers: list[ExpectedAnswer] = []
    for entry in pool:
        if entry.name in models:
            mean = _mean_length(bank, entry.name)
            asked, expected = forecast(entry, pairs, in_bank=in_bank[entry.name], recall=recall, mean_length=mean)
            found.append(asked)
            answers += expected
    found += [forecast_judge(entry, answers, grading, recall) for entry in pool if entry.name in grading.judges()]
    if embedder is not None:
        embedded = set(bank.keys) if bank is not None else set()
        new = [question.query for question in questions if question.key not in embedded]
        found.append(forecast_embedding(embedder, new, answers, per_request=per_request))
    if share is not None:
        entries = {entry.name: entry for entry in pool}
        found = [_by_batch(asked, entries.get(asked.model), share) for asked in found]
    return CollectionForecast(len(questions), found)


def _by_batch(asked: Forecast, entry: ModelEntry | None, share: Share) -> Forecast:
    """Add what a model costs by batch: judges and embedders are called one by one; what is not known is list price."""
    part = share(entry) if entry is not None and asked.role == "expert" else None
    cost = asked.cost_usd if part is None or asked.cost_usd is None else part * asked.cost_usd
    return replace(asked, batch_cost_usd=cost)


def _mean_length(bank: Bank | None, model: str) -> float | None:
    """Return the mean tokens of a model's answers in a bank."""
    if bank is None or model not in bank.models:
        return None
    known = [tokens for tokens in bank.answers(model).completion_tokens.tolist() if not math.isnan(tokens)]
    return math.fsum(known) / len(known) if known else None


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
        sent = conversation(entry, question.messages())
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
        completion_tokens=0.0 if not counted else None if length is None else length * len(counted),
        length_basis=basis,
        cost_usd=cost.usd,
        price_source=cost.source,
    )
    return found, expected


def price_together(entry: ModelEntry, prompts: Sequence[float | None], length: float | None) -> Cost:
    """Return the dollars of calls with these tokens of prompt, each answered at a length; 0 for no calls."""
    completion = None if length is None else round(length)
    prices = [price_of_call(entry, None if prompt is None else round(prompt), completion) for prompt in prompts]
    return Cost(whole_sum(price.usd for price in prices), prices[0].source if prices else None)


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


_PROMPTS: dict[str, Callable[[Submission], list[list[Message]]]] = {
    "judge": judge_prompts,
    "pairwise": pairwise_prompts,
}
"""What the graders that ask a model would ask."""


def forecast_judge(
    entry: ModelEntry, answers: Iterable[ExpectedAnswer], grading: GradingOptions, recall: Recall
) -> Forecast:
    """Work out what a judge would be asked about answers.

    An answer that has yet to be written is taken to be as long as expected, and to be one that can be graded.

    Args:
        entry: The judge's pool entry.
        answers: All answers of the collection; those that another grader grades are passed over.
        grading: Which grader grades what.
        recall: What the cache has.
    """
    parameters = effective_parameters(entry, JUDGE_SAMPLING)
    length, basis = expected_length(entry, parameters, None)
    prompts: list[float | None] = []
    seen: set[str] = set()
    in_cache = 0
    for answer in answers:
        spec = grading.spec_for(answer.question)
        if spec is None or not _asks(spec, entry.name) or answer.question.reference is None:
            continue
        for asked in _PROMPTS[spec.name](_submission(answer)):
            sent = conversation(entry, asked)
            if answer.text is None:
                prompts.append(_with_unwritten(count_prompt(entry, sent), answer.tokens))
                continue
            key = cache_key(entry, sent, parameters, 0)
            if key in seen or recall(key) is not None:
                in_cache += 1
            else:
                seen.add(key)
                prompts.append(count_prompt(entry, sent))
    cost = price_together(entry, prompts, length)
    return Forecast(
        model=entry.name,
        role="judge",
        calls=len(prompts),
        in_bank=0,
        in_cache=in_cache,
        prompt_tokens=_sum(prompts),
        completion_tokens=None if length is None else length * len(prompts),
        length_basis=basis,
        cost_usd=cost.usd,
        price_source=cost.source,
    )


def forecast_embedding(
    entry: ModelEntry, queries: Iterable[str], answers: Iterable[ExpectedAnswer], *, per_request: int
) -> Forecast:
    """Work out what embedding a collection would take of an endpoint.

    Args:
        entry: The embedder, as a pool would name it.
        queries: Questions that have no vector yet.
        answers: Answers that have none.
        per_request: Texts that fit into one request, where they are short.
    """
    answers = list(answers)
    known = {*queries, *(answer.text for answer in answers if answer.text is not None)}
    tokens: list[float | None] = [count_text(entry, text) for text in sorted(known)]
    tokens += [answer.tokens for answer in answers if answer.text is None]
    total = _sum(tokens)
    cost = price_together(entry, [total], 0)
    return Forecast(
        model=entry.name,
        role="embedding",
        calls=math.ceil(len(tokens) / per_request),
        in_bank=0,
        in_cache=0,
        prompt_tokens=total,
        completion_tokens=0,
        length_basis=None,
        cost_usd=cost.usd,
        price_source=cost.source,
    )


def _asks(spec: GraderSpec, model: str) -> bool:
    return spec.name in _PROMPTS and spec.argument == model


def _submission(answer: ExpectedAnswer) -> Submission:
    question = answer.question
    return Submission(question.query, question.reference or "", answer.text or "", question.dataset)


def _with_unwritten(prompt: int, tokens: float | None) -> float:
    """Add the answer that is yet to come; a judge reads its end, of so many characters and so no more tokens."""
    return prompt + (END_LENGTH if tokens is None else min(tokens, END_LENGTH))


def _sum(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None
