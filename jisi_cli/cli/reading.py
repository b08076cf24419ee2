"""Questions from the command line, from standard input and from files."""

from __future__ import annotations

import sys
from pathlib import Path

from jisi_cli.errors import InputError
from jisi_cli.input_files import open_plain, read_plain

_MOST_BYTES = 16 * 2**20


def read_question(argument: str | None) -> str:
    """Return the question: the argument with standard input behind it; `-` or no argument takes stdin alone.

    Raises:
        InputError: There is no question, or stdin is not text.
    """
    given = checked_text(argument or "", "the question").strip() if argument != "-" else ""
    piped = _piped_text()
    question = "\n\n".join(part for part in (given, piped.strip()) if part)
    if not question:
        raise InputError('the question is empty; write it in quotes (jisi ask "...") or pipe it in')
    return question


def checked_text(text: str, what: str) -> str:
    """Return text from the command line.

    Raises:
        InputError: The shell handed over bytes that are no text.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} is not UTF-8 text; check the terminal's character set") from None
    return text


def read_lines(source: Path) -> list[bytes]:
    """Return the lines of a file, or of standard input for `-`.

    Raises:
        InputError: The file cannot be read, or standard input is closed.
    """
    if str(source) == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed; pipe questions in, or name a file of them")
        return sys.stdin.buffer.readlines()
    try:
        with open_plain(source) as file:
            return file.read().splitlines()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); check the path") from error


def read_text(path: Path) -> str:
    """Return the text of a small file.

    Raises:
        InputError: It cannot be read as UTF-8.
    """
    try:
        return read_plain(path, _MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _piped_text() -> str:
    stream = sys.stdin
    if stream is None or stream.closed or stream.isatty():
        return ""
    try:
        return stream.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("standard input is not UTF-8 text; pipe text, not binary data") from None
