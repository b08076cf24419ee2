"""The pages of a comparison of methods: who wins, by how much, at what price, where, and the charts below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jisi_cli.evaluation.comparison import (
    BASELINE,
    BOUND,
    UNCLEAR,
    MethodReport,
    competes,
    difference_to,
    headline,
    leading,
    verdict,
)
from jisi_cli.evaluation.experiments import grown
from jisi_cli.evaluation.learning_curve import LearningCurve
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.splits import Split, SplitReport, pooled_results
from jisi_cli.evaluation.statistics import Averages
from jisi_cli.report.charts import HOVER, INK, PALETTE, Chart, Spec, Viewport, fitted, names, number
from jisi_cli.report.leaderboard import leaderboard
from jisi_cli.report.page import UNKNOWN, Page, Tile, dollars, listed, percent, render, signed
from jisi_cli.report.pool_charts import growth, learning, modes, profile, selection
from jisi_cli.report.price_chart import cost_against_quality
from jisi_cli.report.questions import PageData, question_data
from jisi_cli.report.reliability import confidence, explained, margins, reliability, support_sizes


def comparison_page(
    reports: Sequence[MethodReport],
    results: Mapping[str, Sequence[Result]],
    origin: Mapping[str, str],
    page_data: PageData | None = None,
    curve: LearningCurve | None = None,
) -> str:
    """Return the page as HTML.

    Args:
        reports: Rows of the comparison.
        results: What they were made of, by method, all in the order of the same questions.
        origin: What made it: command, seed, versions and hashes.
        page_data: The questions and recorded answers; None where only names are known.
        curve: The bank's learning curve, if it was measured.
    """
    known = explained(reports, results)
    best = leading(reports)
    data = question_data(results, page_data, known[0] if known else None, best.name if best else None, BASELINE)
    page = Page(
        title="Comparison of methods",
        subtitle=_subtitle(results, page_data),
        headline=headline(reports),
        tiles=tiles(reports, results),
        charts=[*_charts(reports, results, known), *(() if curve is None else (learning(curve),))],
        origin=origin,
        data=data,
        scripts=("question.js", "questions.js"),
        browser=True,
    )
    return render(page)


def _charts(
    reports: Sequence[MethodReport], results: Mapping[str, Sequence[Result]], known: Sequence[str]
) -> list[Chart]:
    charts = [growth(reports), leaderboard(reports), cost_against_quality(reports), profile(reports)]
    charts += [selection(reports), modes(reports), confidence(reports)]
    if known:
        charts += [
            support_sizes(results, known[0]),
            margins(results, known[0]),
            reliability(results, _whole(reports, known)),
        ]
    return [chart for chart in charts if chart is not None]


def _whole(reports: Sequence[MethodReport], names: Sequence[str]) -> list[str]:
    """Leave out methods that answered only what happened to need no live call: no fair sample of the questions."""
    whole = {report.name for report in reports if report.averages is not None}
    return [name for name in names if name in whole]


def _subtitle(results: Mapping[str, Sequence[Result]], page_data: PageData | None) -> str:
    rows = next(iter(results.values()), ())
    datasets = {row.dataset for row in rows}
    parts = [f"{len(rows):,} questions", f"{len(datasets):,} datasets", f"{len(results):,} methods"]
    if page_data is not None and page_data.tests.models:
        parts.append(f"{len(page_data.tests.models):,} models")
    return " · ".join(parts)


def tiles(reports: Sequence[MethodReport], results: Mapping[str, Sequence[Result]]) -> list[Tile]:
    """Return the winner's lead, price, datasets and what is left to win."""
    best = leading(reports)
    if best is None or best.averages is None:
        return []
    by_name = {report.name: report for report in reports}
    single, bound = by_name.get(BASELINE), by_name.get(BOUND)
    found = [_by_how_much(reports, best, single), _price(best, single, _unpriced(results.get(best.name, ())))]
    if single is not None and single.averages is not None and best is not single:
        found.append(_where(best.averages.datasets, single.averages.datasets))
    if bound is not None and bound.averages is not None:
        found.append(_left_to_win(best.averages, bound.averages))
    return found


def _by_how_much(reports: Sequence[MethodReport], best: MethodReport, single: MethodReport | None) -> Tile:
    title = "By how much"
    size = grown(best.name)
    if size is not None and best.averages is not None:
        return _growth(reports, *size, best.averages.average)
    found = difference_to(best, BASELINE)
    if found is not None:
        says = {"better": "clearly better", "worse": "clearly worse"}.get(verdict(found), UNCLEAR)
        interval = f"95 % interval {signed(found.low)} to {signed(found.high)}"
        return Tile(title, f"{signed(found.average)} points", f"than {_called(single)}; {interval}: {says}")
    if best is single:
        others = [r.averages.average for r in reports if r.averages and competes(r.name) and r is not best]
        lead = best.averages.average - max(others) if best.averages and others else None
        note = "nothing beats the best single model" + (f"; the next is {signed(-lead)} points away" if lead else "")
        return Tile(title, "no gain", note)
    return Tile(title, "unknown", f"{BASELINE} was not run on these questions, or not on all of them")


def _growth(reports: Sequence[MethodReport], method: str, models: int, average: float) -> Tile:
    """Return what the winner gained while its pool grew."""
    sizes = [(grown(report.name), report.averages.average) for report in reports if report.averages]
    fewest, then = min((found[1], mean) for found, mean in sizes if found is not None and found[0] == method)
    note = f"more than {method} has with {fewest} of these {models} models"
    return Tile("By how much", f"{signed(average - then)} points", note)


def _called(single: MethodReport | None) -> str:
    model = _favourite(single.selection) if single is not None else None
    return "the best single model" if model is None else f"the best single model ({model})"


def _favourite(selection: Mapping[str, Mapping[str, float]]) -> str | None:
    shares = selection.get("*", {})
    return max(shares, key=lambda model: shares[model], default=None)


def _unpriced(rows: Sequence[Result]) -> list[str]:
    """Return the models whose calls have no known price."""
    calls = (call for row in rows for call in row.bill or ())
    return list(dict.fromkeys(call.model for call in calls if call.list_cost_usd is None and not call.failed))


def _price(best: MethodReport, single: MethodReport | None, unpriced: list[str]) -> Tile:
    title = "At what price"
    known = single.cost_usd if single is not None and single is not best else None
    if best.cost_usd is None:
        other = f"; the best single model costs {dollars(known)} per 1,000 questions" if known is not None else ""
        return Tile(title, "unknown", f"{listed(unpriced, 2) or 'one of its calls'} has no known price{other}")
    note = "per 1,000 questions, all calls"
    if known:
        note += f"; {best.cost_usd / known:.2g} times the best single model's {dollars(known)}"
    elif known == 0:
        note += f"; the best single model costs {dollars(known)}"
    return Tile(title, dollars(best.cost_usd), note)


def _where(best: Mapping[str, float], other: Mapping[str, float]) -> Tile:
    gains = {name: best[name] - other[name] for name in sorted(best) if name in other}
    if not gains:
        return Tile("Where", "unknown", "no dataset has scores of both")
    most, least = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    ahead = sum(gain > 0 for gain in gains.values())
    noun = "dataset" if len(gains) == 1 else "datasets"
    note = f"most on {most} ({signed(gains[most])})"
    if len(gains) > 1:
        note += f", least on {least} ({signed(gains[least])})"
    return Tile("Where", f"{ahead} of {len(gains)} {noun}", f"ahead of the best single model; {note}")


def _left_to_win(best: Averages, bound: Averages) -> Tile:
    left = signed(bound.average - best.average)
    return Tile(
        "Left to win",
        f"{left} points",
        f"the oracle, which picks with the labels in hand, has {percent(bound.average)} %",
    )


# The page of a comparison over several splits: the means, and how far they differ from split to split.

_ROW_HEIGHT = 24


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
        subtitle=_splits_subtitle(splits),
        headline=headline(reports),
        tiles=tiles(reports, results),
        charts=[chart for chart in charts if chart is not None],
        origin=origin,
    )
    return render(page)


def _splits_subtitle(splits: Sequence[Split]) -> str:
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
        return fitted(
            viewport, {"data": {"values": values}, "height": {"step": _ROW_HEIGHT}, "layer": layers}, right=16
        )

    seeds = [split.seed for split in rows[0].splits]
    header = ("method", "spread of Avg", *(f"{what} {seed}" for seed in seeds for what in ("Avg,", "difference,")))
    note = (
        "A point is the difference to the best single model on one split, both fitted on that split's train rows; the "
        "bar is their mean. The intervals above count which questions there are and how they were split. In the table "
        "splits go by their seeds."
    )
    return Chart("Split by split", note, spec if values else None, header, tuple(map(_split_row, ranked)))


def _split_row(row: SplitReport) -> tuple[str, ...]:
    cells = [
        cell
        for split in row.splits
        for cell in (
            percent(split.average),
            signed(split.differences[BASELINE]) if BASELINE in split.differences else UNKNOWN,
        )
    ]
    return (row.overall.name, percent(row.spread), *cells)
