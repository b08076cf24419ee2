"""What `jisi ask` does: decide, ask, and show the answer to a person or to a pipe."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from jisi_cli.cli.live import AnswerView, view_for
from jisi_cli.cli.output import Output, count, paid
from jisi_cli.cli.progress import training_bar
from jisi_cli.cli.routing import neighbours_of, show_neighbours
from jisi_cli.cli.session import Session
from jisi_cli.errors import ExitCode, NoAnswerError
from jisi_cli.methods.protocol import Aggregation, Method, Outcome, Query
from jisi_cli.methods.registry import make_method, method_info
from jisi_cli.methods.router import answer_without_vector
from jisi_cli.methods.training import Training
from jisi_cli.types import Answer, Sampling, cut_off_words, whole_sum

_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class AskRequest:
    """The command line of `jisi ask`."""

    text: str
    method: str
    system: str | None
    aggregation: str
    explain: bool
    stream: bool | None
    as_json: bool
    temperature: float | None
    max_tokens: int | None

    def sampling(self) -> Sampling:
        """Return the sampling parameters, the paper's where none were given."""
        paper = Sampling()
        temperature = paper.temperature if self.temperature is None else self.temperature
        return Sampling(temperature, paper.top_p, self.max_tokens)


def run_ask(session: Session, request: AskRequest) -> ExitCode:
    """Answer one question and write the answer.

    Raises:
        NoAnswerError: No model of the pool could answer.
        BudgetError: The budget stopped every call before there was an answer.
    """
    out = session.out
    started = time.perf_counter()
    # Made first: a method that trains shows its progress, which the view of the answer would hide.
    method = _make_method(session, request)
    view = view_for(out, stream=request.stream, as_json=request.as_json)
    with view:
        outcome = session.run(_answer(session, request, view, method))
        view.finish(outcome.answer.text)
    seconds = time.perf_counter() - started
    if request.as_json:
        out.json(_to_json(session, request, method, outcome, seconds))
    for call in outcome.calls:
        if not call.ok:
            out.warn(f"{call.model} did not answer: {call.error or 'it returned nothing'}")
        elif call.cut_off is not None:
            out.warn(f"the answer of {call.model} was cut off {cut_off_words(call.cut_off)}")
    for words in outcome.missing:
        out.warn(words)
    if request.explain and not request.as_json:
        _explain(session, outcome)
    out.note(_footer(outcome, seconds))
    overrun = session.purse.overrun
    if overrun is not None:
        out.warn(overrun)
        return ExitCode.BUDGET
    if outcome.stopped_by_budget:
        out.warn("the budget was too small for every call that was wanted; raise --max-cost")
        return ExitCode.BUDGET
    return ExitCode.OK


async def _answer(session: Session, request: AskRequest, view: AnswerView, method: Method[Any]) -> Outcome:
    started = time.perf_counter()
    try:
        (query,) = session.queries([request.text], request.system)
    except NoAnswerError as error:
        # An endpoint that gives no vectors for now; one that refuses is for the user to set right.
        query = Query(request.text, np.zeros(0, np.float32), request.system)
        async with session.pool(view.called) as pool:
            return await answer_without_vector(session.arrays, query, pool, view, request.sampling(), str(error))
    embedded = time.perf_counter()
    (plan,) = method.plan([query])
    before = {"embed": embedded - started, "support": time.perf_counter() - embedded}
    async with session.pool(view.called) as pool:
        outcome = await method.answer(query, plan, pool, view)
    return replace(outcome, seconds=before | outcome.seconds)


def _make_method(session: Session, request: AskRequest) -> Method[Any]:
    """Make the method, as an evaluation makes it.

    Raises:
        InputError: The method cannot be made from this bank.
    """
    with training_bar(session.out, request.method, trains=method_info(request.method).trains) as on_step:
        context = replace(
            session.context(),
            aggregation=cast(Aggregation, request.aggregation),
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            training=Training(on_step),
        )
        return make_method(request.method, context)


def _footer(outcome: Outcome, seconds: float) -> str:
    """One line: who answered, who aggregated whom, calls, tokens, dollars, seconds."""
    answered = [call for call in outcome.calls if call.ok]
    who = outcome.answer.model
    if outcome.mode == "aggregate":
        aggregated = outcome.references if outcome.decision is None else outcome.decision.aggregatees
        who = f"{who} aggregated {', '.join(aggregated)}"
    else:
        who = f"{who} answered ({outcome.mode})"
    cached = sum(answer.cached for answer in answered)
    calls = count(len(outcome.calls), "call") + (f" ({cached} cached)" if cached else "")
    tokens = sum((answer.prompt_tokens or 0) + (answer.completion_tokens or 0) for answer in answered)
    return f"{who} · {calls} · {count(tokens, 'token')} · {_paid_words(outcome.calls)} · {seconds:.1f} s"


def _paid(calls: tuple[Answer, ...]) -> float | None:
    """Dollars paid for all calls; None when one of them is unknown."""
    return whole_sum(call.cost_usd for call in calls)


def _paid_words(calls: tuple[Answer, ...]) -> str:
    known = [call.cost_usd for call in calls if call.cost_usd is not None]
    return paid(math.fsum(known), len(calls) - len(known))


def _explain(session: Session, outcome: Outcome) -> None:
    out = Output(quiet=False)
    decision = outcome.decision
    if decision is None:
        out.note(f"{outcome.mode}: {outcome.reason}")
        out.note(_steps(outcome))
        return
    data = decision.to_json(_NEIGHBOURS, neighbours_of(session))
    lines = [
        f"support set: {count(data['support_size'], 'question')} with similarity from {data['threshold']:.3f}",
        f"candidates: {', '.join(decision.candidates)}; answered: {', '.join(decision.answered) or 'none'}",
    ]
    if decision.fine is not None:
        ratios = ", ".join(f"{row['model']} {row['ratio']:.3f}" for row in data["aggregatees"])
        lines.append(f"kept by the mixed filter: {data['filtered_size']}; aggregatees (share of the best): {ratios}")
    lines.append(f"{outcome.mode}: {outcome.reason}")
    lines.append(_steps(outcome))
    for line in lines:
        out.note(line)
    show_neighbours(out, data["neighbours"], stderr=True)


def _steps(outcome: Outcome) -> str:
    return "steps: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in outcome.seconds.items())


def _to_json(
    session: Session, request: AskRequest, method: Method[Any], outcome: Outcome, seconds: float
) -> dict[str, Any]:
    decision = outcome.decision
    described = neighbours_of(session) if request.explain else None
    return {
        "query": request.text,
        "method": request.method,
        "answer": outcome.answer.text,
        "model": outcome.answer.model,
        "finish_reason": outcome.answer.finish_reason,
        "cut_off": outcome.answer.cut_off,
        "mode": outcome.mode,
        "reason": outcome.reason,
        "cost_usd": _paid(outcome.calls),
        "seconds": seconds,
        "steps": outcome.seconds,
        "stopped_by_budget": outcome.stopped_by_budget,
        "missing": list(outcome.missing),
        "calls": [_call_to_json(call) for call in outcome.calls],
        "decision": decision.to_json(_NEIGHBOURS if request.explain else 0, described) if decision else None,
        "settings": session.settings_json(method),
    }


def _call_to_json(answer: Answer) -> dict[str, Any]:
    return {
        "role": answer.role,
        "model": answer.model,
        "response": answer.text if answer.ok else None,
        "error": answer.error,
        "finish_reason": answer.finish_reason,
        "cut_off": answer.cut_off,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "tokens_source": answer.tokens_source,
        "cost_usd": answer.cost_usd,
        "list_cost_usd": answer.list_cost_usd,
        "price_source": answer.price_source,
        "seconds": answer.seconds,
        "cached": answer.cached,
    }
