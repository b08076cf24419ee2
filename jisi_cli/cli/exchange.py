"""What `ask`, `chat` and `route` say of answers: which conversation goes on, what is said and kept, the exit code."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jisi_cli.cli.output import Output, count, one_line, paid
from jisi_cli.errors import ExitCode, InputError
from jisi_cli.printable import printable
from jisi_cli.types import Answer, cut_off_words

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from jisi_cli.history.conversations import Messages, Talk
    from jisi_cli.jisi import Jisi
    from jisi_cli.methods.answers import GivenAnswer
    from jisi_cli.methods.protocol import Outcome


def begin_talk(name: str | None, *, goes_on: bool, store: bool) -> Talk:
    """Return the conversation that is meant: a named one, the last one, or a new one.

    Raises:
        InputError: Both or none of them is meant, or there is no such conversation.
    """
    from jisi_cli.history.conversations import Talk

    if goes_on and name is not None:
        raise InputError("-c continues the last conversation and --conversation another; give one of them")
    return Talk(name, goes_on=goes_on, store=store)


def remember(
    talk: Talk, asked: Messages, outcome: Outcome, jisi: Jisi, out: Output, system: str | None = None
) -> str | None:
    """Keep a question and its answer, for later turns and for feedback; where that fails, the answer is there anyway.

    Args:
        talk: The conversation that it is a turn of.
        asked: All messages that were sent.
        outcome: How it was answered.
        jisi: Who answered.
        out: Told what cannot be kept.
        system: The system message of this turn, where one was given.

    Returns:
        The answer's name; None where it is not remembered.
    """
    try:
        talk.add(asked[-1]["content"], outcome.answer.text, system)
    except InputError as error:
        out.warn(f"this turn is not kept: {error}")
        return None
    name = jisi.remember(asked, outcome)
    if name is not None:
        out.detail(f"conversation {talk.name}, answer {name}")
    return name


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


# What several models answered, side by side where the terminal has room.

_LEAST = 36
"""Characters that a column of prose needs to be read."""
_GAP = 3


def show_answers(out: Output, answers: Sequence[GivenAnswer], *, stderr: bool) -> None:
    """Write what each model answered: in columns on a terminal wide enough, else one below the other.

    Args:
        out: The sink.
        answers: The answers, in the order in which they are shown.
        stderr: Whether they go beside the data; else they are the data.
    """
    if out.stderr_is_terminal if stderr else out.stdout_is_terminal:
        console = out.console(stderr=stderr)
        console.print()
        for row in _rows(answers, console.width):
            console.print(_columns(row, console))
        return
    for answer in answers:
        out.text(f"--- {heading(answer)}\n{_text(answer)}\n", stderr=stderr)


def heading(answer: GivenAnswer) -> str:
    """Say who answered, whether it is the answer that was given, and what was promised of the model."""
    return " · ".join((one_line(answer.call.model), *answer.facts()))


def _text(answer: GivenAnswer) -> str:
    if not answer.call.ok:
        return printable(answer.call.error or "it returned nothing").strip()
    text = printable(answer.call.text).strip("\n")
    return text if answer.call.cut_off is None else f"{text}\n[cut off {cut_off_words(answer.call.cut_off)}]"


def _rows(answers: Sequence[GivenAnswer], width: int) -> Iterator[Sequence[GivenAnswer]]:
    """Yield the answers that stand beside each other, about as many in each row."""
    most = max(1, (width + _GAP) // (_LEAST + _GAP))
    rows = -(-len(answers) // most)
    size = -(-len(answers) // max(1, rows))
    return (answers[start : start + size] for start in range(0, len(answers), max(1, size)))


def _columns(answers: Sequence[GivenAnswer], console: Console) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True, show_edge=False, padding=(0, _GAP, 0, 0))
    for answer in answers:
        table.add_column(_head(answer), ratio=1, overflow="fold")
    table.add_row(*map(_body, answers))
    table.add_row(*(Text() for _ in answers))
    return table


def _head(answer: GivenAnswer) -> RenderableType:
    from rich.text import Text

    colour = "red" if not answer.call.ok else {True: "green", False: "yellow", None: "dim"}[answer.agrees]
    return Text.assemble((one_line(answer.call.model), "bold"), "\n", (" · ".join(answer.facts()), colour))


def _body(answer: GivenAnswer) -> RenderableType:
    from rich.text import Text

    from jisi_cli.cli.live import markdown

    return markdown(_text(answer)) if answer.call.ok else Text(_text(answer))
