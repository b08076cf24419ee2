"""Rows of JSON and of CSV, one by one, and what is wrong with those that cannot be used."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from jisi_cli.errors import InputError
from jisi_cli.formats.files import LONGEST_LINE, open_text, refuse_repeated
from jisi_cli.formats.issues import Location, Numbered, OnIssue, Row, UnusableError

# JSONL: one JSON object a line; a damaged line ends only itself.


BOM = b"\xef\xbb\xbf"
_BEGINNING = 64
_PIECE = 1 << 18
"""Bytes of whole lines that are read at once."""


def file_json_rows(source: Path, on_issue: OnIssue) -> Iterator[Numbered]:
    """Yield the objects of a JSONL file, or of a file that is one list of them; see `json_rows`."""
    items = listed(source)
    if items is not None:
        yield from item_rows(items, str(source), on_issue)
        return
    with open_text(source) as stream:
        yield from json_rows(bounded_lines(stream), str(source), on_issue)


def item_rows(items: Iterable[object], source: str, on_issue: OnIssue) -> Iterator[Numbered]:
    """Yield the objects of a JSON list, numbered from 1."""
    for number, item in enumerate(items, start=1):
        location = Location(source, number)
        if isinstance(item, dict):
            yield location, item
        else:
            on_issue(location.issue("not a JSON object ({…})"))


def begins_a_list(source: Path) -> bool:
    """Whether a file begins as one JSON list does."""
    with open_text(source) as stream:
        return stream.read(_BEGINNING).removeprefix(BOM).lstrip()[:1] == b"["


def listed(source: Path) -> list[object] | None:
    """Return the items of a file that is one JSON list; None where it is anything else, such as lines."""
    if not begins_a_list(source):
        return None
    try:
        found = json_file(source)
    except UnusableError:
        return None
    # A file of one line may be a damaged line.
    return found if isinstance(found, list) and any(isinstance(item, dict) for item in found) else None


def bounded_lines(stream: BinaryIO, longest: int = LONGEST_LINE) -> Iterator[bytes]:
    """Yield the lines of a stream; of one longer than `longest` bytes, only its first `longest` + 1."""
    while line := stream.readline(longest + 1):
        yield line
        rest = line
        while len(rest) > longest and not rest.endswith(b"\n"):
            rest = stream.readline(longest + 1)


def json_rows(lines: Iterable[bytes], source: str, on_issue: OnIssue, first: int = 1) -> Iterator[Numbered]:
    """Yield each line that holds a JSON object, with its number from `first`; blank lines are passed over."""
    for number, line in enumerate(lines, start=first):
        location = Location(source, number)
        line = line.removeprefix(BOM) if number == 1 else line
        if not line.strip():
            continue
        try:
            yield location, json_object(line)
        except UnusableError as why:
            on_issue(location.issue(why))


def json_object(line: bytes) -> Row:
    """Parse one JSON object.

    Raises:
        UnusableError: It is too long, not UTF-8, not JSON, nested too deeply, or not an object.
    """
    found = json_value(line.rstrip()) if len(line) <= LONGEST_LINE else _too_long()
    if not isinstance(found, dict):
        raise UnusableError("not a JSON object ({…})")
    return found


def json_file(path: Path) -> object:
    """Parse a file that is one JSON document.

    Raises:
        InputError: It cannot be opened.
        UnusableError: See `json_value`.
    """
    with open_text(path) as stream:
        return json_value(stream.read())


def json_value(data: bytes) -> object:
    """Parse one JSON document.

    Raises:
        UnusableError: It is not UTF-8, not JSON, or nested too deeply.
    """
    try:
        text = data.removeprefix(BOM).decode()
        # A decoder of its own is made for every `loads` with a hook; that alone knows a second mark of byte order.
        return json.loads(text) if text.startswith("\ufeff") else _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise UnusableError(f"not UTF-8 (byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise UnusableError(f"not JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise UnusableError("JSON nested too deeply") from None
    except ValueError:  # a whole number of more digits than Python converts
        raise UnusableError("a number with too many digits") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object, in which no key may be twice: either of its values would be lost.

    Raises:
        UnusableError: One is.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise UnusableError(f"the key `{twice[:40]}` is there more than once")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _too_long() -> object:
    raise UnusableError(f"longer than {LONGEST_LINE // 2**20} MiB")


# CSV: a line of column names, then a row each; cells may run over several lines.


_UNDECODABLE = re.compile("[\udc80-\udcff]")


class CsvFile:
    """A CSV file (tabs in a `.tsv`) of which the column names were read.

    Args:
        source: Its name.
        stream: What it holds.

    Raises:
        InputError: It is empty, or its first row cannot be read.
    """

    def __init__(self, source: Path, stream: BinaryIO) -> None:
        self.source, self.lines = source, Lines(stream)
        self.delimiter = "\t" if ".tsv" in source.suffixes[-2:] else ","
        # The limit belongs to the process; its default of 128 KiB is shorter than many recorded responses.
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
        first = self._text(self.lines.line().removeprefix(BOM))
        try:
            cells = next(csv.reader(chain([first] if first else [], self._rest()), delimiter=self.delimiter), None)
        except csv.Error as error:
            raise InputError(f"{source}: cannot be read as CSV: {error}") from error
        if not cells:
            raise InputError(f"{source}: the file is empty; a CSV begins with a line of column names")
        names = self.header = [cell.strip() for cell in cells]
        other = next((mark for mark in (";", "\t") if len(names) == 1 and mark in names[0]), None)
        if other is not None:
            how = "semicolons; save it with commas" if other == ";" else "tabs; call it .tsv, or save it with commas"
            raise InputError(f"{source}: the columns seem to be separated by {how}")
        refuse_repeated(source, self.header)

    def rows(self, piece: bytes, first: int, on_issue: OnIssue) -> Iterator[Numbered]:
        """Yield the rows that begin in some lines, each numbered by the line on which it begins.

        An empty cell is None: CSV cannot tell an empty text from none.

        Args:
            piece: The lines, which `lines` gave last; the last row may take more lines from there.
            first: The number of the first.
            on_issue: Told of rows that are skipped.
        """
        text = self._text(piece)
        lines = io.StringIO(text, newline="\n")
        reader = csv.reader(chain(lines, self._rest()), delimiter=self.delimiter)
        while lines.tell() < len(text):
            location = Location(str(self.source), first + reader.line_num)
            try:
                cells = next(reader, None)
            except csv.Error as error:
                on_issue(location.issue(f"not CSV: {error}"))
                continue
            if cells:
                yield from _csv_row(self.header, cells, location, on_issue)

    def _rest(self) -> Iterator[str]:
        while line := self.lines.line():
            yield self._text(line)

    def _text(self, lines: bytes) -> str:
        # In the place of a line that is too long comes one that the CSV reader refuses: what is left of it might pass
        # for a whole row.
        if self.lines.is_cut:
            return "x" * (csv.field_size_limit() + 1)
        # Bytes that are not UTF-8 travel as lone surrogates: the reader keeps its place and the row can be named.
        return lines.decode("utf-8", "surrogateescape")


class Lines:
    """The lines of a text, many at a time or one by one.

    Args:
        stream: The text.

    Attributes:
        number: The number of the next line.
        is_cut: Whether the last line that was given is the beginning of one that is too long; it is given alone.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.number, self.is_cut = 1, False
        self._stream, self._too_long = stream, b""
        self._damage: InputError | None = None

    def piece(self) -> bytes:
        """Return the next lines, some hundred thousand bytes of them; none at the end."""
        if self._too_long:
            return self._given(b"")
        found = self._read(min(_PIECE, LONGEST_LINE))
        start = found.rfind(b"\n") + 1
        if self._damage is not None:
            found = found[:start]
        return self._given(found[:start], found[start:]) if start < len(found) else self._given(found)

    def line(self) -> bytes:
        """Return the next line; none at the end."""
        if self._too_long:
            return self._given(b"")
        if self._damage is not None:
            raise self._damage
        return self._given(b"", self._stream.readline(LONGEST_LINE + 1))

    def whole_line(self) -> bytes:
        """Return the next line unless it is too long, which leaves it where it is; none at the end."""
        found = self.line()
        if not self.is_cut:
            return found
        self._too_long, self.is_cut = found, False
        self.number -= 1
        return b""

    def _read(self, size: int) -> bytes:
        """Return so many bytes, or fewer at the end; the lines before damage in a packed file come before its error."""
        if self._damage is not None:
            raise self._damage
        if self._stream.seekable():
            return self._stream.read(size)
        found = []
        try:
            while size > 0 and (part := self._stream.read(min(size, io.DEFAULT_BUFFER_SIZE))):
                found.append(part)
                size -= len(part)
        except InputError as error:
            if not any(b"\n" in part for part in found):
                raise
            self._damage = error
        return b"".join(found)

    def _given(self, found: bytes, last: bytes = b"") -> bytes:
        """Return some lines, and the last one, which may not be whole yet."""
        if last and not last.endswith(b"\n"):
            last += self._stream.readline(LONGEST_LINE + 1 - len(last))
        if len(last) > LONGEST_LINE:
            self._too_long = last
            while last and not last.endswith(b"\n"):
                last = self._stream.readline(LONGEST_LINE)
        else:
            found += last
        self.is_cut = bool(self._too_long) and not found
        if self.is_cut:
            found, self._too_long = self._too_long, b""
        self.number += found.count(b"\n") + bool(found and not found.endswith(b"\n"))
        return found


def csv_header(source: Path) -> list[str]:
    """Return the column names of a CSV file.

    Raises:
        InputError: The file is empty or cannot be read.
    """
    with open_text(source) as stream:
        return CsvFile(source, stream).header


def _csv_row(header: list[str], cells: list[str], location: Location, on_issue: OnIssue) -> Iterator[Numbered]:
    if len(cells) != len(header):
        on_issue(location.issue(f"{len(cells)} cells under {len(header)} column names"))
    elif not all(map(str.isascii, cells)) and any(map(_UNDECODABLE.search, cells)):
        on_issue(location.issue("not UTF-8"))
    else:
        yield location, {column: cell or None for column, cell in zip(header, cells, strict=True)}
