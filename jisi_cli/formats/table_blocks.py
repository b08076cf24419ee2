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
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from jisi_cli.formats.blocks import Block, Column, ColumnBlock, in_blocks, row_length
from jisi_cli.formats.files import kind_of, open_text
from jisi_cli.formats.hub_dataset import is_hub_dataset
from jisi_cli.formats.issues import Location, Numbered, OnIssue
from jisi_cli.formats.parquet import parquet_blocks
from jisi_cli.formats.rows import BOM, CsvFile, Lines, json_rows, listed, read_rows

_LARGE = 1 << 24
"""Bytes of JSONL from which on a faster parser is worth its import."""
_LONGEST = 1 << 20
"""Bytes of a CSV piece that is looked at as a whole: a stray quote may seem to go on for ever."""
_SCALARS = frozenset({str, int, float, bool, type(None)})
_KEY_END = b'":'
_SPACED_KEY_END = re.compile(rb'"[ \t\r\n]+:')


def read_blocks(source: Path, on_issue: OnIssue) -> Iterator[Block]:
    """Yield the rows of a file in blocks; see `read_rows`.

    Raises:
        InputError: The file cannot be opened, or is no such file.
    """
    kind = None if is_hub_dataset(source) else kind_of(source)
    if kind == "parquet":
        return parquet_blocks(source, on_issue)
    if kind == "csv":
        return _csv_blocks(source, on_issue)
    if kind == "json" and listed(source) is None:
        return _json_blocks(source, on_issue)
    return _row_blocks(lambda told: read_rows(source, told), on_issue)


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
        if not stream.seekable():  # packed; damage in it is told after the lines before it
            yield from _row_blocks(lambda told: read_rows(source, told), on_issue)
            return
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


def _parse(line: bytes) -> Any:  # noqa: ANN401 - JSON
    return _DECODER.decode(line.decode())


_DECODER = json.JSONDecoder()


def json_block(piece: bytes, source: str, first: int, parse: Callable[[bytes], Any]) -> Block | None:
    """Return plain lines of JSON objects as a block; None where they are not plain.

    Args:
        piece: The lines.
        source: The file.
        first: The number of the first line.
        parse: Returns what a line holds; of a key that is there twice, either value.
    """
    lines = piece.removesuffix(b"\n").split(b"\n")
    try:
        rows: list[dict[str, object]] = list(map(parse, lines))
    except (ValueError, RecursionError):
        return None
    if set(map(type, rows)) != {dict} or not rows[0]:
        return None
    names = tuple(rows[0])
    if any(tuple(row) != names for row in rows):
        return None
    columns = dict(zip(names, map(list, zip(*map(dict.values, rows), strict=True)), strict=True))
    # Every key ends in a quote and a colon, so that there are no more keys than these; the text of a value may hold
    # more, but cannot make them fewer.
    are_keys_told = piece.count(_KEY_END) == len(rows) * len(names) and not _SPACED_KEY_END.search(piece)
    if not are_keys_told or not all(_SCALARS.issuperset(map(type, column)) for column in columns.values()):
        return None
    return ColumnBlock(source, first, columns)
