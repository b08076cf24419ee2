"""Lines for people: broken between words to the width of the terminal that shows them."""

from __future__ import annotations

import os
import unicodedata
from typing import IO

_NARROWEST = 20
"""Columns; where there are fewer, or none are told, lines are as long as they are."""


def columns_of(stream: IO[str]) -> int | None:
    """Return how many columns a terminal has: `COLUMNS`, or what it says itself; None where nothing says so."""
    told = os.environ.get("COLUMNS", "")
    try:
        columns = int(told) if told.isdecimal() and len(told) < 6 else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None
    return columns if columns >= _NARROWEST else None


def wrapped(line: str, columns: int | None) -> str:
    """Return a line broken between words.

    A word that is longer than the terminal is wide, such as a path, stays whole for those who copy it. Joined with
    spaces, the lines are the line again.

    Args:
        line: Words with one space between them.
        columns: How wide lines may be; None for any width.
    """
    if columns is None or width(line) <= columns:
        return line
    lines: list[str] = []
    room = 0
    for word in line.split(" "):
        needed = width(word) + 1
        if not lines or needed > room:
            lines.append(word)
            room = columns - needed + 1
        else:
            lines[-1] += f" {word}"
            room -= needed
    return "\n".join(lines)


def width(text: str) -> int:
    """Return how many columns text takes: two for a wide character, as of Chinese, none for an accent on another."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
