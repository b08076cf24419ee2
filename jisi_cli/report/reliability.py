"""Whether decisions can be believed: what they promised against how often they were right, and what they rested on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.comparison import MethodReport, leading
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.statistics import mean_gap
from jisi_cli.report.charts import HOVER, INK, PALETTE, QUIET, Chart, Spec, Viewport, fitted, number

_PER_BIN = 15
_BINS = 10
_PANELS = 3


# How sure a method was: bins of equal width, and the expected calibration error.


def confidence(reports: Sequence[MethodReport]) -> Chart | None:
    """Return the reliability diagram of the methods that say how sure they are; None without one.

    Args:
        reports: Rows of the comparison.
    """
    sure = [report for report in reports if report.calibration_error is not None]
    lines = [line for report in sure for line in _confidence_lines(report)]
    if not lines:
        return None
    shown = [report.name for report in sure][:_PANELS]

    def spec(viewport: Viewport) -> Spec:
        return _panels([line for line in lines if line["method"] in shown], shown, viewport, "confidence")

    errors = ", ".join(f"{report.name} {100 * (report.calibration_error or 0):.1f}" for report in sure)
    note = (
        "Is a method right as often as it is sure to be? On the dashed line it is; below it, it is too sure. Bins of "
        "equal width, with 95 % Wilson intervals. Expected calibration error (mean distance of confidence and share "
        f"right, weighted by answers) in points: {errors}."
    )
    rows = tuple((line["method"], line["bin"], *_cells(line)) for line in lines)
    header = ("method", "confidence", "mean confidence", "right", "95 % interval", "answers")
    return Chart("Confidence", note, spec, header, rows)


def _confidence_lines(report: MethodReport) -> list[Spec]:
    return [
        _line(report.name, "confidence", part.confidence, part.score, part.answers)
        | {"bin": f"{100 * part.low:.0f} to {100 * part.high:.0f} %"}
        for part in report.reliability
    ]


def _line(method: str, promise: str, promised: float, observed: float, count: int) -> Spec:
    """Return one bin of a reliability diagram as data of a chart."""
    low, high = _wilson(observed, count)
    hover = f"{promise} {100 * promised:.1f} %, right {100 * observed:.1f} % of {count:,}"
    ends = {"promised": promised, "observed": observed, "low": low, "high": high}
    return {"method": method, **ends, "questions": count, "hover": hover}


def _cells(line: Spec) -> tuple[str, ...]:
    """Return the same bin as cells of a table."""
    interval = f"{100 * line['low']:.1f} to {100 * line['high']:.1f} %"
    return f"{100 * line['promised']:.1f} %", f"{100 * line['observed']:.1f} %", interval, f"{line['questions']:,}"


# What the scores promised: bins of equal size.


def reliability(results: Mapping[str, Sequence[Result]], methods: Sequence[str]) -> Chart | None:
    """Return what the scores promised of the models that answered, against how often those were right.

    Questions are put into bins of about equal size by what was promised.
    """
    bins = [line for method in methods for line in _bins(method, results[method])]
    shown = list(dict.fromkeys(line["method"] for line in bins))[:_PANELS]
    if not shown:
        return None
    rows = tuple((line["method"], *_cells(line)) for line in bins)

    def spec(viewport: Viewport) -> Spec:
        return _panels([line for line in bins if line["method"] in shown], shown, viewport, "promised")

    errors = ", ".join(f"{name} {100 * _gap(bins, name):.1f}" for name in shown)
    note = (
        "Do the scores keep what they promise? They promise the weighted share of near questions that the answering "
        "model solved. On the dashed line they keep it; below it, they promise too much. Bins of equal size, with 95 % "
        f"Wilson intervals. Mean distance in points: {errors}."
    )
    header = ("method", "promised", "right", "95 % interval", "questions")
    return Chart("Reliability", note, spec, header, rows)


def _bins(method: str, rows: Sequence[Result]) -> list[Spec]:
    pairs = [
        (promised, row.score)
        for row in rows
        if row.evidence is not None
        and row.score is not None
        and (promised := row.evidence.promised(row.model)) is not None
    ]
    if len(pairs) < 2 * _PER_BIN:
        return []
    promises, outcomes = np.array(pairs).T
    found = []
    for part in _parts(promises):
        promised, observed = float(promises[part].mean()), float(outcomes[part].mean())
        found.append(_line(method, "promised", promised, observed, len(part)))
    return found


def _parts(promises: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Return rows in bins of about equal size by what was promised; equal promises are never parted."""
    order = np.argsort(promises, kind="stable")
    ordered = promises[order]
    cuts = [part[-1] for part in np.array_split(ordered, min(_BINS, len(ordered) // _PER_BIN))]
    # Were ties parted by their order in the file, or worse by their outcome, bins would differ by nothing else.
    ends = np.unique(np.searchsorted(ordered, cuts, side="right"))
    return [part for part in np.split(order, ends) if len(part)]


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927)."""
    z = 1.959964
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    whole = 1 + z * z / count
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def _gap(bins: Sequence[Spec], method: str) -> float:
    """Return the mean distance of promised and observed of one method, by questions."""
    return mean_gap([(b["questions"], b["promised"], b["observed"]) for b in bins if b["method"] == method]) or 0.0


def _panels(bins: list[Spec], methods: list[str], viewport: Viewport, promise: str) -> Spec:
    across = 1 if viewport.narrow else len(methods)
    width = min(300, (viewport.width - 24 * (across - 1)) // across - 66)
    panels = [_panel([line for line in bins if line["method"] == method], method, width, promise) for method in methods]
    return {"vconcat" if viewport.narrow else "hconcat": panels, "spacing": 24, "padding": 4}


def _panel(bins: list[Spec], method: str, width: int, promise: str) -> Spec:
    def axis(field: str, title: str) -> Spec:
        return {
            "field": field,
            "type": "quantitative",
            "title": title,
            "scale": {"domain": [0, 1]},
            "axis": {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1], "labelOverlap": False, "labelFlush": False},
        }

    x, y = axis("promised", promise), axis("low", "right")
    diagonal = {
        "data": {"values": [{"at": 0}, {"at": 1}]},
        "mark": {"type": "line", "color": QUIET, "strokeDash": [4, 4]},
    }
    return {
        "title": {"text": method, "color": INK, "fontWeight": "bold", "fontSize": 13},
        "width": width,
        "height": width,
        "layer": [
            {**diagonal, "encoding": {"x": {**x, "field": "at"}, "y": {**y, "field": "at"}}},
            {
                "data": {"values": bins},
                "mark": {"type": "rule", "strokeWidth": 2, "color": PALETTE[0], "opacity": 0.6},
                "encoding": {"x": x, "y": y, "y2": {"field": "high"}, **HOVER},
            },
            {
                "data": {"values": bins},
                "mark": {"type": "point", "filled": True, "size": 70, "color": PALETTE[0]},
                "encoding": {"x": x, "y": axis("observed", "right"), **HOVER},
            },
        ],
    }


# What the decisions rested on: sizes of support sets, and margins.

Results = Mapping[str, Sequence[Result]]
_BARS = 20


def explained(reports: Sequence[MethodReport], results: Results) -> list[str]:
    """Return the methods whose decisions were kept: the leader, those with an average, the others."""
    best = leading(reports)
    whole = {report.name for report in reports if report.averages is not None}
    order = sorted(results, key=lambda name: (best is None or name != best.name, name not in whole))
    return [name for name in order if any(row.support_size is not None for row in results[name])]


def support_sizes(results: Results, method: str) -> Chart:
    """Return on how many recorded questions the decisions of a method rest."""
    sizes = [row.support_size for row in results[method] if row.support_size is not None]
    step = _step(min(sizes), max(sizes))
    counts: dict[int, int] = {}
    for size in sizes:
        counts[size // step * step] = counts.get(size // step * step, 0) + 1
    # A bar of one size stands over its number.
    shift = 0.5 if step == 1 else 0.0
    middle = int(np.median(sizes))
    rows = tuple(
        (f"{low:,}" if step == 1 else f"{low:,} to {low + step - 1:,}", f"{count:,}")
        for low, count in sorted(counts.items())
    )
    values = [
        {"from": low - shift, "to": low + step - shift, "questions": count, "hover": _counted(row)}
        for (low, count), row in zip(sorted(counts.items()), rows, strict=True)
    ]

    def spec(viewport: Viewport) -> Spec:
        return _histogram(values, "questions in the support set", "d", float(middle), viewport)

    note = f"How many past questions each decision of {method} rests on; the median, {middle:,}, is marked."
    return Chart("Support sets", note, spec, ("support set", "questions"), rows, half=True)


def margins(results: Results, method: str) -> Chart | None:
    """Return how far the second best model's score lay below the best; None where that was not kept."""
    kept = [row.evidence.margin for row in results[method] if row.evidence and row.evidence.margin is not None]
    if not kept:
        return None
    bars = min(2 * _BARS, max(8, int(2 * math.sqrt(len(kept)))))
    step = next((step for step in (0.01, 0.02, 0.05) if max(kept) < bars * step), 0.1)
    counts: dict[int, int] = {}
    for margin in kept:
        # The last bar holds its right end, too: nothing lies further below the best than all of it.
        at = min(int(margin / step + 1e-9), round(1 / step) - 1)
        counts[at] = counts.get(at, 0) + 1
    rows = tuple(
        (f"{100 * at * step:.0f} to {100 * (at + 1) * step:.0f} %", f"{n:,}") for at, n in sorted(counts.items())
    )
    values = [
        {"from": at * step, "to": (at + 1) * step, "questions": count, "hover": _counted(row)}
        for (at, count), row in zip(sorted(counts.items()), rows, strict=True)
    ]
    middle = float(np.median(kept))

    def spec(viewport: Viewport) -> Spec:
        return _histogram(values, "second best score below the best", ".0%", middle, viewport)

    note = f"How clearly {method} decided: at 0 the two best tie. The median, {100 * middle:.1f} %, is marked."
    return Chart("Margins", note, spec, ("margin", "questions"), rows, half=True)


def _counted(row: tuple[str, str]) -> str:
    """Return what a bar tells, given its row of the table."""
    return f"{row[0]}: {row[1]} question{'' if row[1] == '1' else 's'}"


def _step(low: int, high: int) -> int:
    """Return the smallest of 1, 2, 5, 10, … that needs at most `_BARS` bars."""
    size = 1
    while True:
        for factor in (1, 2, 5):
            if (high - low) / (size * factor) < _BARS:
                return size * factor
        size *= 10


def _histogram(values: list[Spec], title: str, format: str, middle: float, viewport: Viewport) -> Spec:
    x = number("from", title, format=format, grid=False, tickCount=5)
    y = {"field": "questions", "type": "quantitative", "title": "questions", "axis": {"tickCount": 4}}
    bar = {"type": "bar", "color": PALETTE[0], "binSpacing": 1}
    spec = {
        "data": {"values": values},
        "height": 200,
        "layer": [
            {"mark": bar, "encoding": {"x": {**x, "bin": "binned"}, "x2": {"field": "to"}, "y": y, **HOVER}},
            {"mark": {"type": "rule", "color": PALETTE[1], "strokeWidth": 2}, "encoding": {"x": {"datum": middle}}},
        ],
    }
    return fitted(viewport, spec, right=16)
