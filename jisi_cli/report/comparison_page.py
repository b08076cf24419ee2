"""The page of one comparison of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jisi_cli.evaluation.comparison import MethodReport
from jisi_cli.evaluation.results import Result
from jisi_cli.report.charts import Chart
from jisi_cli.report.distributions import explained, margins, reliability, support_sizes
from jisi_cli.report.headline import BASELINE, headline, leading, tiles
from jisi_cli.report.leaderboard import leaderboard
from jisi_cli.report.page import Page, render
from jisi_cli.report.pool_charts import growth, modes, profile, selection
from jisi_cli.report.price_chart import cost_against_quality
from jisi_cli.report.questions import Material, question_data


def comparison_page(
    reports: Sequence[MethodReport],
    results: Mapping[str, Sequence[Result]],
    origin: Mapping[str, str],
    material: Material | None = None,
) -> str:
    """Return the page as HTML.

    Args:
        reports: Rows of the comparison.
        results: What they were made of, by method, all in the order of the same questions.
        origin: What made it: command, seed, versions and hashes.
        material: The questions and recorded answers; None where only names are known.
    """
    known = explained(reports, results)
    best = leading(reports)
    data = question_data(results, material, known[0] if known else None, best.name if best else None, BASELINE)
    page = Page(
        title="Comparison of methods",
        subtitle=_subtitle(results, material),
        headline=headline(reports),
        tiles=tiles(reports, results),
        charts=_charts(reports, results, known),
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
    charts += [selection(reports), modes(reports)]
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


def _subtitle(results: Mapping[str, Sequence[Result]], material: Material | None) -> str:
    rows = next(iter(results.values()), ())
    datasets = {row.dataset for row in rows}
    parts = [f"{len(rows):,} questions", f"{len(datasets):,} datasets", f"{len(results):,} methods"]
    if material is not None and material.tests.models:
        parts.append(f"{len(material.tests.models):,} models")
    return " · ".join(parts)
