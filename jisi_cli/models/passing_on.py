"""The pieces of a response on their way to whoever waits for the answer."""

from __future__ import annotations

from jisi_cli.models.reasoning import AnswerStream
from jisi_cli.types import OnText


class PassingOn:
    """Takes the pieces of a response and passes those of its answer on.

    Args:
        on_text: Receives the answer.
        answer: Finds it in the response.
    """

    def __init__(self, on_text: OnText, answer: AnswerStream) -> None:
        self._on_text, self._answer = on_text, answer
        self._taken = self._known = 0

    def __call__(self, piece: str) -> None:
        """Take a piece."""
        new = piece[self._known :]
        self._known = max(0, self._known - len(piece))
        self._taken += len(new)
        if new and (shown := self._answer.feed(new)):
            self._on_text(shown)

    def begin_again(self) -> None:
        """Take what comes next from the beginning of the response, and nothing of it twice."""
        self._known = self._taken
