"""What is said on stderr of an answer: what went wrong on the way, one line about how it came about, the exit code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jisi_cli.cli.output import Output, count, paid
from jisi_cli.errors import ExitCode
from jisi_cli.types import Answer, cut_off_words

if TYPE_CHECKING:
    from jisi_cli.jisi import Jisi
    from jisi_cli.methods.protocol import Outcome


def show_footer(outcome: Outcome, seconds: float, out: Output) -> None:
    """Say whether a question resembles nothing in the bank, and how its answer came about."""
    strange = None if outcome.decision is None else outcome.decision.strangeness
    if strange is not None:
        out.note(strange)
    out.note(_footer(outcome, seconds))


def warn_of_failures(outcome: Outcome, out: Output) -> None:
    """Warn of calls that failed, answers that were cut off, and what did not work besides."""
    for call in outcome.calls:
        if not call.ok:
            out.warn(f"{call.model} did not answer: {call.error or 'it returned nothing'}")
        elif call.cut_off is not None:
            out.warn(f"the answer of {call.model} was cut off {cut_off_words(call.cut_off)}")
    for words in outcome.missing:
        out.warn(words)


def exit_code_of(jisi: Jisi, outcome: Outcome, out: Output) -> ExitCode:
    """Return how an answer ends the command, and say so where a budget stopped something."""
    overrun = jisi.account.overrun
    if overrun is not None:
        out.warn(overrun)
        return ExitCode.BUDGET
    if outcome.stopped_by_budget:
        out.warn("the budget was too small for every call that was wanted; raise --max-cost")
        return ExitCode.BUDGET
    return ExitCode.OK


def _footer(outcome: Outcome, seconds: float) -> str:
    """Return one line: how sure, who answered, who aggregated whom, what was promised, and what it took."""
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
    spent = [calls, count(tokens, "token"), _paid_words(outcome.calls), f"{seconds:.1f} s"]
    return " · ".join([*_trust_words(outcome), who, *_promise_words(outcome), *spent])


def _trust_words(outcome: Outcome) -> list[str]:
    from jisi_cli.methods.answers import in_plain_words

    words = in_plain_words(outcome.confidence, outcome.answers)
    return [] if words is None else [words]


def _promise_words(outcome: Outcome) -> list[str]:
    """Say what was promised of the model that answered, where nothing better is known of the answer itself."""
    from jisi_cli.methods.answers import promise_of, promise_words

    promised = None if outcome.confidence is not None else promise_of(outcome)
    return [] if promised is None else [promise_words(promised)]


def _paid_words(calls: Sequence[Answer]) -> str:
    known = [call.cost_usd for call in calls if call.cost_usd is not None]
    return paid(math.fsum(known), len(calls) - len(known))
