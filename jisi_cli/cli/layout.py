"""Layout on a terminal: lines broken between words, tables split where numbers would be cut, bars of characters."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from jisi_cli.cli.output import Column

BLOCKS = "▏▎▍▌▋▊▉█"
"""A cell filled by one to eight eighths, from the left."""
LEVELS = "▁▂▃▄▅▆▇█"
"""A cell filled by one to eight eighths, from below."""
_LINE, _POINT, _ZERO, _CROSSED = "─", "●", "┊", "┼"

_NARROWEST = 20
"""Columns; where there are fewer, or none are told, lines are as long as they are."""

Interval = tuple[float, float, float]
"""Low end, value, high end."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A last column of a table that is drawn only on a terminal, as wide as there is room.

    Attributes:
        title: Its heading.
        draw: Returns one text per row, of at most the given width.
    """

    title: str
    draw: Callable[[int], Sequence[str]]


def bars(values: Sequence[float | None], width: int, full: float | None = None) -> list[str]:
    """Return one bar per value; nothing for a value that is unknown.

    Args:
        values: Not negative; a bar starts at 0, so that lengths compare as the values do.
        width: Characters of the longest bar.
        full: The value of a bar as long as the width; None for the largest.
    """
    largest = full or max((value for value in values if value is not None), default=0.0)
    if largest <= 0:
        return [""] * len(values)
    return [_bar(0.0 if value is None else value / largest, width) for value in values]


def _bar(share: float, width: int) -> str:
    whole, rest = divmod(round(share * width * len(BLOCKS)), len(BLOCKS))
    return BLOCKS[-1] * whole + (BLOCKS[rest - 1] if rest else "")


def intervals(values: Sequence[Interval | None], width: int) -> list[str]:
    """Return one line per interval on a common axis that shows 0, so that a reader sees which lie clear of it.

    Args:
        values: Low end, value and high end of each; None draws nothing.
        width: Characters of the axis.
    """
    ends = [end for value in values if value is not None for end in (value[0], value[2])]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    if width < 2 or high == low:
        return [""] * len(values)

    def cell(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1))

    zero = cell(0.0)
    return [
        "" if value is None else _interval(cell(value[0]), cell(value[1]), cell(value[2]), zero) for value in values
    ]


def _interval(low: int, middle: int, high: int, zero: int) -> str:
    cells = [" "] * (max(high, zero) + 1)
    cells[low : high + 1] = _LINE * (high + 1 - low)
    cells[zero] = _CROSSED if low <= zero <= high else _ZERO
    cells[middle] = _POINT
    return "".join(cells)


def distribution(counts: Sequence[int]) -> str:
    """Return one character per count, as high as its share of the largest; a count of 0 is a blank."""
    largest = max(counts, default=0)
    return "".join(LEVELS[math.ceil(count / largest * len(LEVELS)) - 1] if count else " " for count in counts)


_GAP, _EDGES = 3, 2
"""Characters between two columns, and at the edges of the table."""
_READABLE = 16
"""Characters that a column of text may be narrowed to."""
_SMALLEST, _LARGEST = 12, 40
"""Characters of a picture: fewer show nothing, more add nothing."""


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
    """Return how many characters are left for a picture after these columns with their text whole."""
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
    """Return the width of each column: Rich by itself narrows numbers like everything else."""
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


def columns_of(stream: IO[str]) -> int | None:
    """Return how many columns a terminal has: `COLUMNS`, or what it says itself; None where nothing says so."""
    told = os.environ.get("COLUMNS", "")
    try:
        columns = int(told) if told.isdecimal() and len(told) < 6 else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None
    return columns if columns >= _NARROWEST else None


def wrapped(line: str, columns: int | None) -> str:
    """Return a line broken between words.

    A word that is longer than the terminal is wide, such as a path, stays whole for those who copy it. Joined with
    spaces, the lines are the line again.

    Args:
        line: Words with one space between them.
        columns: How wide lines may be; None for any width.
    """
    if columns is None or width(line) <= columns:
        return line
    lines: list[str] = []
    room = 0
    for word in line.split(" "):
        needed = width(word) + 1
        if not lines or needed > room:
            lines.append(word)
            room = columns - needed + 1
        else:
            lines[-1] += f" {word}"
            room -= needed
    return "\n".join(lines)


def width(text: str) -> int:
    """Return how many columns text takes: two for a wide character, as of Chinese, none for an accent on another."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class LastFrame:
    """Remembers the lines of the frame that was drawn last. Rich goes back by these, not by the rows they are now.

    Args:
        console: What draws.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = console.width
        self._lengths: Sequence[int] = ()

    def replace(self, lengths: Iterable[int]) -> None:
        """Clear the rows that a narrower terminal has made of the last frame beyond its lines; note those of the next.

        Args:
            lengths: Columns of each line that is to be drawn.
        """
        from rich.control import Control
        from rich.segment import ControlType

        before, self._width = self._width, self._console.width
        broken = sum(max(0, math.ceil(length / self._width) - 1) for length in self._lengths)
        if self._width < before and broken:
            up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
            self._console.control(Control(ControlType.CARRIAGE_RETURN, *up * broken))
        self._lengths = [min(length, self._width) for length in lengths]
