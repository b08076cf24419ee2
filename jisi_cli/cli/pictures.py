"""Small pictures made of characters, for where one says it faster than a number: bars, intervals, distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

BLOCKS = "▏▎▍▌▋▊▉█"
"""A cell filled by one to eight eighths, from the left."""
LEVELS = "▁▂▃▄▅▆▇█"
"""A cell filled by one to eight eighths, from below."""
_LINE, _POINT, _ZERO, _CROSSED = "─", "●", "┊", "┼"

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


def bars(values: Sequence[float | None], width: int) -> list[str]:
    """Return one bar per value, the largest as long as the width; nothing for a value that is unknown.

    Args:
        values: Not negative; a bar starts at 0, so that lengths compare as the values do.
        width: Characters of the longest bar.
    """
    largest = max((value for value in values if value is not None), default=0.0)
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
