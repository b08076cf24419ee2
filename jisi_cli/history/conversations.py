"""Conversations that can be gone on with: what was said, turn by turn."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.history.table import Table, from_json

MOST = 1000
"""Conversations that are kept."""

Messages = Sequence[Mapping[str, Any]]
"""Messages in OpenAI's shape, as `read_conversation` takes them."""


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
    """

    def __init__(self, name: str | None = None, *, goes_on: bool = False, store: bool = True) -> None:
        self._table, self._store = Table("conversations", MOST), store
        self._said: list[Mapping[str, Any]] = []
        self._system: str | None = None
        if goes_on:
            name = self._last()
        elif name is not None and not self._table.select(["id"], "WHERE name = ? LIMIT 1", (name,)):
            raise InputError(f"there is no conversation {name[:40]!r}; `jisi chat --list` names those that are kept")
        self._is_new = name is None
        self.name = name or secrets.token_hex(4)

    def messages(self, content: object, system: str | None = None) -> list[Mapping[str, Any]]:
        """Return all that was said, and a new question at the end.

        Args:
            content: The question: text, or parts.
            system: The system message from here on; None for that of the turns before.

        Raises:
            InputError: What is kept cannot be read.
        """
        said, before = self._kept()
        instructions = system if system is not None else before
        leading = [] if instructions is None else [{"role": "system", "content": instructions}]
        return [*leading, *said, *self._said, {"role": "user", "content": content}]

    def add(self, content: object, answer: str, system: str | None = None) -> None:
        """Add a turn.

        Args:
            content: What was asked, as `messages` got it.
            answer: The answer.
            system: As `messages` got it.

        Raises:
            InputError: It cannot be kept.
        """
        turn: list[Mapping[str, Any]] = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
        if not self._store:
            self._said += turn
            self._system = system if system is not None else self._system
            return
        self._table.add({"name": self.name, "system": system, "messages": json.dumps(turn)})
        self._is_new = False

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def _kept(self) -> tuple[list[Mapping[str, Any]], str | None]:
        """Return the messages that are kept, and the last system message."""
        if self._is_new:
            return [], self._system
        rows = self._table.select(["system", "messages"], "WHERE name = ? ORDER BY id", (self.name,))
        said: list[Mapping[str, Any]] = []
        system = None
        for instructions, text in rows:
            turn = from_json(text or "")
            if not isinstance(turn, list) or not all(isinstance(message, dict) for message in turn):
                raise self._table.damaged("a turn holds no messages")
            said += turn
            system = instructions if instructions is not None else system
        return said, self._system if self._system is not None else system

    def _last(self) -> str:
        found = self._table.select(["name"], "ORDER BY id DESC LIMIT 1")
        if not found or found[0][0] is None:
            raise InputError("there is no conversation to go on with; ask without -c first (--no-store keeps none)")
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
