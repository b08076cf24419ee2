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
    """Print a table; every part of it begins with what names the rows, and the last ends with the picture."""
    heads = _heads(columns, rows, console.width)
    parts = list(_parts(columns, rows, console.width, heads))
    if picture is not None and _room(columns, rows, parts[-1], console.width, picture) < _SMALLEST:
        # Under the table then, beside what names the rows.
        text = next((place for place, column in enumerate(columns) if not column.right), 0)
        parts.append(heads if text in heads else [text])
    for places in parts:
        part_columns, part = [columns[place] for place in places], [[row[place] for place in places] for row in rows]
        room = _room(columns, rows, places, console.width, picture) if picture is not None else 0
        if picture is not None and places is parts[-1] and room >= _SMALLEST:
            part_columns, part = _with_picture(part_columns, part, picture, min(room, _LARGEST))
        if len(part_columns) > len(heads) or len(parts) == 1:
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


def _least(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return how narrow each column may get: text may be shortened or folded as long as it can still be read."""
    longest = _longest(columns, rows)
    return [size if column.right else min(size, _READABLE) for column, size in zip(columns, longest, strict=True)]


def _heads(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the columns before every part: those that name the rows, if every other fits beside them."""
    heads, least = [place for place, column in enumerate(columns) if column.names] or [0], _least(columns, rows)
    widest = max(least[len(heads) :], default=0)
    while len(heads) > 1 and _EDGES + sum(least[place] + _GAP for place in heads) + widest > width:
        heads.pop()
    return heads


def _parts(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, heads: Sequence[int]
) -> Iterator[list[int]]:
    """Yield the columns of each part, as many as fit with their numbers whole."""
    least = _least(columns, rows)
    room = _EDGES + sum(least[place] for place in heads) + _GAP * (len(heads) - 1)
    places, used = list(heads), room
    for place in range(len(heads), len(columns)):
        if len(places) > len(heads) and used + _GAP + least[place] > width:
            yield places
            places, used = list(heads), room
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
        # Names are the last to go: they are what a reader copies, and tells rows apart by.
        others = [place for place in texts if place and not columns[place].names and widths[place] > _READABLE]
        widest = max(others or texts, key=lambda place: widths[place])
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
            Text(column.title),
            width=most,
            justify="right" if column.right else "left",
            no_wrap=column.shrink or column.right,
            overflow="ellipsis" if column.shrink else "fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
