"""Who would answer a question, and why: decisions without an answer, and a decision as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jisi_cli.answering import saying_more
from jisi_cli.configured_method import ConfiguredMethod
from jisi_cli.errors import InputError
from jisi_cli.methods.decision import Decision, ExpectedUsage
from jisi_cli.methods.decision import expected_usage as usage_on_support
from jisi_cli.methods.protocol import Listener, Query, Silent, StagedMethod

_BLOCK = 256
"""Questions that are routed at once."""


def decisions(
    method: ConfiguredMethod, texts: Sequence[str], *, probe: bool = False, listener: Listener | None = None
) -> Iterator[Decision]:
    """Yield the decision on each of many questions, in their order; see `Jisi.route`."""
    if not all(text.strip() for text in texts):
        raise InputError("a question is empty; ask in words")
    staged, opened = method.staged, method.opened
    if probe:
        opened.require_pool()
    for start in range(0, len(texts), _BLOCK):
        queries = method.queries(texts[start : start + _BLOCK])
        with method.opening:
            plans = list(staged.plan(queries))
        for query, plan in zip(queries, plans, strict=True):
            if not probe:
                yield staged.decision(plan)
                continue
            with saying_more(opened):
                found = opened.account.background.run(_probe(method, staged, query, plan, listener or Silent()))
            yield found


async def _probe(
    method: ConfiguredMethod,
    staged: StagedMethod,
    query: Query,
    plan: Any,  # noqa: ANN401 - each method has its own
    listener: Listener,
) -> Decision:
    decision, calls = await staged.probe(query, plan, method.opened.pool(), listener)
    return replace(decision, calls=calls)


def explain(method: ConfiguredMethod, text: str, decision: Decision, neighbours: int = 0) -> dict[str, Any]:
    """Return a decision as plain data; see `Jisi.explain`."""
    data = decision.to_json(neighbours, partial(described, method) if neighbours else None)
    for row in data["models"]:
        usage = expected_usage(method, row["model"], decision)
        row["expected_completion_tokens"], row["expected_cost_usd"] = usage.completion_tokens, usage.cost_usd
    calls = decision.calls
    probes = [{"model": call.model, "error": call.error, "tokens": call.completion_tokens} for call in calls]
    answers = [given.to_json() for given in decision.answers]
    return {"query": text, **data, "answers": answers, "probes": probes, "settings": method.settings}


def expected_usage(method: ConfiguredMethod, model: str, decision: Decision) -> ExpectedUsage:
    """Estimate tokens and dollars of one call of a model from what it used on the support set."""
    opened = method.opened
    return usage_on_support(opened.bank, model, decision.coarse, opened.prices.get(model))


def described(method: ConfiguredMethod, places: Sequence[int]) -> list[dict[str, Any]]:
    """Say of some train rows what they are and which models solved them."""
    bank = method.opened.bank
    rows = bank.train_rows[np.array(places, dtype=np.intp)]
    order = np.argsort(rows)
    found = dict(zip(rows[order].tolist(), bank.some_questions(rows[order]), strict=True))
    return [
        {
            "dataset": found[row].dataset,
            "index": found[row].index,
            "query": found[row].query,
            "solved_by": _solvers(method, place),
        }
        for row, place in zip(rows.tolist(), places, strict=True)
    ]


def _solvers(method: ConfiguredMethod, place: int) -> list[str]:
    arrays = method.arrays
    facts = zip(method.models, arrays.scores[place], arrays.present[place], strict=True)
    return [name for name, right, known in facts if known and right > 0.5]
