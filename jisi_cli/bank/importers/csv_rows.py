"""CSV: a line of column names, then a row each; cells may run over several lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from jisi_cli.bank.importers.contents import open_text
from jisi_cli.bank.importers.files import refuse_repeated
from jisi_cli.bank.importers.json_lines import BOM, LONGEST_LINE, bounded_lines
from jisi_cli.bank.importers.protocol import Numbered, OnProblem, Place
from jisi_cli.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader

_UNDECODABLE = re.compile("[\udc80-\udcff]")


def csv_header(source: Path) -> list[str]:
    """Return the column names of a CSV file.

    Raises:
        InputError: The file is empty or cannot be read.
    """
    with open_text(source) as stream:
        return _header(source, _csv_reader(source, stream))


def csv_rows(source: Path, on_problem: OnProblem) -> Iterator[Numbered]:
    """Yield the rows of a CSV file (tabs in a `.tsv`), numbered by the line on which each begins.

    An empty cell is None: CSV cannot tell an empty text from none.

    Raises:
        InputError: The file is empty or cannot be read.
    """
    with open_text(source) as stream:
        reader = _csv_reader(source, stream)
        header = _header(source, reader)
        while True:
            place = Place(str(source), reader.line_num + 1)
            try:
                cells = next(reader, None)
            except csv.Error as error:
                on_problem(place.problem(f"not CSV: {error}"))
                continue
            if cells is None:
                return
            if cells:
                yield from _csv_row(header, cells, place, on_problem)


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
    refuse_repeated(source, names)
    return names


def _csv_lines(stream: BinaryIO) -> Iterator[str]:
    # Bytes that are not UTF-8 travel as lone surrogates: the reader keeps its place and the row can be named.
    for number, line in enumerate(bounded_lines(stream, LONGEST_LINE)):
        if len(line) <= LONGEST_LINE:
            yield (line.removeprefix(BOM) if number == 0 else line).decode("utf-8", "surrogateescape")
        else:
            yield "x" * (csv.field_size_limit() + 1)  # what is left of it might pass for a whole row; this does not


def _csv_row(header: list[str], cells: list[str], place: Place, on_problem: OnProblem) -> Iterator[Numbered]:
    if len(cells) != len(header):
        on_problem(place.problem(f"{len(cells)} cells under {len(header)} column names"))
    elif any(map(_UNDECODABLE.search, cells)):
        on_problem(place.problem("not UTF-8"))
    else:
        yield place, {column: cell or None for column, cell in zip(header, cells, strict=True)}
