"""How a question is answered or routed: what needs no call on the caller's thread, calls on the account's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from jisi_cli.answer_format import format_of
from jisi_cli.background import CLOSED
from jisi_cli.callees import offer_the_offline_pool
from jisi_cli.configured_method import ConfiguredMethod
from jisi_cli.conversation import Asked, Conversation, as_conversation, read_tools
from jisi_cli.errors import InputError, NoAnswerError
from jisi_cli.messages import NOTHING, Wanted
from jisi_cli.methods.calls import Panel
from jisi_cli.methods.decision import Decision, ExpectedUsage
from jisi_cli.methods.decision import expected_usage as usage_on_support
from jisi_cli.methods.protocol import Listener, Outcome, Pieces, Query, Silent, StagedMethod, Watcher, watcher_in_force
from jisi_cli.methods.tool_calling import answer_by_one
from jisi_cli.opened import Opened
from jisi_cli.spans import question_span

if TYPE_CHECKING:
    from jisi_cli.methods.rankings import Ranking


_NO_WORDS = "a picture without words cannot be compared with the bank's questions"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question as far as it is decided without a call; without a vector, `failure` says why it has none.

    `by` are those who answer it: a part of the pool where not every model can.
    """

    by: ConfiguredMethod
    asked: Conversation
    query: Query
    plan: object
    seconds: dict[str, float]
    failure: str | None = None


def wanted(tools: Sequence[Mapping[str, Any]] | None, schema: Mapping[str, Any] | None) -> Wanted | None:
    """Return what is asked for besides an answer in words; None where nothing is.

    Raises:
        InputError: A tool or the schema cannot be used.
    """
    if tools is None and schema is None:
        return None
    found = NOTHING if tools is None else read_tools(tools)
    return found if schema is None else replace(found, format=format_of(schema))


def prepare(method: ConfiguredMethod, text: Asked, system: str | None, wanted: Wanted | None = None) -> Prepared:
    """Decide a question as far as it can be without a call.

    Args:
        method: The method that answers.
        text: The question, or a conversation.
        system: A system message for every model.
        wanted: What is asked for besides an answer in words.

    Raises:
        InputError: The question, the method, the embedder or the pool cannot be used.
        BankError: The bank's embedder is not the one that is here, or the user has no say in it.
    """
    method.opened.account.background.require_own_process()
    method.opened.require_pool()
    asked = as_conversation(text, system, wanted)
    by = _able_to(method, asked)
    no_vector = np.zeros(0, np.float32)
    query = Query(asked.text, no_vector, asked.system, history=asked.history, turn=asked.turn, wanted=asked.wanted)
    made = by.made
    started = time.perf_counter()
    if not asked.routed_text and by.compares:
        return Prepared(by, asked, query, None, {}, _NO_WORDS)
    try:
        query = replace(query, vector=by.queries([asked.routed_text])[0].vector)
    except NoAnswerError as error:
        # An endpoint that gives no vectors for now; one that refuses is for the user to set right.
        return Prepared(by, asked, query, None, {}, str(error))
    embedded = time.perf_counter()
    with by.opening:
        (plan,) = made.plan([query])
    seconds = {"embed": embedded - started, "support": time.perf_counter() - embedded}
    return Prepared(by, asked, query, plan, seconds)


def _able_to(method: ConfiguredMethod, asked: Conversation) -> ConfiguredMethod:
    """Return the same method for those of the pool who can go on with a conversation.

    Raises:
        InputError: No model that may be asked is known to be able to.
    """
    if not asked.needs:
        return method
    from jisi_cli.models.facts import able, has_ability, none_able

    config = method.opened.config
    only = method.method.removeprefix("model:") if method.is_one_model else None
    entries = [entry for entry in config.models if entry.name in ((only,) if only else method.models)]
    if only is not None:
        # Asked for by name, it may do what nothing is known of.
        if any(has_ability(entry, ability) is False for entry in entries for ability in asked.needs):
            raise none_able(entries, asked.needs, config.path)
        return method
    names = set(able(entries, asked.needs))
    models = tuple(name for name in method.models if name in names)
    if not models:
        raise none_able(entries, asked.needs, config.path)
    return method.part(models, is_for_one=asked.is_for_one)


async def answer(prepared: Prepared, watcher: Watcher | None = None, max_cost: float | None = None) -> Outcome:
    """Answer a question, on the account's thread.

    Args:
        prepared: The question.
        watcher: Told what happens.
        max_cost: Dollars that it may cost at most.

    Raises:
        NoAnswerError: No model could answer.
        BudgetError: The budget stopped every call before there was an answer.
    """
    opened = prepared.by.opened
    watcher_in_force.set(watcher)
    if max_cost is not None:
        opened.account.limit_question(max_cost, opened.models)
    with question_span(prepared.by.method, math.fsum(prepared.seconds.values())) as span:
        outcome = await _answered(prepared, watcher or Silent(), opened)
        span.note(
            {
                "jisi.mode": outcome.mode,
                "jisi.calls": len(outcome.calls),
                "jisi.cost_usd": outcome.cost_usd,
                "jisi.confidence": outcome.confidence,
            }
        )
    opened.callers.note(prepared.asked.text, outcome.answer)
    return replace(outcome, seconds=prepared.seconds | outcome.seconds, is_json=prepared.query.is_json)


async def _answered(prepared: Prepared, listener: Listener, opened: Opened) -> Outcome:
    by, query, pool = prepared.by, prepared.query, opened.pool()
    if prepared.failure is not None:
        from jisi_cli.methods.router import answer_without_vector

        context = by.context
        return await answer_without_vector(context.bank, query, pool, listener, context.sampling(), prepared.failure)
    if not prepared.asked.is_for_one:
        return await by.made.answer(query, prepared.plan, pool, listener)
    ranking = prepared.plan.models if isinstance(prepared.plan, Panel) else cast("Ranking", prepared.plan)
    caller = opened.callers.of(prepared.asked.text, prepared.asked.called)
    return await answer_by_one(ranking, caller, query, pool, listener, by.context.sampling())


async def answer_in_pieces(prepared: Prepared, put: Callable[[str], None], max_cost: float | None = None) -> Outcome:
    """Answer a question and pass on the answer piece by piece; see `answer`."""
    pieces = Pieces(put)
    outcome = await answer(prepared, pieces, max_cost)
    pieces.finish(outcome.answer)
    return outcome


@contextmanager
def saying_more(opened: Opened) -> Iterator[None]:
    """Say more of a pool that could not answer.

    Raises:
        InputError: It was closed meanwhile.
        NoAnswerError: No model could answer; where no model has a key, it names the pool that needs none.
        BudgetError: No model could answer, and none may be called any more; see `Budget.overrun`.
    """
    try:
        yield
    except CancelledError:
        raise InputError(CLOSED) from None
    except NoAnswerError as error:
        opened.account.check()
        raise offer_the_offline_pool(error, opened.config, opened.models) from error


# Who would answer, and why: decisions without an answer, and a decision as plain data.

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
