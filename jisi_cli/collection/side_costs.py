"""What answers cost beyond being written: the judge that grades them, the endpoint that embeds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from jisi_cli.collection.forecast import ExpectedAnswer, Forecast, Recall, expected_length, price_together
from jisi_cli.config import ModelEntry
from jisi_cli.grading.final_answer import END_LENGTH
from jisi_cli.grading.judge import JUDGE_SAMPLING, judge_prompts
from jisi_cli.grading.options import GraderSpec, GradingOptions
from jisi_cli.grading.pairwise import pairwise_prompts
from jisi_cli.grading.protocol import Submission
from jisi_cli.llm.answer import Message
from jisi_cli.llm.cache_key import cache_key, conversation, effective_parameters
from jisi_cli.llm.usage import count_prompt, count_text

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


def _sum(tokens: Sequence[float | None]) -> float | None:
    known = [count for count in tokens if count is not None]
    return sum(known) if len(known) == len(tokens) else None
