"""Conversations that can be gone on with: what was said, turn by turn."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.history.table import Table, from_json

MOST = 1000
"""Conversations that are kept."""

Messages = Sequence[Mapping[str, Any]]
"""Messages in OpenAI's shape, as `read_conversation` takes them."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """A question with its answer, and the system message where one was given with it."""

    messages: Messages
    system: str | None


class Talk:
    """One conversation that goes on, kept for later or in memory alone.

    What another process has added meanwhile is part of it from the next turn on: each turn, a question with its answer,
    is one row, so that none is lost.

    Args:
        name: Which one; None begins a new one, or with `goes_on` takes the one that was written last.
        goes_on: Go on with the last one.
        store: False writes nothing; what was kept before is still read.

    Raises:
        InputError: There is no such conversation, or what is kept cannot be read.

    Attributes:
        name: By which it is found again.
        is_kept: Whether there is anything to find.
    """

    def __init__(self, name: str | None = None, *, goes_on: bool = False, store: bool = True) -> None:
        self._table, self._store = Table("conversations", MOST), store
        self._unwritten: list[_Turn] = []
        if goes_on:
            name = self._last()
        elif name is not None and not self._table.select(["id"], "WHERE name = ? LIMIT 1", (name,)):
            raise InputError(f"there is no conversation {name[:40]!r}; `jisi chat --list` names those that are kept")
        self.is_kept = name is not None
        self.name = name or secrets.token_hex(4)

    def messages(self, content: object, system: str | None = None) -> list[Mapping[str, Any]]:
        """Return all that was said, and a new question at the end.

        Args:
            content: The question: text, or parts.
            system: The system message from here on; None for that of the turns before.

        Raises:
            InputError: What is kept cannot be read.
        """
        turns = [*self._kept(), *self._unwritten]
        instructions = [turn.system for turn in (*turns, _Turn([], system)) if turn.system is not None]
        leading = [{"role": "system", "content": text} for text in instructions[-1:]]
        said = [message for turn in turns for message in turn.messages]
        return [*leading, *said, {"role": "user", "content": content}]

    def add(self, content: object, answer: str, system: str | None = None) -> None:
        """Add a turn; one that cannot be written is still said, and written with a later one.

        Args:
            content: What was asked, as `messages` got it.
            answer: The answer.
            system: As `messages` got it.

        Raises:
            InputError: It cannot be written.
        """
        turn: Messages = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
        self._unwritten.append(_Turn(turn, system))
        while self._store and self._unwritten:
            first = self._unwritten[0]
            self._table.add({"name": self.name, "system": first.system, "messages": json.dumps(first.messages)})
            del self._unwritten[0]
            self.is_kept = True

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def _kept(self) -> list[_Turn]:
        """Return the turns that are kept."""
        if not self.is_kept:
            return []
        rows = self._table.select(["system", "messages"], "WHERE name = ? ORDER BY id", (self.name,))
        turns = []
        for system, text in rows:
            turn = from_json(text or "")
            if not isinstance(turn, list) or not all(isinstance(message, dict) for message in turn):
                raise self._table.damaged("a turn holds no messages")
            turns.append(_Turn(turn, system))
        return turns

    def _last(self) -> str:
        found = self._table.select(["name"], "ORDER BY id DESC LIMIT 1")
        if not found or found[0][0] is None:
            raise InputError("there is no conversation to continue; ask without -c first (--no-store keeps none)")
        return str(found[0][0])


def kept_conversations(most: int) -> list[dict[str, Any]]:
    """Return the conversations that are kept, the one written last first: name, time, turns, first question.

    Args:
        most: How many.

    Raises:
        InputError: They cannot be read.
    """
    table = Table("conversations", MOST)
    try:
        first = (
            "(SELECT messages FROM conversations AS turns WHERE turns.name = conversations.name ORDER BY id LIMIT 1)"
        )
        rows = table.select(
            ["name", "MAX(time)", "COUNT(*)", first], "GROUP BY name ORDER BY MAX(id) DESC LIMIT ?", (most,)
        )
    finally:
        table.close()
    if not all(isinstance(value, str) for name, time, *_ in rows for value in (name, time)):
        raise table.damaged("a turn has no name or no time")
    return [
        {"conversation": name, "time": time, "turns": turns, "question": first_words(from_json(text or ""))}
        for name, time, turns, text in rows
    ]


def past_questions(most: int) -> list[str]:
    """Return what was asked last in any conversation, the latest last, one line each.

    Raises:
        InputError: It cannot be read.
    """
    table = Table("conversations", MOST)
    try:
        rows = table.select(["messages"], "ORDER BY id DESC LIMIT ?", (most,))
    finally:
        table.close()
    questions = [first_words(from_json(text or "")) for (text,) in reversed(rows)]
    return [question for question in questions if question and question.isprintable()]


def first_words(turn: object) -> str:
    """Return the text of a turn's question; empty where it has none."""
    if not isinstance(turn, list) or not turn or not isinstance(turn[0], dict):
        return ""
    content = turn[0].get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))
