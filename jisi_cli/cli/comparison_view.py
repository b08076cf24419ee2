"""How a comparison is shown to a person: a table that fits the terminal without cutting a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from jisi_cli.cli.layout import Interval, Picture, intervals
from jisi_cli.cli.output import Column, Output, count, dollars, one_line

if TYPE_CHECKING:
    from jisi_cli.evaluation.comparison import Comparison, MethodReport
    from jisi_cli.evaluation.experiments import Curve
    from jisi_cli.evaluation.splits import SplitReport
    from jisi_cli.evaluation.statistics import Difference
    from jisi_cli.methods.registry import MethodInfo


def show_report(reports: Sequence[MethodReport], out: Output) -> None:
    """Write the scores, then what they cost, then the time they took, then what could not be replayed."""
    _show_scores(reports, out, "differences of Avg with 95 % paired bootstrap intervals")
    _show_beside_scores(reports, out)


def show_splits(rows: Sequence[SplitReport], number: int, out: Output) -> None:
    """Write the same of several splits together, and how much they differ.

    Args:
        rows: The methods.
        number: Number of splits.
        out: Where to.
    """
    reports = [row.overall for row in rows]
    versus = _versus(reports)
    spread = {"spread": [_percent(row.spread) for row in rows]}
    worst = {f"worst vs {name}": [_worst(row.worst(name)) for row in rows] for name in versus[:1]}
    words = (
        f"means over {number} splits, and their standard deviation (spread); differences of Avg with 95 % intervals "
        "over splits and questions, and on the worst split (its seed)"
    )
    _show_scores(reports, out, words, spread, worst)
    _show_beside_scores(reports, out)
    for row in rows:
        known = sum(split.average is not None for split in row.splits)
        if 0 < known < number:
            out.warn(f"{row.overall.name}: on {known} of {number} splits alone; on the others it has no Avg")


def _worst(found: tuple[int, float] | None) -> str:
    return "" if found is None else f"{100 * found[1]:+.2f} ({found[0]})"


def _show_beside_scores(reports: Sequence[MethodReport], out: Output) -> None:
    out.separate()
    _show_costs(reports, out)
    if any(report.seconds for report in reports):
        out.separate()
        _show_times(reports, out)
    for report in reports:
        _explain_gaps(report, out)
    untried = [report.name for report in reports if _is_untried(report)]
    if untried:
        out.note(f"need --live, for calls that were not recorded: {', '.join(untried)}")


def _versus(reports: Sequence[MethodReport]) -> list[str]:
    return list(dict.fromkeys(difference.versus for report in reports for difference in report.versus))


def _show_scores(
    reports: Sequence[MethodReport],
    out: Output,
    what: str,
    after_averages: Mapping[str, Sequence[str]] = MappingProxyType({}),
    after_differences: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Write the table of scores.

    Args:
        reports: Its rows.
        out: Where to.
        what: What it shows besides percentages, in words.
        after_averages: Further columns by name, a cell for each row.
        after_differences: The same, further right.
    """
    datasets = sorted({name for report in reports if report.averages for name in report.averages.datasets})
    versus = _versus(reports)
    beside = [name for name in ("failed", "unscored") if any(getattr(report, name) for report in reports)]
    titles = [*datasets, "Avg", "weighted", *after_averages, *beside, *(f"vs {name}" for name in versus)]
    titles += [*after_differences, *(["win/tie/loss"] if versus else [])]
    rows = []
    for place, report in enumerate(reports):
        differences, counts = _difference_cells(report, versus)
        cells = [*_mean_cells(report, datasets), *(column[place] for column in after_averages.values())]
        cells += [*(f"{getattr(report, name):,}" for name in beside), *differences]
        rows.append([report.name, *cells, *(column[place] for column in after_differences.values()), *counts])
    columns = [Column("method"), *(Column(title, right=True) for title in titles)]
    out.table(columns, rows, picture=_forest(reports, versus[0]) if versus else None)
    if versus:
        out.note(f"in %; {what}; win/tie/loss against {versus[0]}")


def _forest(reports: Sequence[MethodReport], versus: str) -> Picture:
    """Return the differences to one method and their intervals, side by side: those clear of 0 are real."""
    differences = [next((found for found in report.versus if found.versus == versus), None) for report in reports]
    lines: list[Interval | None] = [
        (found.low, found.average, found.high) if found and found.questions else None for found in differences
    ]
    return Picture(f"Avg vs {versus}", lambda width: intervals(lines, width))


def _mean_cells(report: MethodReport, datasets: Sequence[str]) -> list[str]:
    if report.averages is None:
        return ["–"] * (len(datasets) + 2)
    by_dataset = [report.averages.datasets.get(name) for name in datasets]
    return [_percent(value) for value in (*by_dataset, report.averages.average, report.averages.weighted)]


def _difference_cells(report: MethodReport, versus: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the differences to other methods, and wins, ties and losses against the first."""
    if not versus:
        return [], []
    found = {difference.versus: difference for difference in report.versus}
    shown = [_difference(found.get(name)) for name in versus]
    if report.needs_live:
        shown[0] = "needs --live"
    first = found.get(versus[0])
    return shown, [f"{first.wins}/{first.ties}/{first.losses}" if first else ""]


def _show_costs(reports: Sequence[MethodReport], out: Output) -> None:
    columns = [Column("method"), Column("calls", right=True), Column("cost, all calls", right=True)]
    columns += [
        Column("cost, winner", right=True),
        Column("support", right=True),
        Column("modes"),
        Column("most chosen"),
    ]
    is_sure = any(report.calibration_error is not None for report in reports)
    columns += [Column("ECE", right=True)] if is_sure else []
    rows = []
    for report in reports:
        if set(report.modes) == {"needs-live"}:
            continue  # it was not tried, so that there is nothing to say but that
        calls = "–" if report.calls is None else f"{report.calls:.2f}"
        support = "" if report.support_size is None else f"{report.support_size:.0f}"
        modes = ", ".join(f"{mode} {share:.0%}" for mode, share in report.modes.items())
        chosen = max(report.selection.get("*", {}).items(), key=lambda item: item[1], default=None)
        most = f"{chosen[0]} {chosen[1]:.0%}" if chosen else ""
        known = report.calls is not None
        costs = [dollars(report.cost_usd) if known else "–", dollars(report.winner_cost_usd) if known else "–"]
        error = [_percent(report.calibration_error)] if is_sure else []
        rows.append([report.name, calls, *costs, support, modes, most, *error])
    out.table(columns, rows)
    out.note("calls and cost are means per question")
    if is_sure:
        out.note(_ECE)


_ECE = (
    "ECE: expected calibration error in %, the distance between how sure a method was and how often it was right, over "
    "ten bins of confidence weighted by their answers"
)


def _show_times(reports: Sequence[MethodReport], out: Output) -> None:
    """Write how long training and scoring took, both in seconds."""
    columns = [Column("method"), Column("training", right=True), Column("scoring", right=True), Column("")]
    rows = []
    for report in reports:
        if report.seconds is None:
            continue
        train, kept = report.seconds.train, report.seconds.train_from_cache
        training = _seconds(train) if train is not None else "unknown" if kept else "–"
        remarks = ["from the cache"] if kept else []
        remarks += [report.chosen] if report.chosen else []
        rows.append([report.name, training, _seconds(report.seconds.score), "; ".join(remarks)])
    out.table(columns, rows)
    out.note("training and scoring are in seconds, for all questions; from the cache: what it took when it was done")


def _is_untried(report: MethodReport) -> bool:
    return report.needs_live == report.questions > 0


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _explain_gaps(report: MethodReport, out: Output) -> None:
    if report.needs_live and not _is_untried(report):
        out.note(
            f"{report.name}: {report.needs_live:,} of {report.questions:,} questions need calls that were not recorded "
            "(an aggregator's answer); add --live"
        )
    if report.failed:
        what = "it counts as wrong" if report.failed == 1 else "they count as wrong"
        if report.failed_left_out:
            what = "left out of its means, where they would count 0 with --failed wrong"
        out.warn(f"{report.name}: no model answered {count(report.failed, 'question')}; {what}")
    if report.unscored:
        out.warn(f"{report.name}: left out of its means, without a score: {count(report.unscored, 'answer')}")


def note_questions(comparison: Comparison, out: Output) -> None:
    """Say how many questions there were, and why some were not answered."""
    sizes = Counter(question.dataset for question in comparison.tests.questions)
    each = ", ".join(f"{one_line(name, 60)} {number:,}" for name, number in sorted(sizes.items())[:_SHOWN_DATASETS])
    more = f" and {len(sizes) - _SHOWN_DATASETS} more" if len(sizes) > _SHOWN_DATASETS else ""
    failed = {
        (row.dataset, row.index) for rows in comparison.results.values() for row in rows if row.status == "failed"
    }
    what = f"; {len(failed):,} of them failed with at least one method" if failed else ""
    out.note(f"{count(sum(sizes.values()), 'question')} ({each}{more}){what}")
    for name, rows in comparison.results.items():
        reasons = Counter(row.error or "no reason was recorded" for row in rows if row.status == "failed")
        for reason, number in reasons.most_common(_SHOWN_REASONS):
            out.note(f"{name}: {count(number, 'question')} failed: {one_line(reason, 300)}")
        rest = sum(number for _, number in reasons.most_common()[_SHOWN_REASONS:])
        if rest:
            out.note(f"{name}: {count(rest, 'question')} failed for other reasons")


_SHOWN_DATASETS = 8
_SHOWN_REASONS = 3


def _difference(difference: Difference | None) -> str:
    if difference is None or not difference.questions:
        return ""
    return f"{100 * difference.average:+.2f} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


# What quality costs: the points by cost, then the area under the front.


def show_curve(curve: Curve, out: Output) -> None:
    """Write the points by cost, then the area under the front of all and of each method with several points."""
    columns = [Column("method"), Column("calls", right=True), Column("cost per question", right=True)]
    columns += [Column("Avg", right=True), Column("front")]
    rows = [
        [
            point.label,
            "–" if point.calls is None else f"{point.calls:.2f}",
            dollars(point.cost_usd),
            f"{100 * point.average:.2f}",
            "*" if point.on_front else "",
        ]
        for point in curve.points
    ]
    out.table(columns, rows)
    if curve.area is not None:
        out.separate()
        areas = {"all together": curve.area, **curve.areas}
        table = [[name, f"{100 * area:.2f}"] for name, area in areas.items()]
        out.table([Column("method"), Column("area under the front", right=True)], table)
        out.note(
            f"the best Avg in % for a budget, averaged over budgets from {dollars(curve.points[0].cost_usd)} "
            f"to {dollars(curve.points[-1].cost_usd)} per question; * marks the Pareto front"
        )
    if curve.unpriced:
        out.warn(
            f"{', '.join(curve.unpriced)}: no point where an Avg or dollars are unknown; "
            "--prices names list prices, --live asks"
        )


# The list of methods: what each does, what it needs, where it comes from.


def show_methods(out: Output, *, as_json: bool) -> None:
    """List the methods."""
    from jisi_cli.methods.registry import all_methods, broken_plugins

    infos = list(all_methods().values())
    for words in broken_plugins():
        out.warn(words)
    if as_json:
        out.json([_method_json(info) for info in infos])
        return
    columns = [
        Column("method"),
        Column("what it does"),
        Column("needs"),
        Column("training", right=True),
        Column("source"),
    ]
    rows = [[info.usage, info.summary, info.needs, _training(info), info.source] for info in infos]
    if out.draws:
        # A terminal is too narrow for whole sentences in another column.
        out.table(columns, rows)
        out.separate()
        for info in infos:
            if info.departures:
                out.sentence(f"{info.usage} differs from its source: {info.departures}")
    else:
        columns.append(Column("differs from its source in this"))
        out.table(columns, [[*row, info.departures] for row, info in zip(rows, infos, strict=True)])
    out.note(
        "training: about how much processor time it takes on 2,000 questions and 10 models; what was trained is kept"
    )


def _method_json(info: MethodInfo) -> dict[str, object]:
    same = {name: getattr(info, name) for name in ("departures", "needs", "training_seconds", "source")}
    return {"name": info.usage, "description": info.summary, **same}


def _training(info: MethodInfo) -> str:
    return "" if info.training_seconds is None else f"{info.training_seconds:g} s"
