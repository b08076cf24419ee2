"""Dollars against quality, with the Pareto front (the paper's Table 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from jisi_cli.evaluation.curve import Curve, CurvePoint, build_curve
from jisi_cli.evaluation.report import MethodReport
from jisi_cli.reporting.charts import HOVER, INK, PALETTE, QUIET, Chart, Room, Spec
from jisi_cli.reporting.formats import QUESTIONS, dollars, listed, percent
from jisi_cli.reporting.headline import competes
from jisi_cli.reporting.labels import Box, Point, place_labels

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

    def spec(room: Room) -> Spec:
        return _spec(curve.points, room)

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


def _spec(points: Sequence[CurvePoint], room: Room) -> Spec:
    width = room.width - _AXIS - _RIGHT
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
    labels = place_labels(places, (width, _HEIGHT), _steps(places), only_first=room.narrow)
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
        "axis": {"format": "$,.4~r", **_ticks(xs, room, logarithmic=logarithmic)},
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


def _ticks(domain: Sequence[float], room: Room, *, logarithmic: bool) -> Spec:
    if not logarithmic:
        return {"tickCount": 4 if room.narrow else 8}
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
