"""Dollars against quality, with the Pareto front (the paper's Table 2) and names placed so that none overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from jisi_cli.evaluation.comparison import MethodReport, competes
from jisi_cli.evaluation.experiments import Curve, CurvePoint, build_curve
from jisi_cli.report.charts import FONT_SIZE, HOVER, INK, PALETTE, QUIET, Chart, Spec, Viewport, text_width
from jisi_cli.report.page import QUESTIONS, dollars, listed, percent

# Names beside points, placed so that no name lies on another name or on a point.


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


_AXIS = 34
_RIGHT = 16
_HEIGHT = 340
_LOGARITHMIC = 8.0
"""From this ratio of the dearest to the cheapest, cost has a logarithmic axis."""


def cost_against_quality(reports: Sequence[MethodReport]) -> Chart:
    """Return dollars of all calls against the average of every method whose price is known."""
    curve = build_curve([report for report in reports if competes(report.name)])
    costs = {point.cost_usd for point in curve.points}
    drawn = len(costs) > 1
    rows = tuple(
        (point.label, dollars(point.cost_usd), percent(point.average), "yes" if point.on_front else "")
        for point in curve.points
    )
    header = ("method", "$ per 1,000 questions", "Avg, %", "on the front")

    def spec(viewport: Viewport) -> Spec:
        return _spec(curve.points, viewport)

    unpriced = [r.name for r in reports if competes(r.name) and r.averages is not None and r.cost_usd is None]
    note = _note(curve, costs, unpriced)
    return Chart("Cost against quality", note, spec if drawn else None, header, rows)


def _note(curve: Curve, costs: set[float], unpriced: list[str]) -> str:
    if not curve.points:
        note = "No method has both an average and known dollars, so there is no price to compare."
    elif len(costs) == 1:
        note = f"Every method whose price is known costs {dollars(next(iter(costs)))} per 1,000 questions."
    else:
        note = "Nothing is better for less than what lies on the orange line, the Pareto front. All calls are charged. "
        note += "The table has the names that find no room here."
    return note + (f" Without a known price: {listed(unpriced)}." if unpriced else "")


def _spec(points: Sequence[CurvePoint], viewport: Viewport) -> Spec:
    width = viewport.width - _AXIS - _RIGHT
    costs = [QUESTIONS * point.cost_usd for point in points]
    averages = [100 * point.average for point in points]
    logarithmic = min(costs) > 0 and max(costs) / min(costs) >= _LOGARITHMIC
    xs, ys = _domain(costs, logarithmic=logarithmic), _domain(averages)
    places = [
        Point(
            x=width * _share(cost, xs, logarithmic=logarithmic),
            y=_HEIGHT * (1 - _share(average, ys)),
            label=point.label,
            first=point.on_front,
        )
        for point, cost, average in zip(points, costs, averages, strict=True)
    ]
    labels = place_labels(places, (width, _HEIGHT), _steps(places), only_first=viewport.narrow)
    values = [
        {"cost": cost, "average": average, "front": point.on_front, "hover": _hover(point, points)}
        for point, cost, average in zip(points, costs, averages, strict=True)
    ]
    # What lies on the front is drawn over what lies in the same place.
    values.sort(key=lambda value: bool(value["front"]))
    kind = {"type": "log", "base": 10} if logarithmic else {"type": "linear", "zero": False}
    x = {
        "field": "cost",
        "type": "quantitative",
        "title": "US dollars per 1,000 questions" + (" (logarithmic)" if logarithmic else ""),
        "scale": {**kind, "domain": xs, "nice": False},
        "axis": {"format": "$,.4~r", **_ticks(xs, viewport, logarithmic=logarithmic)},
    }
    y = {
        "field": "average",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": ys, "nice": False, "zero": False},
        "axis": {"tickCount": 6, "minExtent": _AXIS, "maxExtent": _AXIS},
    }
    written = [
        {"px": label.x, "py": label.y, "text": label.text, "align": label.align, "front": label.first}
        for label in labels
    ]
    return {
        "width": width,
        "height": _HEIGHT,
        "padding": {"left": 0, "right": _RIGHT, "top": 4, "bottom": 4},
        "title": "Avg, %",
        "layer": [*_marks(values, x, y), *_texts(written)],
    }


def _hover(point: CurvePoint, points: Sequence[CurvePoint]) -> str:
    """Return what a point tells, with the names of all that are in its place."""
    place = f"{percent(point.average)} % for {dollars(point.cost_usd)} per {QUESTIONS:,} questions"
    own = (point.cost_usd, point.average)
    return f"{listed([other.label for other in points if (other.cost_usd, other.average) == own])}: {place}"


def _steps(places: Sequence[Point]) -> list[Box]:
    """Return the pieces of the front's line, which no name may cross."""
    front = [place for place in places if place.first]
    pieces: list[Box] = []
    for one, other in pairwise(front):
        pieces.append((one.x, one.y - 1, other.x, one.y + 1))
        pieces.append((other.x - 1, other.y, other.x + 1, one.y))
    return pieces


def _marks(values: list[Spec], x: Spec, y: Spec) -> list[Spec]:
    front = [{"filter": "datum.front"}]
    colour = {"condition": {"test": "datum.front", "value": PALETTE[1]}, "value": QUIET}
    line = {"type": "line", "interpolate": "step-after", "color": PALETTE[1], "strokeWidth": 2}
    point = {"type": "point", "filled": True, "size": 70}
    return [
        {"data": {"values": values}, "transform": front, "mark": line, "encoding": {"x": x, "y": y}},
        {"data": {"values": values}, "mark": point, "encoding": {"x": x, "y": y, "color": colour, **HOVER}},
    ]


def _texts(written: list[Spec]) -> list[Spec]:
    """Return one layer of labels per alignment: Vega-Lite aligns all texts of a mark alike."""
    where = {"x": {"field": "px", "type": "quantitative", "scale": None}}
    where |= {"y": {"field": "py", "type": "quantitative", "scale": None}, "text": {"field": "text"}}
    colour = {"condition": {"test": "datum.front", "value": INK}, "value": QUIET}
    layers: list[Spec] = []
    for align in ("left", "center", "right"):
        own = [label for label in written if label["align"] == align]
        if own:
            mark = {"type": "text", "align": align, "baseline": "middle"}
            layers.append({"data": {"values": own}, "mark": mark, "encoding": {**where, "color": colour}})
    return layers


def _ticks(domain: Sequence[float], viewport: Viewport, *, logarithmic: bool) -> Spec:
    if not logarithmic:
        return {"tickCount": 4 if viewport.narrow else 8}
    powers = range(math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1])) + 1)
    factors = (1,) if len(powers) > 4 else (1, 2, 5)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return {"values": [value for value in values if domain[0] <= value <= domain[1]]}


def _domain(values: Sequence[float], *, logarithmic: bool = False) -> list[float]:
    """Return the ends of an axis, a little outside the values."""
    low, high = min(values), max(values)
    if logarithmic:
        return [low / (high / low) ** 0.06, high * (high / low) ** 0.06]
    span = (high - low) or abs(high) or 1.0
    return [max(0.0, low - 0.08 * span), high + 0.12 * span]


def _share(value: float, domain: Sequence[float], *, logarithmic: bool = False) -> float:
    low, high = domain
    if logarithmic:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
