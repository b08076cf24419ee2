"""What `ask` and `chat` share of conversations: which one goes on, and keeping what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError
from jisi_cli.history.conversations import Talk

if TYPE_CHECKING:
    from jisi_cli.methods.protocol import Outcome


def begin_talk(name: str | None, *, goes_on: bool, store: bool) -> Talk:
    """Return the conversation that is meant: a named one, the last one, or a new one.

    Raises:
        InputError: Both or none of them is meant, or there is no such conversation.
    """
    if goes_on and name is not None:
        raise InputError("-c goes on with the last conversation and --conversation with another; give one of them")
    return Talk(name, goes_on=goes_on, store=store)


def remember(talk: Talk, content: object, system: str | None, outcome: Outcome, out: Output) -> None:
    """Keep a question and its answer; where that fails, the answer is there all the same."""
    try:
        talk.add(content, outcome.answer.text, system)
    except InputError as error:
        out.warn(f"this turn is not kept: {error}")
