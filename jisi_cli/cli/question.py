"""The question of a command: its argument, and what is on standard input if that was meant for it.

`git diff | jisi ask "Review this."` adds the change to the question; `while read q; do jisi ask "$q"; done < file` must
not add the rest of the file to the first question. So beside a question that was given:

- a pipe or a socket is read to its end: nothing tells whether more is to come, so that a wait is told of, and cut short
  by nothing;
- a file is read where it stands at its beginning; one that something has begun to read is left alone;
- a terminal and a device, as /dev/null is, are not read.

The loop over a pipe (`cat file | while read q; …`) cannot be told from the first case; what was added then looks like
more questions, and a warning says so before a model is called.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jisi_cli.cli.output import Output, count
from jisi_cli.errors import InputError

if TYPE_CHECKING:
    from jisi_cli.formats.record import Question

_PATIENCE = 2.0
"""Seconds without a sign of life after which a person is told what is waited for."""
_MOST = 1 << 26
"""Bytes of a question."""
_MOST_SCHEMA = 1 << 20
"""Bytes of a JSON schema."""
_PIECE = 1 << 16
_A_QUESTION = re.compile(r"""[?？][\s"'”’)\]]*\Z|\A\{.*"(?:query|question|prompt)"\s*:""")


def read_question(argument: str | None, out: Output, *, may_be_empty: bool = False) -> str:
    """Return the question: the argument with standard input after it; `-` or no argument takes standard input alone.

    Args:
        argument: The question on the command line.
        out: Told what is waited for, what is left alone, and what was hardly meant for this question.
        may_be_empty: Whether something else than words can be the question.

    Raises:
        InputError: There is no question, or standard input is not text.
    """
    if argument is None or argument == "-":
        question = _decoded(_all_of(sys.stdin, out)).strip()
    else:
        question = checked_text(argument, "the question").strip()
        # An empty one is a mistake, such as an empty line of a loop, and no reason to take the rest of its input.
        context = _decoded(_context(sys.stdin, out)).strip() if question else ""
        _warn_of_questions(question, context, out)
        question = "\n\n".join(part for part in (question, context) if part)
    if not question and not may_be_empty:
        raise InputError('the question is empty; write it in quotes (jisi ask "...") or pipe it in')
    return question


def read_batch(source: Path, out: Output, *, strict: bool, columns: Sequence[str] = ()) -> tuple[list[Question], int]:
    """Return the questions of a file, and how many of its lines cannot be used.

    Args:
        source: The file; `-` for JSON lines on standard input.
        out: Told of lines that cannot be used.
        strict: Stop at the first of them.
        columns: Which columns hold what, as `--map` says it.

    Raises:
        InputError: The file cannot be read, or has no question in it.
    """
    from jisi_cli.files import is_stream, read_lines
    from jisi_cli.formats.column_map import ColumnMap
    from jisi_cli.formats.questions import read_questions
    from jisi_cli.user import ImportIssues

    issues = ImportIssues(out, strict=strict)
    rows = read_lines(source) if is_stream(source) else source
    questions = list(read_questions(rows, issues, columns=ColumnMap.parse(columns)))
    issues.summarise()
    if not questions:
        where = "standard input" if str(source) == "-" else str(source)
        raise InputError(f"{where}: no question in it; each row needs a `question`, or `messages`")
    return questions, issues.skipped


def with_pictures(text: str, paths: Sequence[Path]) -> list[Mapping[str, Any]]:
    """Return a question with pictures, as the parts of a message.

    Raises:
        InputError: One of them cannot be read, or is no picture.
    """
    from jisi_cli.conversation import MOST_PICTURE_BYTES, picture_part
    from jisi_cli.files import read_plain

    parts: list[Mapping[str, Any]] = [{"type": "text", "text": text}] if text else []
    for path in paths:
        try:
            parts.append(picture_part(read_plain(path, MOST_PICTURE_BYTES), f"--attach: {path}"))
        except OSError as error:
            raise InputError(f"--attach: {path}: {error.strerror or error}") from None
    return parts


def read_schema(path: Path) -> dict[str, Any]:
    """Return the JSON schema in a file.

    Raises:
        InputError: It cannot be read, or holds none.
    """
    import json

    from jisi_cli.answer_format import format_of
    from jisi_cli.files import read_plain

    try:
        schema = json.loads(read_plain(path, _MOST_SCHEMA).decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"--schema: {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"--schema: {path} is not JSON: {error}") from None
    format_of(schema, f"--schema: {path}")
    return dict(schema)


def checked_text(text: str, what: str) -> str:
    """Return text from the command line.

    Raises:
        InputError: The shell passed bytes that are not text.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} is not UTF-8 text; check the terminal's character set") from None
    return text


def _all_of(stream: TextIO | None, out: Output) -> bytes:
    """Return all that is on standard input, which is asked for; nothing of a terminal."""
    if stream is None or stream.closed or stream.isatty():
        return b""
    return _to_the_end(stream, out)


def _context(stream: TextIO | None, out: Output) -> bytes:
    """Return what is on standard input beside a question that was given."""
    if stream is None or stream.closed or stream.isatty():
        return b""
    place = _descriptor(stream)
    if place is None:
        return _to_the_end(stream, out)
    try:
        found = os.fstat(place)
        begun = os.lseek(place, 0, os.SEEK_CUR) if stat.S_ISREG(found.st_mode) else 0
    except OSError:
        return b""
    if begun:
        if begun < found.st_size:
            out.note(
                "standard input is a file that something else has begun to read, as a loop over its lines does, so it "
                'is left alone; `cat | jisi ask "..."` adds the rest of it to the question'
            )
        return b""
    is_data = any(kind(found.st_mode) for kind in (stat.S_ISREG, stat.S_ISFIFO, stat.S_ISSOCK))
    return _to_the_end(stream, out) if is_data else b""


def _to_the_end(stream: TextIO, out: Output) -> bytes:
    """Return the bytes of a stream.

    Raises:
        InputError: There are too many of them.
    """
    place, content, told = _descriptor(stream), bytearray(), False
    while True:
        if not told and place is not None and not _has_something(place):
            out.note("reading standard input until it ends; `< /dev/null` if nothing is to be added to the question")
            told = True
        # Past the buffer of Python, since it cannot be known whether more than it holds can be read.
        piece = stream.buffer.read(_PIECE) if place is None else os.read(place, _PIECE)
        if not piece:
            return bytes(content)
        content += piece
        if len(content) > _MOST:
            raise InputError(f"standard input holds more than {_MOST >> 20} MiB, which no model reads; shorten it")


def _has_something(place: int) -> bool:
    """Whether a stream has bytes or has ended; where the system cannot tell, it seems so."""
    import select

    try:
        return bool(select.select([place], [], [], _PATIENCE)[0])
    except (OSError, ValueError):  # a pipe on Windows
        return True


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("standard input is not UTF-8 text; pipe text, not binary data") from None


def _warn_of_questions(question: str, context: str, out: Output) -> None:
    """Warn where what was added looks like more questions than context."""
    lines = [line.strip() for line in context.splitlines() if line.strip()]
    found = sum(_A_QUESTION.search(line) is not None for line in lines)
    least = 1 if _A_QUESTION.search(question) else 2
    if found >= least and 2 * found > len(lines):
        out.warn(
            f"standard input was added to the question, and looks like {count(found, 'more question')}: in a loop, "
            "write `< /dev/null` after the question; to ask them all, give them to --input"
        )
