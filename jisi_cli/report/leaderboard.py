"""The leaderboard: averages, paired differences with their intervals, prices (the paper's Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.evaluation.comparison import (
    BASELINE,
    BOUND,
    UNCLEAR,
    MethodReport,
    competes,
    difference_to,
    leading,
    verdict,
)
from jisi_cli.report.charts import (
    HOVER,
    INK,
    PALETTE,
    PAPER,
    QUIET,
    Chart,
    Spec,
    Viewport,
    fitted,
    names,
    number,
    text_width,
)
from jisi_cli.report.page import UNKNOWN, dollars, listed, percent, signed

_STEP = 24
_VERDICTS = {"better": PALETTE[0], UNCLEAR: QUIET, "worse": PALETTE[1]}
_HEADER = ("method", "Avg, %", "weighted, %", "difference, points", "from", "to", "says", "$ per 1,000 questions")


def leaderboard(reports: Sequence[MethodReport]) -> Chart:
    """Return all methods, the best first, with differences to the best single model."""
    known = [(report, report.averages) for report in reports if report.averages is not None]
    known.sort(key=lambda pair: -pair[1].average)
    ranked = [report for report, _ in known]
    best = leading(reports)
    values = [_value(report) for report in ranked]

    def spec(viewport: Viewport) -> Spec:
        bold = best.name if best else None
        return _narrow(values, viewport, bold) if viewport.narrow else _wide(values, viewport, bold)

    beside = [name for name in ("failed", "unscored") if any(getattr(report, name) for report in reports)]
    rows = tuple((*_row(report), *(f"{getattr(report, name):,}" for name in beside)) for report in ranked)
    return Chart("Leaderboard", _note(reports), spec if values else None, (*_HEADER, *beside), rows)


def _note(reports: Sequence[MethodReport]) -> str:
    parts = ["Avg gives each dataset the same weight; prices charge all calls."]
    if any(difference_to(report, BASELINE) for report in reports):
        parts.append(
            "Differences are to the best single model on the same questions, with 95 % paired bootstrap intervals: "
            "blue is better, orange worse, grey shows no clear difference."
        )
    else:
        parts.append(f"{BASELINE} was not run on all of these questions, so nothing is compared with it.")
    if any(not competes(report.name) for report in reports):
        parts.append(f"Hollow: an {BOUND}, told what no method can know.")
    if any(report.failed_left_out for report in reports):
        parts.append("Questions that no model answered are left out of the means; the table counts them.")
    elif any(report.failed for report in reports):
        parts.append("Questions that no model answered count 0; the table counts them.")
    if any(report.unscored for report in reports):
        parts.append("Answers without a score are left out of the means; the table counts them.")
    missing = [report.name for report in reports if report.averages is None]
    if missing:
        parts.append(f"Without an average, because calls or scores are missing: {listed(missing)}.")
    return " ".join(parts)


def _row(report: MethodReport) -> tuple[str, ...]:
    found, averages = difference_to(report, BASELINE), report.averages
    price = UNKNOWN if report.cost_usd is None else dollars(report.cost_usd)
    means = (percent(averages.average), percent(averages.weighted)) if averages else (UNKNOWN, UNKNOWN)
    if found is None:
        return (report.name, *means, UNKNOWN, UNKNOWN, UNKNOWN, "", price)
    ends = (signed(found.average), signed(found.low), signed(found.high))
    return (report.name, *means, *ends, verdict(found), price)


def _value(report: MethodReport) -> Spec:
    found = difference_to(report, BASELINE)
    value: Spec = {
        "method": report.name,
        "average": 100 * report.averages.average if report.averages else None,
        "shown": percent(report.averages.average if report.averages else None),
        "price": UNKNOWN if report.cost_usd is None else dollars(report.cost_usd),
        "competes": competes(report.name),
        "hover": f"{report.name}: {percent(report.averages.average if report.averages else None)} %",
    }
    if found is not None:
        value |= {"middle": 100 * found.average, "low": 100 * found.low, "high": 100 * found.high}
        value["says"] = verdict(found)
        interval = f"({signed(found.low)} to {signed(found.high)}): {value['says']}"
        value["hover"] += f", {signed(found.average)} points {interval}"
    return value


def _wide(values: list[Spec], viewport: Viewport, bold: str | None) -> Spec:
    extent = min(viewport.label_width, 12 + int(max(text_width(value["method"]) for value in values) * 1.05))
    compared = any("middle" in value for value in values)
    free = viewport.width - extent - 110
    rows = names("method", viewport, [value["method"] for value in values], bold)
    axis = {**rows["axis"], "minExtent": extent, "maxExtent": extent, "labelLimit": extent - 8}
    bare = {**rows, "axis": {**axis, "labels": False, "minExtent": 0, "maxExtent": 0}}
    rows = {**rows, "axis": axis}
    panels = [_averages(values, rows, int(free * 0.36) if compared else free + 20)]
    if compared:
        panels.append(_differences(values, bare, int(free * 0.64)))
    panels.append(_prices(values, {**bare, "axis": None}))
    return {
        "data": {"values": values},
        "hconcat": panels,
        "spacing": 20,
        "padding": {"left": 0, "right": 4, "top": 0, "bottom": 4},
    }


def _averages(values: list[Spec], rows: Spec, width: int) -> Spec:
    found = [value["average"] for value in values]
    span = max(max(found) - min(found), 1.0)
    # Room for the number at the right of the best point.
    domain = [max(0.0, min(found) - 0.05 * span), max(found) + 52 * span / max(width - 52, 1)]
    # The number of the best may stand where an axis of percents has ended.
    beyond: Spec = {"labelExpr": "datum.value > 100 ? '' : datum.label"}
    beyond["gridOpacity"] = {"condition": {"test": "datum.value > 100", "value": 0}, "value": 1}
    x = {**number("average", None, **beyond), "scale": {"domain": domain, "nice": False, "zero": False}}
    return {
        "title": {"text": "Avg, %", "frame": "group"},
        "width": width,
        "height": {"step": _STEP},
        "encoding": {"y": rows, "x": x},
        "layer": [
            {"mark": {**_POINT, "strokeWidth": 1.5}, "encoding": {"fill": _SOLID, "stroke": {"value": INK}, **HOVER}},
            {"mark": {"type": "text", "align": "left", "dx": 9}, "encoding": {"text": {"field": "shown"}}},
        ],
    }


_POINT: Spec = {"type": "point", "size": 70}
_SOLID: Spec = {"condition": {"test": "datum.competes", "value": INK}, "value": PAPER}
"""Points of what competes are filled, the others hollow."""


def _differences(values: list[Spec], rows: Spec, width: int) -> Spec:
    return {
        "title": {"text": "points above the best single model, with 95 % interval", "frame": "group"},
        "width": width,
        "height": {"step": _STEP},
        "layer": _forest(values, rows, number("low", None)),
    }


def _forest(values: list[Spec], rows: Spec, x: Spec) -> list[Spec]:
    present = {value["says"] for value in values if "says" in value}
    kinds = [kind for kind in _VERDICTS if kind in present]
    colour = {
        "field": "says",
        "type": "nominal",
        "scale": {"domain": kinds, "range": [_VERDICTS[kind] for kind in kinds]},
        "legend": None,
    }
    known = [{"filter": "isValid(datum.middle)"}]
    return [
        {"mark": {"type": "rule", "color": INK, "strokeWidth": 1}, "encoding": {"x": {"datum": 0}}},
        {
            "transform": known,
            "mark": {"type": "rule", "strokeWidth": 3, "strokeCap": "round"},
            "encoding": {"y": rows, "x": x, "x2": {"field": "high"}, "color": colour, **HOVER},
        },
        {
            "transform": known,
            "mark": {"type": "point", "size": 60, "strokeWidth": 2.5},
            "encoding": {
                "y": rows,
                "x": {"field": "middle", "type": "quantitative"},
                "stroke": colour,
                "fill": {"condition": {**colour, "test": "datum.competes"}, "value": PAPER},
                **HOVER,
            },
        },
    ]


def _prices(values: list[Spec], rows: Spec) -> Spec:
    return {
        "title": {"text": "$ per 1,000", "anchor": "end", "frame": "group"},
        "width": 70,
        "height": {"step": _STEP},
        "mark": {"type": "text", "align": "right", "color": QUIET},
        "encoding": {"y": rows, "x": {"value": 70}, "text": {"field": "price"}},
    }


def _narrow(values: list[Spec], viewport: Viewport, bold: str | None) -> Spec:
    rows = names("method", viewport, [value["method"] for value in values], bold)
    if any("middle" in value for value in values):
        layer = _forest(values, rows, number("low", "points above the best single model", tickCount=4))
    else:
        mark = {"type": "point", "filled": True, "size": 80, "color": INK}
        layer = [{"mark": mark, "encoding": {"y": rows, "x": number("average", None, tickCount=4), **HOVER}}]
    text = {
        "mark": {"type": "text", "align": "right", "dx": 46},
        "encoding": {"y": rows, "x": {"value": "width"}, "text": {"field": "shown"}},
    }
    title = {"text": "Avg, %", "anchor": "end", "dx": 46, "frame": "group"}
    spec = {"data": {"values": values}, "title": title, "height": {"step": _STEP}, "layer": [*layer, text]}
    return fitted(viewport, spec, right=2)
