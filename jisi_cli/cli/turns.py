"""What a person says in a conversation, turn by turn: at a terminal with editing and history, else line by line."""

from __future__ import annotations

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
        if self.is_person:
            _offer(past)

    def next(self) -> str | None:
        """Return the next turn that is not empty; None at the end of standard input, and after /exit.

        Raises:
            InputError: It is not text, or too long.
            KeyboardInterrupt: A person pressed Ctrl-C, which gives up what was typed.
        """
        while (line := self._read("> ")) is not None:
            said = line.strip()
            if said in _ENDS:
                return None
            if said.startswith(FENCE):
                said = self._until_fence(said.removeprefix(FENCE)).strip()
            if said:
                return said
        return None

    def _until_fence(self, line: str | None) -> str:
        """Return the lines of a turn that a fence has opened; the end of standard input closes it, too."""
        lines, length = [], 0
        while line is not None and not line.rstrip().endswith(FENCE):
            lines.append(line)
            length += len(line)
            if length > _MOST:
                raise InputError(f"a turn holds more than {_MOST >> 20} million characters; shorten it")
            line = self._read("… ")
        return "\n".join([*lines, *([] if line is None else [line.rstrip().removesuffix(FENCE)])])


def _typed(prompt: str) -> str | None:
    try:
        return _checked(input(prompt))
    except EOFError:
        return None
    except UnicodeError:
        raise InputError("what was typed is not UTF-8 text; check the terminal's character set") from None


def _piped(prompt: str) -> str | None:
    try:
        line = "" if sys.stdin is None else _checked(sys.stdin.readline(_MOST))
    except UnicodeError:
        raise InputError("standard input is not UTF-8 text; pipe text, not binary data") from None
    return line.removesuffix("\n") if line else None


def _checked(line: str) -> str:
    """Return a line, which costs money to ask.

    Raises:
        UnicodeError: It holds halves of characters, which Python makes of bytes that are no text in some locales.
    """
    line.encode()
    return line


def _offer(past: Sequence[str]) -> None:
    """Let `input` edit lines and bring back what was asked before; nothing of it is written by readline."""
    with suppress(ImportError):  # Windows, whose terminal edits lines itself
        import readline

        readline.clear_history()
        for line in past:
            readline.add_history(line)
