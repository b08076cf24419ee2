"""Tables on a terminal: as wide as it is, in parts below each other where one would cut a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from jisi_cli.cli.output import Column
    from jisi_cli.cli.pictures import Picture

_GAP, _EDGES = 3, 2
"""Characters between two columns, and at the edges of the table."""
_READABLE = 16
"""Characters that a column of text may be narrowed to."""
_SMALLEST, _LARGEST = 12, 40
"""Characters of a picture: fewer show nothing, more say nothing new."""


def draw_table(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]], picture: Picture | None = None
) -> None:
    """Print a table; every part of it begins with the first column, and the last ends with the picture."""
    parts = list(_parts(columns, rows, console.width))
    if picture is not None and _room(columns, rows, parts[-1], console.width, picture) < _SMALLEST:
        # Under the table then, beside what names the rows.
        parts.append([next((place for place, column in enumerate(columns) if not column.right), 0)])
    for places in parts:
        part_columns, part = [columns[place] for place in places], [[row[place] for place in places] for row in rows]
        room = _room(columns, rows, places, console.width, picture) if picture is not None else 0
        if picture is not None and places is parts[-1] and room >= _SMALLEST:
            part_columns, part = _with_picture(part_columns, part, picture, min(room, _LARGEST))
        if len(part_columns) > 1 or len(parts) == 1:
            console.print(_table(part_columns, part, console.width))


def _room(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], places: Sequence[int], width: int, picture: Picture
) -> int:
    """Return the characters that a picture has behind these columns with their text whole."""
    longest = _longest(columns, rows)
    room = width - _EDGES - sum(longest[place] + _GAP for place in places)
    return room if room >= len(picture.title) else 0


def _with_picture(
    columns: list[Column], rows: list[list[str]], picture: Picture, room: int
) -> tuple[list[Column], list[list[str]]]:
    drawn = picture.draw(max(room, len(picture.title)))
    column = replace(columns[0], title=picture.title, right=False, shrink=False)
    return [*columns, column], [[*row, cell] for row, cell in zip(rows, drawn, strict=True)]


def _parts(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Iterator[list[int]]:
    """Yield the columns of each part, as many as fit with their numbers whole."""
    longest = _longest(columns, rows)
    # Text may be shortened or folded, down to something that can still be read.
    least = [size if column.right else min(size, _READABLE) for column, size in zip(columns, longest, strict=True)]
    places, used = [0], _EDGES + least[0]
    for place in range(1, len(columns)):
        if len(places) > 1 and used + _GAP + least[place] > width:
            yield places
            places, used = [0], _EDGES + least[0]
        places.append(place)
        used += _GAP + least[place]
    yield places


def _longest(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    return [max(map(cell_len, cells)) for cells in zip([column.title for column in columns], *rows, strict=True)]


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the width of each column: Rich, left alone, narrows numbers like everything else."""
    widths = _longest(columns, rows)
    texts = [place for place, column in enumerate(columns) if not column.right]
    excess = sum(widths) + _GAP * (len(widths) - 1) + _EDGES - width
    while excess > 0 and texts:
        widest = max(texts, key=lambda place: widths[place])
        if widths[widest] <= 1:
            break
        widths[widest] -= 1
        excess -= 1
    return widths


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, most in zip(columns, _widths(columns, rows, width), strict=True):
        table.add_column(
            column.title,
            width=most,
            justify="right" if column.right else "left",
            no_wrap=column.shrink or column.right,
            overflow="ellipsis" if column.shrink else "fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
