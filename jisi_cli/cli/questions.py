"""Questions from the command line, from standard input and from files, and lines that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError
from jisi_cli.files import open_plain, read_plain
from jisi_cli.formats.issues import ImportIssue

# Questions from the command line, from standard input and from files.


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


# Lines that an importer could not use: counted and named by number, the first few with the reason.


_SHOWN = 10


class Problems:
    """Counts what an importer could not use, shows the first few, names the rest, or stops at the first.

    Args:
        out: Where to show them; all of them when it is verbose.
        strict: Stop at the first line that is skipped.
    """

    def __init__(self, out: Output, *, strict: bool) -> None:
        self._out, self._strict = out, strict
        self._shown = 0
        self._further: dict[str, set[int]] = {}
        self.skipped = 0

    def __call__(self, problem: ImportIssue) -> None:
        """Take note of one problem."""
        if problem.note:
            self._out.note(f"note: {problem}")
            return
        if self._strict:
            raise InputError(f"{problem} (--strict)")
        if problem.doubt:
            self._out.warn(str(problem))
            return
        self.skipped += 1
        if self._shown < _SHOWN or self._out.verbose or problem.line is None:
            self._shown += 1
            self._out.warn(str(problem))
        else:
            self._further.setdefault(problem.source, set()).add(problem.line)

    def summarise(self) -> None:
        """Say how many lines were skipped in all, and which of them were not shown."""
        if self.skipped <= _SHOWN:
            return
        self._out.warn(f"{self.skipped:,} lines were skipped; {self._shown:,} of them are shown above")
        for source, lines in self._further.items():
            self._out.warn(f"{source}: skipped lines, -v says why: {', '.join(_ranges(sorted(lines)))}")


def _ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Yield ascending numbers as `4` and `7-9`."""
    # Within a run of neighbours, number minus place stays the same.
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        found = [number for _, number in run]
        yield str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"
