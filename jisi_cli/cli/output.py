"""The only place that writes to the terminal: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from jisi_cli.cli.layout import BLOCKS, Picture, columns_of, draw_table, wrapped
from jisi_cli.copies import as_named
from jisi_cli.errors import InputError
from jisi_cli.plain_json import plain_json
from jisi_cli.printable import STEERING, printable
from jisi_cli.types import format_dollars, whole_characters

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST_NOTE = 10_000
"""Characters of a note, which may quote what someone else wrote."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


def one_line(text: str, limit: int | None = None) -> str:
    """Return printable text on one line, shortened with an ellipsis to at most `limit` characters."""
    line = " ".join(printable(text).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        title: Its heading.
        right: Whether numbers are aligned at the right.
        shrink: Whether its text may be shortened where the terminal is narrow.
        names: Whether it says what a row is about, as the first column does; such columns come first.
    """

    title: str
    right: bool = False
    shrink: bool = False
    names: bool = False


class Output:
    """Where a command writes.

    Args:
        quiet: Drop notes and progress; warnings and errors stay.
        verbose: Show details too.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose

    @property
    def stdout_is_terminal(self) -> bool:
        """Whether a person reads stdout."""
        return _is_terminal(sys.stdout)

    @property
    def stderr_is_terminal(self) -> bool:
        """Whether a person reads stderr."""
        return _is_terminal(sys.stderr)

    @property
    def moves(self) -> bool:
        """Whether stderr may show what moves, such as progress: that takes escape codes, which NO_COLOR forbids."""
        return self.stderr_is_terminal and not self.quiet and not _is_without_escapes()

    def console(self, *, stderr: bool = False) -> Console:
        """Return a Rich console for a terminal; with NO_COLOR it styles nothing."""
        from rich.console import Console

        # Text comes from models, banks and files: nothing in it is markup or the name of an emoji.
        return Console(
            stderr=stderr,
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=False,
            color_system=None if _is_without_escapes() else "auto",
        )

    def data(self, text: str) -> None:
        """Write text and a line's end, without what steers a terminal; what stdout's character set lacks is `?`."""
        line = printable(as_named(text)) + "\n"
        encoding = _encoding(sys.stdout)
        sys.stdout.write(line.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()

    def sentence(self, text: str) -> None:
        """Write a line of words as data: broken between words on a terminal, a line where it is piped."""
        self.data(wrapped(text, columns_of(sys.stdout)) if self.stdout_is_terminal else text)

    def text(self, text: str, *, stderr: bool) -> None:
        """Write a text of several lines as data or, with `stderr`, beside it, without what steers a terminal."""
        if not stderr:
            self.data(text)
            return
        for line in printable(text).split("\n"):
            self._err_line(line)

    def separate(self) -> None:
        """Write an empty line before or after a table; one that is drawn has its own."""
        if not self.stdout_is_terminal:
            self.data("")

    def json(self, value: object) -> None:
        """Write one JSON document, indented for people when stdout is a terminal."""
        self._json(value, indent=2 if self.stdout_is_terminal else None)

    def json_line(self, value: object) -> None:
        """Write one JSON document on one line."""
        self._json(value, indent=None)

    @property
    def draws(self) -> bool:
        """Whether stdout shows pictures: a terminal whose character set has blocks."""
        return self.stdout_is_terminal and _has(sys.stdout, BLOCKS)

    def table(
        self,
        columns: Sequence[Column],
        rows: Iterable[Sequence[str]],
        *,
        stderr: bool = False,
        picture: Picture | None = None,
    ) -> None:
        """Write a table: drawn on a terminal, with its picture; aligned plain text without any cutting when piped."""
        columns = [replace(column, title=one_line(column.title)) for column in columns]
        cells = [[one_line(cell) for cell in row] for row in rows]
        if self.stderr_is_terminal if stderr else self.stdout_is_terminal:
            drawn = picture if _has(sys.stderr if stderr else sys.stdout, BLOCKS) else None
            draw_table(self.console(stderr=stderr), columns, cells, drawn)
            return
        write = self._err_line if stderr else self.data
        titles = [column.title for column in columns]
        widths = [max(map(len, place)) for place in zip(titles, *cells, strict=True)]
        for row in (titles, *cells):
            padded = (
                cell.rjust(width) if column.right else cell.ljust(width)
                for cell, width, column in zip(row, widths, columns, strict=True)
            )
            write("  ".join(padded).rstrip())

    def note(self, text: str) -> None:
        """Tell something that is not data."""
        if not self.quiet:
            self._err(text)

    def detail(self, text: str) -> None:
        """Tell something that only --verbose asks for."""
        if self.verbose:
            self._err(text)

    def warn(self, text: str) -> None:
        """Tell about something that went wrong and did not stop the command."""
        self._err(f"warning: {text}", style="33")

    def error(self, text: str) -> None:
        """Tell what stopped the command."""
        self._err(f"error: {text}", style="31")

    def show(self, text: str) -> None:
        """Show a person what they are asked about: on stderr, wrapped on a terminal, whatever --quiet says."""
        if not self.stderr_is_terminal:
            self.text(text, stderr=True)
            return
        from rich.text import Text

        with suppress(OSError, ValueError):
            self.console(stderr=True).print(Text(printable(text)))

    def reply(self, prompt: str, longest: int) -> str | None:
        """Return the next line of standard input, its first `longest` characters; None at its end.

        The prompt is shown to a person at a terminal only.

        Raises:
            InputError: It is not text.
        """
        if sys.stdin is None:
            return None
        is_person = sys.stdin.isatty()
        if is_person:
            with suppress(OSError, ValueError):
                sys.stderr.write(self._wrapped(one_line(prompt) + " "))
                sys.stderr.flush()
        line = ""
        try:
            line = rest = sys.stdin.readline(longest)
            while rest and not rest.endswith("\n"):
                rest = sys.stdin.readline(longest)
        except UnicodeDecodeError:
            raise InputError("standard input is not UTF-8 text; pipe text, not binary data") from None
        except OSError:  # the terminal has gone
            return None
        finally:
            if is_person and not line:  # Ctrl-C or Ctrl-D, which end no line
                self._err_line("")
        # Without what steers a terminal, such as a stray arrow key.
        return printable(line.encode("utf-8", "replace").decode("utf-8")).strip() if line else None

    def confirmed(self, question: str) -> bool | None:
        """Ask a person; None where no person can answer."""
        if sys.stdin is None or not sys.stdin.isatty() or not self.stderr_is_terminal:
            return None
        sys.stderr.write(self._wrapped(f"{one_line(question)} [y/N] "))
        sys.stderr.flush()
        answer = ""
        try:
            answer = sys.stdin.readline()
        finally:
            if not answer:  # Ctrl-C or Ctrl-D, which end no line
                self._err_line("")
        return answer.strip().lower() in ("y", "yes")

    def training(self, name: str) -> AbstractContextManager[Callable[[int, int], None] | None]:
        """Show how far the training of a method is, as long as the context is open."""
        from jisi_cli.cli.progress import training_bar

        return training_bar(self, name)

    def _json(self, value: object, indent: int | None) -> None:
        text = whole_characters(json.dumps(plain_json(value), ensure_ascii=False, allow_nan=False, indent=indent))
        if not _encoding(sys.stdout).lower().startswith("utf"):
            # JSON can spell every character in ASCII, so that none is lost where stdout has only few.
            text = _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
        # What JSON itself leaves as it is and a terminal would obey.
        self.data(STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text))

    def _err(self, text: str, style: str | None = None) -> None:
        line = self._wrapped(one_line(as_named(text), _LONGEST_NOTE))
        if style and self.stderr_is_terminal and not _is_without_escapes():
            head, _, rest = line.partition(":")
            line = f"\x1b[1;{style}m{head}:\x1b[0m{rest}"
        self._err_line(line)

    def _wrapped(self, line: str) -> str:
        """Return a line as a terminal shows it, broken between words; one that is piped stays a line."""
        return wrapped(line, columns_of(sys.stderr)) if self.stderr_is_terminal else line

    @staticmethod
    def _err_line(line: str) -> None:
        # A closed stderr must not turn a finished command into a failed one.
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def show_cursor() -> None:
    """Give a terminal its cursor back, which what moves there hides; for a process that ends at once."""
    for stream in (sys.stdout, sys.stderr):
        if _is_terminal(stream):
            with suppress(OSError, ValueError):
                os.write(stream.fileno(), b"\x1b[?25h")


def _encoding(stream: IO[str]) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _has(stream: IO[str], characters: str) -> bool:
    try:
        characters.encode(_encoding(stream))
    except UnicodeEncodeError:
        return False
    return True


def _is_without_escapes() -> bool:
    return bool(os.environ.get("NO_COLOR"))


def _is_terminal(stream: IO[str]) -> bool:
    with suppress(ValueError, AttributeError):
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    return False


def dollars(value: float | None) -> str:
    """Return an amount for people, `unknown` for None."""
    return "unknown" if value is None else format_dollars(value)


def paid(known: float, unknown: int, most: float | None = None) -> str:
    """Return what was paid, for people; calls of unknown cost are named beside the rest, never counted as nothing.

    Args:
        known: Dollars that are known.
        unknown: Calls of unknown cost.
        most: Dollars that all can have cost at most; None where that is unknown, too.
    """
    if not unknown:
        return dollars(known)
    if most is not None:
        return f"{dollars(known)} to {dollars(most)}"
    return f"unknown ({unknown:,})" if known == 0 else f"{dollars(known)} + {unknown:,} unknown"


def count(number: int, noun: str) -> str:
    """Return `1 answer`, `2 answers`, `2,840 questions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
