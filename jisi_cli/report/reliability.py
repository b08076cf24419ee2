"""Whether methods can be believed: what scores promised, and how sure a method was, against how often it was right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.comparison import MethodReport
from jisi_cli.evaluation.reliability import mean_gap
from jisi_cli.evaluation.results import Result
from jisi_cli.report.charts import HOVER, INK, PALETTE, QUIET, Chart, Spec, Viewport

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
