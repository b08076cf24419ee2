"""What quality costs: points of methods that trade one for the other, the Pareto front, the area under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from jisi_cli.evaluation.experiments import Variation
from jisi_cli.evaluation.report import MethodReport
from jisi_cli.methods.registry import MethodContext

_WEIGHTS = tuple(step / 10 for step in range(11))
_NAMED = {"avengers-pro": "weight", "routellm": "strong_share"}
"""Methods whose name takes the setting that trades quality for dollars, and that setting."""
_JISI = ("jisi", "jisi-router", "jisi-query", "jisi-vote", "jisi-consensus", "jisi-static")
"""Methods that trade by the hyper-parameter `price_weight`."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One method under one setting.

    Attributes:
        method: The method.
        label: The method with its setting.
        average: Its mean score over datasets.
        cost_usd: Its mean dollars of all calls per question.
        on_front: Whether no other point is as good for less, or better for as much.
    """

    method: str
    label: str
    average: float
    cost_usd: float
    on_front: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """All points and what can be had for how much.

    Attributes:
        points: By cost, then the better first.
        area: Area under the front of all points, see `area_under`; None without points.
        areas: The same for the points of each method that has several, alone, over the same dollars.
        unpriced: Methods with an entry without an average or without known dollars, which is no point.
    """

    points: tuple[CurvePoint, ...]
    area: float | None
    areas: dict[str, float]
    unpriced: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the curve as plain data."""
        return asdict(self)


def traded(name: str, context: MethodContext) -> list[Variation]:
    """Return a method at each weight of quality against dollars; a method without such a setting once.

    Args:
        name: A method's name; a setting that stands behind it stays.
        context: What it is made from.
    """
    method, _, given = name.partition(":")
    setting = _NAMED.get(method)
    if setting is not None and f"{setting}=" not in given:
        return [Variation(f"{name}:{setting}={w:g}", f"{name}:{setting}={w:g}", context) for w in _WEIGHTS]
    if name in _JISI:
        return [
            Variation(
                f"{name} price_weight={w:g}", name, replace(context, settings=replace(context.settings, price_weight=w))
            )
            for w in _WEIGHTS
        ]
    return [Variation(name, name, context)]


def build_curve(reports: Sequence[MethodReport]) -> Curve:
    """Return the points of a comparison.

    Args:
        reports: Rows of the table, labelled as `traded` does.
    """
    priced = [(report, report.averages, report.cost_usd) for report in reports]
    points = [
        CurvePoint(_method_of(report.name), report.name, averages.average, cost)
        for report, averages, cost in priced
        if averages is not None and cost is not None
    ]
    points.sort(key=lambda point: (point.cost_usd, -point.average, point.label))
    front = {point.label for point in pareto_front(points)}
    marked = tuple(replace(point, on_front=point.label in front) for point in points)
    missing = [_method_of(report.name) for report, averages, cost in priced if averages is None or cost is None]
    unpriced = tuple(dict.fromkeys(missing))
    if not points:
        return Curve((), None, {}, unpriced)
    low, high = points[0].cost_usd, points[-1].cost_usd
    names = list(dict.fromkeys(_method_of(report.name) for report in reports))
    own = {name: [point for point in points if point.method == name] for name in names}
    areas = {name: area_under(found, low, high) for name, found in own.items() if len(found) > 1}
    return Curve(marked, area_under(points, low, high), areas, unpriced)


def pareto_front(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return the points that are better than every cheaper one, by cost; of equal ones the first by label."""
    front: list[CurvePoint] = []
    for point in sorted(points, key=lambda point: (point.cost_usd, -point.average, point.label)):
        if not front or point.average > front[-1].average:
            front.append(point)
    return front


def area_under(points: Sequence[CurvePoint], low: float, high: float) -> float:
    """Return the best average that can be had for a budget, averaged over budgets from `low` to `high` dollars.

    It is the area under the staircase of the Pareto front over the width of the range: what no point is cheap
    enough for counts 0, and nothing is mixed from two points. Of a range without width, the best average.

    Args:
        points: Points of one method or of all.
        low: Smallest budget per question.
        high: Largest budget per question.
    """
    front = [point for point in pareto_front(points) if point.cost_usd <= high]
    if high <= low:
        return max((point.average for point in front), default=0.0)
    ends = [*(point.cost_usd for point in front[1:]), high]
    widths = [max(end, low) - max(point.cost_usd, low) for point, end in zip(front, ends, strict=True)]
    return sum(point.average * width for point, width in zip(front, widths, strict=True)) / (high - low)


def _method_of(label: str) -> str:
    base = label.partition(" ")[0].partition(":")
    return base[0] if base[0] in _NAMED else label.partition(" price_weight=")[0]
