"""From a comparison to its charts: what is drawn, and the same figures as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jisi_cli.evaluation.curve import build_curve
from jisi_cli.evaluation.report import MethodReport
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.statistics import Difference
from jisi_cli.reporting.charts import PALETTE, Chart

_BASELINE = "best-single"
_BOUND = "oracle"
_BARS = 20
"""Bars of a histogram, at most."""


def build_charts(reports: Sequence[MethodReport], results: Mapping[str, Sequence[Result]]) -> list[Chart]:
    """Return the charts of a comparison, the leaderboard first.

    Args:
        reports: Rows of the comparison, as `build_report` makes them.
        results: The results they were made of, by method.
    """
    return [
        leaderboard(reports),
        advantage(reports),
        cost_against_quality(reports),
        profile(reports),
        shares("Models that wrote the answers", "Share of final answers by model.", _selection(reports)),
        shares("Routed, aggregated, by consensus", "Share of questions by mode.", _modes(reports)),
        support_sizes(results),
    ]


def leading(reports: Sequence[MethodReport]) -> MethodReport | None:
    """Return the method with the best average; the oracle, which reads the labels, does not compete."""
    known = [report for report in reports if report.averages is not None and report.name != _BOUND]
    return max(known, key=lambda report: report.averages.average if report.averages else 0.0, default=None)


def lead(reports: Sequence[MethodReport]) -> list[str]:
    """Return the sentences that say who wins, by how much, at what price and where."""
    best = leading(reports)
    if best is None or best.averages is None:
        return ["No method has an average: nothing was scored, or calls are missing from the replay."]
    top = best.averages.average
    equal = [found.name for found in reports if found.averages and found.averages.average == top and found is not best]
    equal = [name for name in equal if name != _BOUND]
    shared = f", shared with {_listed(equal)}" if equal else ""
    sentences = [f"{best.name} has the best average: {_percent(top)} %{shared}."]
    versus = difference_to(best, _BASELINE)
    if versus is not None:
        sentences.append(_compared(versus))
    priced = "its price is not known" if best.cost_usd is None else f"it costs {_dollars(best.cost_usd)} per question"
    sentences.append(f"At what price: {priced}.")
    other = next((report for report in reports if report.name == _BASELINE), None)
    if other is not None and other.averages is not None and other is not best:
        sentences.append(_where(best.averages.datasets, other.averages.datasets))
    return sentences


def difference_to(report: MethodReport, versus: str) -> Difference | None:
    """Return how a method compares with another; None where they share no scored question."""
    return next((found for found in report.versus if found.versus == versus and found.questions), None)


def leaderboard(reports: Sequence[MethodReport]) -> Chart:
    """Return the averages of all methods, the best first (the paper's Fig. 1)."""
    known = [(report, report.averages) for report in reports if report.averages is not None]
    known.sort(key=lambda pair: -pair[1].average)
    values = [{"method": report.name, "average": 100 * averages.average} for report, averages in known]
    x = {**_number("average", "mean over datasets, %"), "scale": {"zero": False, "nice": True}}
    spec = _points(values, {"x": x, "y": _names("method")}, PALETTE[0])
    rows = [(report.name, _percent(found.average), _percent(found.weighted)) for report, found in known]
    missing = [report.name for report in reports if report.averages is None]
    note = f"Each dataset counts alike. Without an average: {', '.join(missing)}." if missing else _ALIKE
    return Chart("Who is best", note, spec if values else None, ("method", "Avg, %", "weighted, %"), tuple(rows))


_ALIKE = "Each dataset counts alike. The oracle picks with the labels in hand: a bound, not a competitor."


def advantage(reports: Sequence[MethodReport]) -> Chart:
    """Return the paired differences to the best single model, with their intervals."""
    known = [(report.name, found) for report in reports if (found := difference_to(report, _BASELINE)) is not None]
    known.sort(key=lambda pair: -pair[1].average)
    values = [
        {"method": name, "middle": 100 * found.average, "low": 100 * found.low, "high": 100 * found.high}
        for name, found in known
    ]
    x = _number("low", "points above the best single model")
    spec = {
        "data": {"values": values},
        "height": {"step": 26},
        "encoding": {"y": _names("method")},
        "layer": [
            {"mark": {"type": "rule", "color": "var(--quiet)"}, "encoding": {"x": {"datum": 0}, "y": None}},
            {"mark": {"type": "rule", "strokeWidth": 3, "color": PALETTE[0]}, "encoding": {"x": x, "x2": _at("high")}},
            {
                "mark": {"type": "point", "filled": True, "size": 90, "color": PALETTE[0]},
                "encoding": {"x": _q("middle")},
            },
        ],
    }
    rows = [(name, _signed(d.average), _signed(d.low), _signed(d.high), _verdict(d)) for name, d in known]
    header = ("method", "difference", "low", "high", "says")
    note = "On questions that both have scores for; 95 % intervals. One that holds 0 shows no clear difference."
    if not known:
        note = f"{_BASELINE} was not run on these questions, so nothing is compared with it."
    return Chart("By how much", note, spec if values else None, header, tuple(rows))


def cost_against_quality(reports: Sequence[MethodReport]) -> Chart:
    """Return dollars per question against the average, with the Pareto front (the paper's Table 2)."""
    curve = build_curve([report for report in reports if report.name != _BOUND])
    points = [
        {"method": p.label, "cost": p.cost_usd, "average": 100 * p.average, "front": "yes" if p.on_front else "no"}
        for p in curve.points
    ]
    y = {**_number("average", "mean over datasets, %"), "scale": {"zero": False}}
    x = {**_number("cost", "US dollars per question, all calls"), "scale": {"zero": False}}
    colour = {"condition": {"test": "datum.front == 'yes'", "value": PALETTE[1]}, "value": "var(--quiet)"}
    front = {"transform": [{"filter": "datum.front == 'yes'"}], "encoding": {"x": x, "y": y}}
    label = {"type": "text", "align": "left", "dx": 7, "dy": -7, "fontSize": 12, "color": "var(--ink)"}
    spec = {
        "data": {"values": points},
        "height": 300,
        "layer": [
            {**front, "mark": {"type": "line", "interpolate": "step-after", "color": PALETTE[1]}},
            {"mark": {"type": "point", "filled": True, "size": 70}, "encoding": {"x": x, "y": y, "color": colour}},
            {**front, "mark": label, "encoding": {"x": x, "y": y, "text": {"field": "method"}}},
        ],
    }
    rows = [(p.label, _dollars(p.cost_usd), _percent(p.average), "yes" if p.on_front else "") for p in curve.points]
    note = "Nothing else is better for less along the line; those points are named."
    if not points:
        note = "No method has both an average and known dollars, so there is no price to compare."
    elif curve.unpriced:
        note += f" Without a known price: {', '.join(curve.unpriced)}."
    header = ("method", "US $ per question", "Avg, %", "on the front")
    return Chart("At what price", note, spec if points else None, header, tuple(rows))


def profile(reports: Sequence[MethodReport]) -> Chart:
    """Return means by dataset of the leader, the best single model and the bound (the paper's Fig. 2)."""
    best = leading(reports)
    shown = {best.name if best else "", _BASELINE, _BOUND}
    known = [(report.name, report.averages.datasets) for report in reports if report.averages is not None]
    values = [
        {"method": name, "dataset": dataset, "mean": 100 * mean}
        for name, means in known
        if name in shown
        for dataset, mean in means.items()
    ]
    colour = {"field": "method", "type": "nominal", "scale": {"range": list(PALETTE)}, "legend": _LEGEND}
    encoding = {"x": _number("mean", "mean score, %"), "y": _names("dataset"), "color": colour, "shape": colour_shape()}
    spec = _points(values, encoding, None)
    datasets = sorted({dataset for _, means in known for dataset in means})
    rows = [(name, *(_percent(means[d]) if d in means else "–" for d in datasets)) for name, means in known]
    note = "The best method, the best single model and the bound, dataset by dataset; the table has all methods."
    return Chart("Where", note, spec if values else None, ("method", *datasets), tuple(rows))


def shares(title: str, note: str, values: Sequence[tuple[str, str, float]]) -> Chart:
    """Return stacked shares (the paper's Fig. 6).

    Args:
        title: What is shared out.
        note: How to read it.
        values: Whose share, of what, and how much in [0, 1].
    """
    totals: dict[str, float] = {}
    for _, part, share in values:
        totals[part] = totals.get(part, 0.0) + share
    # As many as there are colours; the table names the others.
    largest = sorted(totals, key=lambda part: -totals[part])
    own = set(largest if len(largest) <= len(PALETTE) else largest[: len(PALETTE) - 1])
    data = [{"of": of, "part": part if part in own else "others", "share": share} for of, part, share in values]
    colour = {"field": "part", "type": "nominal", "scale": {"range": list(PALETTE)}, "legend": _LEGEND}
    x = {
        **_number("share", "share"),
        "axis": {"format": "%", "tickCount": 5},
        "stack": "zero",
        "scale": {"domain": [0, 1]},
    }
    spec = {
        "data": {"values": data},
        "mark": {"type": "bar", "stroke": "var(--paper)", "strokeWidth": 1},
        "height": {"step": 26},
        "encoding": {"x": x, "y": _names("of"), "color": colour},
    }
    rows = tuple((of, part, f"{share:.1%}") for of, part, share in values)
    return Chart(title, note, spec if data else None, ("of", "part", "share"), rows)


def support_sizes(results: Mapping[str, Sequence[Result]]) -> Chart:
    """Return how many recorded questions the decisions of the JiSi methods rest on."""
    counts = Counter(row.support_size for rows in results.values() for row in rows if row.support_size is not None)
    values = [{"size": size, "decisions": number} for size, number in sorted(counts.items())]
    x = {**_number("size", "questions in the support set"), "bin": {"maxbins": _BARS}}
    y = {**_number("decisions", "decisions"), "aggregate": "sum"}
    mark = {"type": "bar", "color": PALETTE[0]}
    spec = {"data": {"values": values}, "mark": mark, "height": 200, "encoding": {"x": x, "y": y}}
    note = "All methods that have a support set, together." if values else "No method here has a support set."
    rows = tuple((str(size), f"{number:,}") for size, number in sorted(counts.items()))
    return Chart("Size of the support set", note, spec if values else None, ("questions", "decisions"), rows)


_LEGEND: dict[str, Any] = {"orient": "bottom", "columns": 1, "title": None, "symbolLimit": 60}


def colour_shape() -> dict[str, Any]:
    """Return an encoding that tells methods apart by shape as well as by colour."""
    return {"field": "method", "type": "nominal", "legend": _LEGEND}


def _selection(reports: Sequence[MethodReport]) -> list[tuple[str, str, float]]:
    best = leading(reports)
    found = best.selection if best else {}
    return [("all" if of == "*" else of, part, share) for of, parts in found.items() for part, share in parts.items()]


def _modes(reports: Sequence[MethodReport]) -> list[tuple[str, str, float]]:
    return [(report.name, mode, share) for report in reports for mode, share in report.modes.items()]


def _points(values: list[dict[str, Any]], encoding: dict[str, Any], colour: str | None) -> dict[str, Any]:
    mark = {"type": "point", "filled": True, "size": 90} | ({"color": colour} if colour else {})
    return {"data": {"values": values}, "mark": mark, "height": {"step": 26}, "encoding": encoding}


def _names(field: str) -> dict[str, Any]:
    return {"field": field, "type": "nominal", "sort": None, "title": None, "axis": {"grid": True}}


def _number(field: str, title: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title}


def _q(field: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative"}


def _at(field: str) -> dict[str, Any]:
    return {"field": field}


def _compared(found: Difference) -> str:
    interval = f"{_signed(found.average)} points [{_signed(found.low)}, {_signed(found.high)}]"
    return f"By how much: {interval} against the best single model, {_verdict(found)}."


def _verdict(found: Difference) -> str:
    if found.low <= 0 <= found.high:
        return "no clear difference"
    return "better" if found.low > 0 else "worse"


def _where(best: Mapping[str, float], other: Mapping[str, float]) -> str:
    ahead = [name for name in sorted(best) if name in other and best[name] > other[name]]
    behind = [name for name in sorted(best) if name in other and best[name] < other[name]]
    return f"Where: above the best single model on {_listed(ahead)}; below on {_listed(behind)}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}"


def _dollars(value: float) -> str:
    if value == 0:
        return "$0"
    return f"${value:.6f}" if value < 0.01 else f"${value:.4f}"
