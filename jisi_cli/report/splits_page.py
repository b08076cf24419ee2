"""The page of a comparison over several splits: the means, how far they differ from split to split, and the charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jisi_cli.evaluation.headline import BASELINE, headline
from jisi_cli.evaluation.splits import Split, SplitReport, pooled_results
from jisi_cli.report.charts import HOVER, INK, PALETTE, Chart, Spec, Viewport, fitted, names, number
from jisi_cli.report.comparison_page import tiles
from jisi_cli.report.leaderboard import leaderboard
from jisi_cli.report.page import UNKNOWN, Page, percent, render, signed
from jisi_cli.report.pool_charts import modes, profile, selection
from jisi_cli.report.price_chart import cost_against_quality
from jisi_cli.report.reliability import confidence

_STEP = 24


def splits_page(rows: Sequence[SplitReport], splits: Sequence[Split], origin: Mapping[str, str]) -> str:
    """Return the page as HTML.

    Args:
        rows: Rows of the comparison.
        splits: What they were made of.
        origin: What made it: command, seed, versions and hashes.
    """
    reports, results = [row.overall for row in rows], pooled_results(splits)
    charts: list[Chart | None] = [leaderboard(reports), by_split(rows), cost_against_quality(reports), profile(reports)]
    charts += [selection(reports), modes(reports), confidence(reports)]
    page = Page(
        title="Comparison of methods over splits",
        subtitle=_subtitle(splits),
        headline=headline(reports),
        tiles=tiles(reports, results),
        charts=[chart for chart in charts if chart is not None],
        origin=origin,
    )
    return render(page)


def _subtitle(splits: Sequence[Split]) -> str:
    tested = {(row.dataset, row.index) for split in splits for row in split.rows}
    datasets = {dataset for dataset, _ in tested}
    methods = {name for split in splits for name in split.results}
    parts = (f"{len(splits)} splits", f"{len(tested):,} different test questions", f"{len(datasets):,} datasets")
    return " · ".join((*parts, f"{len(methods):,} methods"))


def by_split(rows: Sequence[SplitReport]) -> Chart:
    """Return how each method compares with the best single model on each split, the best mean first."""
    ranked = sorted(rows, key=lambda row: -(row.overall.averages.average if row.overall.averages else -1.0))
    values = [
        {
            "method": row.overall.name,
            "points": 100 * split.differences[BASELINE],
            "hover": f"{row.overall.name}, seed {split.seed}: {signed(split.differences[BASELINE])} points",
        }
        for row in ranked
        for split in row.splits
        if BASELINE in split.differences
    ]
    order = list(dict.fromkeys(str(value["method"]) for value in values))

    def spec(viewport: Viewport) -> Spec:
        x, y = number("points", "points above the best single model"), names("method", viewport, order)
        point = {"type": "point", "filled": True, "size": 60, "color": PALETTE[0], "opacity": 0.6}
        mean = {"type": "tick", "thickness": 3, "size": 16, "color": INK}
        layers = [
            {"mark": {"type": "rule", "color": INK, "strokeWidth": 1}, "encoding": {"x": {"datum": 0}}},
            {"mark": point, "encoding": {"x": x, "y": y, **HOVER}},
            {"mark": mean, "encoding": {"x": {**x, "aggregate": "mean"}, "y": y}},
        ]
        return fitted(viewport, {"data": {"values": values}, "height": {"step": _STEP}, "layer": layers}, right=16)

    seeds = [split.seed for split in rows[0].splits]
    header = ("method", "spread of Avg", *(f"{what} {seed}" for seed in seeds for what in ("Avg,", "difference,")))
    note = (
        "A point is the difference to the best single model on one split, both fitted on that split's train rows; the "
        "bar is their mean. The intervals above count which questions there are and how they were split. In the table "
        "splits go by their seeds."
    )
    return Chart("Split by split", note, spec if values else None, header, tuple(map(_row, ranked)))


def _row(row: SplitReport) -> tuple[str, ...]:
    cells = [
        cell
        for split in row.splits
        for cell in (
            percent(split.average),
            signed(split.differences[BASELINE]) if BASELINE in split.differences else UNKNOWN,
        )
    ]
    return (row.overall.name, percent(row.spread), *cells)
