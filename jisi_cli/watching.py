"""Watching how a question is answered: its calls, the requests that they make, and the final answer piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from jisi_cli.methods.protocol import Listener, Silent
from jisi_cli.types import Answer, whole_characters

if TYPE_CHECKING:
    from jisi_cli.models.call import CallEvent


class Watcher(Listener, Protocol):
    """A listener that is also told of the requests of each call."""

    def called(self, event: CallEvent) -> None:
        """A request has gone out, waits, or goes out again."""
        ...


watcher_in_force: ContextVar[Watcher | None] = ContextVar("watcher_in_force", default=None)
"""Who watches the question that a call belongs to; the pool is shared by many questions."""


class Pieces(Silent):
    """A watcher that passes on the final answer piece by piece.

    Args:
        put: Receives each piece, on another thread.

    Attributes:
        model: Who is writing; None before anyone is.
    """

    streams = True

    def __init__(self, put: Callable[[str], None]) -> None:
        self._put, self._text = put, ""
        self.model: str | None = None

    def called(self, event: CallEvent) -> None:
        """Start over when a request is sent again."""
        if event.kind == "retry" and event.role in ("aggregator", "expert"):
            self.writing(event.model)

    def writing(self, model: str) -> None:
        """Set apart what another model, or another attempt, had begun."""
        self.model = model
        if self._text:
            self._put("\n\n")
        self._text = ""

    def text(self, piece: str) -> None:
        """Pass on a piece."""
        self._text += piece
        self._put(piece)

    def finish(self, answer: Answer) -> None:
        """Pass on the answer where something else, or nothing, was streamed."""
        if whole_characters(self._text) != answer.text:
            self.writing(answer.model)
            self.text(answer.text)
