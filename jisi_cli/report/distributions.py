"""What the decisions rested on: sizes of support sets, and margins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from jisi_cli.evaluation.comparison import MethodReport
from jisi_cli.evaluation.headline import leading
from jisi_cli.evaluation.results import Result
from jisi_cli.report.charts import HOVER, PALETTE, Chart, Spec, Viewport, fitted, number

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
