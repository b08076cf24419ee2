"""What a person says in a conversation, turn by turn: at a terminal with editing and history, else line by line."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError

FENCE = '"""'
"""Begins and ends a turn of several lines."""
_MOST = 1 << 26
"""Characters of a turn."""
_ENDS = ("/exit", "/quit")


class Turns:
    """Reads turns from standard input.

    Args:
        out: The sink.
        past: What was asked before, which the arrow keys bring back at a terminal; the latest last.

    Attributes:
        is_person: Whether a person types, who sees the answers, too.
    """

    def __init__(self, out: Output, past: Sequence[str] = ()) -> None:
        self.is_person = sys.stdin is not None and sys.stdin.isatty() and out.stdout_is_terminal
        self._read: Callable[[str], str | None] = _typed if self.is_person else _piped
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # a turn is checked as a whole, not line by line
        if self.is_person:
            _offer(past)

    def next(self) -> str | None:
        """Return the next turn that is not empty; None at the end of standard input, and after /exit.

        Raises:
            InputError: It is not text, or too long; all its lines have been read.
            KeyboardInterrupt: A person pressed Ctrl-C, which gives up what was typed.
        """
        while (line := self._read("> ")) is not None:
            said = line.strip()
            if said in _ENDS:
                return None
            if said.startswith(FENCE):
                said = self._until_fence(said.removeprefix(FENCE)).strip()
            if said:
                return self._checked(said)
        return None

    def _until_fence(self, line: str | None) -> str:
        """Return the lines of a turn that a fence has opened; the end of standard input closes it, too."""
        lines, length = [], 0
        while line is not None and not line.rstrip().endswith(FENCE):
            length += len(line) + 1
            if length <= _MOST:
                lines.append(line)
            elif not self.is_person:  # whose other lines would become turns of their own
                break
            line = self._read("… ")
        if length > _MOST:
            raise _too_long()
        return "\n".join([*lines, *([] if line is None else [line.rstrip().removesuffix(FENCE)])])

    def _checked(self, said: str) -> str:
        """Return a turn, which costs money to ask.

        Raises:
            InputError: It holds bytes that are not text, which Python reads as halves of characters.
        """
        try:
            said.encode()
        except UnicodeEncodeError:
            typed = "what was typed is not UTF-8 text, and nothing of it was asked; check the terminal's character set"
            piped = "standard input is not UTF-8 text; pipe text, not binary data"
            raise InputError(typed if self.is_person else piped) from None
        return said


def _typed(prompt: str) -> str | None:
    try:
        return input(prompt)
    except EOFError:
        return None


def _piped(prompt: str) -> str | None:
    line = "" if sys.stdin is None else sys.stdin.readline(_MOST)
    if len(line) == _MOST:  # what is left of it would be a turn of its own
        raise _too_long()
    return line.removesuffix("\n") if line else None


def _too_long() -> InputError:
    return InputError(f"a turn holds more than {_MOST >> 20} million characters; shorten it")


def _offer(past: Sequence[str]) -> None:
    """Let `input` edit lines and bring back what was asked before; nothing of it is written by readline."""
    with suppress(ImportError):  # Windows, whose terminal edits lines itself
        import readline

        readline.clear_history()
        for line in past:
            readline.add_history(line)
