"""The rows of a file whichever way it keeps them: JSONL, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from jisi_cli.errors import InputError
from jisi_cli.formats.blocks import Block, in_blocks, row_length
from jisi_cli.formats.files import LONGEST_LINE, kind_of, open_text, refuse_repeated
from jisi_cli.formats.issues import Location, Numbered, OnIssue, Row, UnusableError
from jisi_cli.formats.parquet import parquet_blocks, parquet_rows

if TYPE_CHECKING:
    from _csv import Reader


# JSONL: one JSON object a line; a damaged line ends only itself.


BOM = b"\xef\xbb\xbf"
_BEGINNING = 64
_PIECE = 1 << 18
"""Bytes of whole lines that are decoded at once."""


def file_json_rows(source: Path, on_issue: OnIssue) -> Iterator[Numbered]:
    """Yield the objects of a JSONL file, or of a file that is one list of them; see `json_rows`."""
    items = _listed(source)
    if items is not None:
        for number, item in enumerate(items, start=1):
            location = Location(str(source), number)
            if isinstance(item, dict):
                yield location, item
            else:
                on_issue(location.issue("not a JSON object ({…})"))
        return
    with open_text(source) as stream:
        yield from json_rows(bounded_lines(stream), str(source), on_issue)


def begins_a_list(source: Path) -> bool:
    """Whether a file begins as one JSON list does."""
    with open_text(source) as stream:
        return stream.read(_BEGINNING).removeprefix(BOM).lstrip()[:1] == b"["


def _listed(source: Path) -> list[object] | None:
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


def json_rows(lines: Iterable[bytes], source: str, on_issue: OnIssue) -> Iterator[Numbered]:
    """Yield each line that holds a JSON object, with its number from 1; blank lines are passed over."""
    for number, line in enumerate(lines, start=1):
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


def csv_header(source: Path) -> list[str]:
    """Return the column names of a CSV file.

    Raises:
        InputError: The file is empty or cannot be read.
    """
    with open_text(source) as stream:
        return _header(source, _csv_reader(source, stream))


def csv_rows(source: Path, on_issue: OnIssue) -> Iterator[Numbered]:
    """Yield the rows of a CSV file (tabs in a `.tsv`), numbered by the line on which each begins.

    An empty cell is None: CSV cannot tell an empty text from none.

    Raises:
        InputError: The file is empty or cannot be read.
    """
    with open_text(source) as stream:
        reader = _csv_reader(source, stream)
        header = _header(source, reader)
        while True:
            location = Location(str(source), reader.line_num + 1)
            try:
                cells = next(reader, None)
            except csv.Error as error:
                on_issue(location.issue(f"not CSV: {error}"))
                continue
            if cells is None:
                return
            if cells:
                yield from _csv_row(header, cells, location, on_issue)


def _csv_reader(source: Path, stream: BinaryIO) -> Reader:
    # The limit belongs to the process; its default of 128 KiB is shorter than many recorded responses.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    return csv.reader(_csv_lines(stream), delimiter="\t" if ".tsv" in source.suffixes[-2:] else ",")


def _header(source: Path, reader: Reader) -> list[str]:
    try:
        cells = next(reader, None)
    except csv.Error as error:
        raise InputError(f"{source}: cannot be read as CSV: {error}") from error
    if not cells:
        raise InputError(f"{source}: the file is empty; a CSV begins with a line of column names")
    names = [cell.strip() for cell in cells]
    other = next((mark for mark in (";", "\t") if len(names) == 1 and mark in names[0]), None)
    if other is not None:
        written = "semicolons; save it with commas" if other == ";" else "tabs; call it .tsv, or save it with commas"
        raise InputError(f"{source}: the columns seem to be separated by {written}")
    refuse_repeated(source, names)
    return names


def _csv_lines(stream: BinaryIO) -> Iterator[str]:
    # Bytes that are not UTF-8 travel as lone surrogates: the reader keeps its place and the row can be named.
    texts = (piece.decode("utf-8", "surrogateescape") for piece in _pieces(stream))
    return chain.from_iterable(io.StringIO(text, newline="\n") for text in texts)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines, many at a time: a response may have dozens, and a file millions.

    In the place of a line that is too long comes one that the CSV reader refuses: what is left of it might pass for a
    whole row.
    """
    size = min(_PIECE, LONGEST_LINE)
    piece = stream.read(size).removeprefix(BOM)
    while piece:
        start = piece.rfind(b"\n") + 1
        last = piece[start:]
        if last:
            last += stream.readline(LONGEST_LINE + 1 - len(last))
        yield piece[:start]
        if len(last) <= LONGEST_LINE:
            yield last
        else:
            yield b"x" * (csv.field_size_limit() + 1)
            while last and not last.endswith(b"\n"):
                last = stream.readline(LONGEST_LINE)
        piece = stream.read(size)


def _csv_row(header: list[str], cells: list[str], location: Location, on_issue: OnIssue) -> Iterator[Numbered]:
    if len(cells) != len(header):
        on_issue(location.issue(f"{len(cells)} cells under {len(header)} column names"))
    elif not all(map(str.isascii, cells)) and any(map(_UNDECODABLE.search, cells)):
        on_issue(location.issue("not UTF-8"))
    else:
        yield location, {column: cell or None for column, cell in zip(header, cells, strict=True)}


def read_rows(source: Path, on_issue: OnIssue) -> Iterator[Numbered]:
    """Yield the rows of a file: Parquet, CSV, TSV, JSONL or a JSON list, packed with gzip or not; or of `hf:…`.

    Raises:
        InputError: The file cannot be opened, or is no such file.
    """
    from jisi_cli.formats.hub_dataset import hub_rows, is_hub_dataset

    if is_hub_dataset(source):
        return hub_rows(str(source), on_issue)[1]
    match kind_of(source):
        case "parquet":
            return parquet_rows(source, on_issue)
        case "csv":
            return csv_rows(source, on_issue)
        case "json":
            return file_json_rows(source, on_issue)


def read_blocks(source: Path, on_issue: OnIssue) -> Iterator[Block]:
    """Yield the rows of a file in blocks; see `read_rows`.

    Raises:
        InputError: The file cannot be opened, or is no such file.
    """
    from jisi_cli.formats.hub_dataset import is_hub_dataset

    if not is_hub_dataset(source) and kind_of(source) == "parquet":
        return parquet_blocks(source, on_issue)
    return map(Block, in_blocks(lambda told: read_rows(source, told), on_issue, row_length))
