"""What `ask` and `chat` share of conversations: which one goes on, and remembering what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError
from jisi_cli.history.conversations import Messages, Talk

if TYPE_CHECKING:
    from jisi_cli.jisi import Jisi
    from jisi_cli.methods.protocol import Outcome


def begin_talk(name: str | None, *, goes_on: bool, store: bool) -> Talk:
    """Return the conversation that is meant: a named one, the last one, or a new one.

    Raises:
        InputError: Both or none of them is meant, or there is no such conversation.
    """
    if goes_on and name is not None:
        raise InputError("-c goes on with the last conversation and --conversation with another; give one of them")
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
