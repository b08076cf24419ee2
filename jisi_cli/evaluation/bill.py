"""What one question cost: its calls, one by one and together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jisi_cli.evaluation.results import Spent
from jisi_cli.llm.answer import Answer
from jisi_cli.methods.protocol import Call


def spent_on(calls: Sequence[Call], final: Answer | None, *, live: bool) -> dict[str, Any]:
    """Return what a question cost, as fields of its result.

    Args:
        calls: All calls that were made for it.
        final: The answer that was given; None when there was none.
        live: Whether models were called; False for a replay of recorded answers.
    """
    return {
        "calls": len(calls),
        "cost_usd": _sum([_cost(call.answer) for call in calls]),
        "tokens": _tokens([call.answer for call in calls]),
        "bill": tuple(_of_call(call, final, live=live) for call in calls),
    }


def _of_call(call: Call, final: Answer | None, *, live: bool) -> Spent:
    answer = call.answer
    return Spent(
        role=call.role,
        model=answer.model,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        # Nothing is paid for what is only replayed.
        cost_usd=answer.cost_usd if live else 0.0,
        list_cost_usd=answer.list_cost_usd,
        price_source=answer.price_source,
        cached=answer.cached or not live,
        failed=not answer.ok,
        is_answer=answer is final,
    )


def _cost(answer: Answer) -> float | None:
    # No list names the price of a failure; what was paid for it may be known.
    return answer.list_cost_usd if answer.ok or answer.list_cost_usd is not None else answer.cost_usd


def _sum(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return math.fsum(known) if len(known) == len(costs) else None


def _tokens(answers: Sequence[Answer]) -> int | None:
    known = [answer.completion_tokens for answer in answers if answer.completion_tokens is not None]
    return sum(known) if len(known) == len(answers) else None
