"""Names beside points, placed so that no name lies on another name or on a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jisi_cli.reporting.charts import FONT_SIZE, text_width

Align = Literal["left", "center", "right"]
_RADIUS = 6.0
_SAME = 2.0
"""Pixels below which two points are in the same place."""
_DISTANCES = (10.0, 16.0, 24.0, 34.0, 46.0)
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point with a name; x and y in pixels from the upper left. Those that are `first` are named first."""

    x: float
    y: float
    label: str
    first: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """A name and where it stands: `align` says which end of it is at x, its middle is at y."""

    x: float
    y: float
    text: str
    align: Align
    first: bool


def place_labels(
    points: Sequence[Point], size: tuple[float, float], lines: Sequence[Box] = (), *, only_first: bool = False
) -> list[Label]:
    """Return names for as many points as there is room for.

    The first ones come before the others, the higher before the lower; points in the same place share a label.

    Args:
        points: The points.
        size: Width and height of the plot, in pixels.
        lines: What else no name may cross.
        only_first: Whether the others stay without a name.
    """
    width, height = size
    taken: list[Box] = [(p.x - _RADIUS, p.y - _RADIUS, p.x + _RADIUS, p.y + _RADIUS) for p in points]
    taken += lines
    found = []
    for point in sorted(_merged(points), key=lambda point: (not point.first, point.y)):
        if only_first and not point.first:
            continue
        for label, box in _places(point):
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
            if inside and _is_nearest(point, box, points) and not any(_overlap(box, other) for other in taken):
                found.append(label)
                taken.append(box)
                break
    return found


def _is_nearest(point: Point, box: Box, points: Sequence[Point]) -> bool:
    """Whether no other point could be taken for the one that is named."""
    own = _distance(point, box)
    return all(
        _distance(other, box) > own + 1
        for other in points
        if math.dist((other.x, other.y), (point.x, point.y)) >= _SAME
    )


def _distance(point: Point, box: Box) -> float:
    across = max(box[0] - point.x, 0.0, point.x - box[2])
    down = max(box[1] - point.y, 0.0, point.y - box[3])
    return math.hypot(across, down)


def _merged(points: Sequence[Point]) -> list[Point]:
    merged: list[Point] = []
    for point in points:
        same = next((at for at, p in enumerate(merged) if math.dist((p.x, p.y), (point.x, point.y)) < _SAME), None)
        if same is None:
            merged.append(point)
        else:
            other = merged[same]
            merged[same] = replace(other, label=f"{other.label}, {point.label}", first=other.first or point.first)
    return merged


def _places(point: Point) -> Iterator[tuple[Label, Box]]:
    """Yield places around a point, the nearest and plainest first."""
    size = text_width(point.label)
    for distance in _DISTANCES if point.first else _DISTANCES[:1]:
        for align, across, down in (
            ("left", 1.0, 0.0),
            ("right", -1.0, 0.0),
            ("center", 0.0, -1.2),
            ("center", 0.0, 1.2),
            ("left", 0.7, -0.9),
            ("left", 0.7, 0.9),
            ("right", -0.7, -0.9),
            ("right", -0.7, 0.9),
        ):
            x, y = point.x + across * distance, point.y + down * distance
            left = {"left": x, "center": x - size / 2, "right": x - size}[align]
            half = FONT_SIZE / 2 + 1
            yield (
                Label(x, y, point.label, align, point.first),  # type: ignore[arg-type]
                (left, y - half, left + size, y + half),
            )


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
