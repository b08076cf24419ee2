"""The rows of a table in blocks; of CSV and JSONL, a piece that is plain is parsed as a whole.

A piece is some hundred thousand bytes of whole rows. It is plain where it cannot be read in two ways and no row of it
needs a word: of CSV, where quotes stand around cells alone; of JSONL, where each line has the same keys, each once, and
no lists or objects. Then Arrow, and pydantic's parser of JSON, read it several times as fast as Python's `csv` and
`json`. All other pieces are read by these, row by row.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jisi_cli.formats.blocks import Block, Column, ColumnBlock, in_blocks, row_length
from jisi_cli.formats.files import kind_of, open_text
from jisi_cli.formats.issues import Location, Numbered, OnIssue
from jisi_cli.formats.parquet import parquet_blocks
from jisi_cli.formats.rows import BOM, CsvFile, Lines, item_rows, json_rows, listed

_LARGE = 1 << 24
"""Bytes of JSONL from which on a faster parser is worth its import."""
_LONGEST = 1 << 20
"""Bytes of a CSV piece that is looked at as a whole: a stray quote may seem to go on for ever."""
_SCALARS = frozenset({str, int, float, bool, type(None)})
_NEWLINE, _OPENS, _CLOSES, _QUOTE, _COLON, _BACKSLASH = b'\n{}":\\'
_SPACES = np.frombuffer(b" \t\r\n", dtype=np.uint8)
_SPACED_KEY_END = re.compile(rb'"[ \t\r\n]+:')


def read_rows(source: Path, on_issue: OnIssue) -> Iterator[Numbered]:
    """Yield the rows of a file: Parquet, CSV, TSV, JSONL or a JSON list, packed with gzip or not; or of `hf:…`.

    Raises:
        InputError: The file cannot be opened, or is no such file.
    """
    return chain.from_iterable(read_blocks(source, on_issue))


def read_blocks(source: Path, on_issue: OnIssue) -> Iterator[Block]:
    """Yield the rows of a file in blocks; see `read_rows`."""
    from jisi_cli.formats.hub_dataset import hub_rows, is_hub_dataset

    if is_hub_dataset(source):
        return _row_blocks(lambda told: hub_rows(str(source), told)[1], on_issue)
    match kind_of(source):
        case "parquet":
            return parquet_blocks(source, on_issue)
        case "csv":
            return _csv_blocks(source, on_issue)
        case "json":
            items = listed(source)
            if items is None:
                return _json_blocks(source, on_issue)
            return _row_blocks(lambda told: item_rows(items, str(source), told), on_issue)


def _row_blocks(read: Callable[[OnIssue], Iterator[Numbered]], on_issue: OnIssue) -> Iterator[Block]:
    return map(Block, in_blocks(read, on_issue, row_length))


# CSV


def _csv_blocks(source: Path, on_issue: OnIssue) -> Iterator[Block]:
    with open_text(source) as stream:
        file = CsvFile(source, stream)
        lines, first = file.lines, file.lines.number
        while piece := lines.piece():
            # A cell of several lines goes on in the next piece.
            is_open = not lines.is_cut and piece.count(b'"') % 2 == 1
            while is_open and len(piece) < _LONGEST and (line := lines.whole_line()):
                piece += line
                is_open = is_open == (line.count(b'"') % 2 == 0)
            columns = None if is_open or lines.is_cut else csv_columns(piece, file.header, file.delimiter)
            if columns is not None:
                yield _CsvBlock(file, piece, first, columns)
            else:
                yield from _row_blocks(lambda told: file.rows(piece, first, told), on_issue)  # noqa: B023 - used at once
            first = lines.number


class _CsvBlock(ColumnBlock):
    """Rows of CSV, of which each may take several lines."""

    def __init__(self, file: CsvFile, piece: bytes, first: int, columns: Mapping[str, Column]) -> None:
        super().__init__(str(file.source), first, columns)
        self._piece, self._delimiter = piece, file.delimiter

    def location(self, row: int) -> Location:
        """Return the place of one row in the file."""
        return Location(self._source, self._numbers[row])

    @cached_property
    def _numbers(self) -> list[int]:
        """The line on which each row begins, which hardly anybody asks for."""
        reader = csv.reader(io.StringIO(self._piece.decode(), newline="\n"), delimiter=self._delimiter)
        numbers, before = [], 0
        for cells in reader:
            if cells:
                numbers.append(self._first + before)
            before = reader.line_num
        return numbers


def csv_columns(piece: bytes, header: list[str], delimiter: str) -> Mapping[str, Column] | None:
    """Return the columns of plain rows of CSV; None where they are not plain."""
    if len(header) == 1 or not all(header) or not _is_plain_csv(piece, delimiter):
        return None
    import pyarrow as pa
    from pyarrow import csv as arrow

    try:
        table = arrow.read_csv(
            pa.BufferReader(piece),
            arrow.ReadOptions(use_threads=False, block_size=len(piece) + 1, column_names=header),
            arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
        return cast("Mapping[str, Column]", table.to_pydict())
    except ValueError:  # a row of too many cells or too few, or bytes that are not UTF-8
        return None


def _is_plain_csv(piece: bytes, delimiter: str) -> bool:
    """Whether quotes stand around cells alone, doubled within them, and rows end in one way."""
    if b"\r" in piece and piece.count(b"\r") != piece.count(b"\r\n"):
        return False
    if b"\0" in piece or piece.startswith(BOM):  # Arrow takes one away
        return False
    data = np.frombuffer(piece, dtype=np.uint8)
    quotes = np.flatnonzero(data == ord('"'))
    if len(quotes) % 2:
        return False
    beside = np.zeros(256, dtype=bool)
    beside[list(b'\n"' + delimiter.encode())] = True
    before, after = quotes[::2] - 1, quotes[1::2] + 1
    if not beside[data[before[before >= 0]]].all():
        return False
    beside[ord("\r")] = True
    return bool(beside[data[after[after < len(data)]]].all())


# JSONL


def _json_blocks(source: Path, on_issue: OnIssue) -> Iterator[Block]:
    parse: Callable[[bytes], Any] = _parse
    if source.stat().st_size >= _LARGE:
        from pydantic_core import from_json

        parse = from_json
    with open_text(source) as stream:
        lines, first = Lines(stream), 1
        while piece := lines.piece():
            block = None if lines.is_cut else json_block(piece, str(source), first, parse)
            if block is not None:
                yield block
            else:
                yield from _row_blocks(
                    lambda told: json_rows(io.BytesIO(piece), str(source), told, first),  # noqa: B023 - used at once
                    on_issue,
                )
            first = lines.number


def _parse(text: bytes) -> Any:  # noqa: ANN401 - JSON
    return _DECODER.decode(text.decode())


_DECODER = json.JSONDecoder()


def json_block(piece: bytes, source: str, first: int, parse: Callable[[bytes], Any]) -> Block | None:
    """Return plain lines of JSON objects as a block; None where they are not plain.

    Args:
        piece: The lines.
        source: The file.
        first: The number of the first line.
        parse: Returns what JSON holds; of a key that is there twice, either value.
    """
    lines = piece.replace(b"\r\n", b"\n").removesuffix(b"\n")
    data = np.frombuffer(lines, dtype=np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    if not lines.startswith(b"{") or not lines.endswith(b"}"):
        return None
    if not (data[ends - 1] == _CLOSES).all() or not (data[ends + 1] == _OPENS).all():
        return None
    try:
        one = parse(lines[: ends[0]] if len(ends) else lines)
        if not _SCALARS.issuperset(map(type, one.values())):
            return None  # before all of them are parsed
        # No text holds a line break, so these commas stand between objects; one a line, where there are as many of
        # them as lines, and none within another.
        rows: list[dict[str, object]] = parse(b"[%b]" % lines.replace(b"\n", b",\n"))
    except (ValueError, RecursionError):
        return None
    names = tuple(one)
    if not names or len(rows) != len(ends) + 1 or any(tuple(row) != names for row in rows):
        return None
    columns = dict(zip(names, map(list, zip(*map(dict.values, rows), strict=True)), strict=True))
    if not all(_SCALARS.issuperset(map(type, column)) for column in columns.values()):
        return None
    return ColumnBlock(source, first, columns) if _has_keys_once(lines, data, names, len(rows)) else None


def _has_keys_once(lines: bytes, data: NDArray[np.uint8], names: Sequence[str], rows: int) -> bool:
    """Whether no object has a key twice, which a parser keeps quiet about.

    Every key ends in a quote and a colon, and a quote within a text comes after a backslash. So there are no more keys
    than quotes without a backslash before a colon, of which a text that begins with a colon only adds one.
    """
    if any(name.endswith("\\") for name in names):
        return False
    quotes = np.flatnonzero(data == _QUOTE)
    quotes = quotes[data[quotes - 1] != _BACKSLASH]
    after = data[quotes + 1]
    if np.count_nonzero(after == _COLON) != rows * len(names):
        return False
    spaced = quotes[np.isin(after, _SPACES)].tolist()
    return not any(_SPACED_KEY_END.match(lines, place) for place in spaced)
