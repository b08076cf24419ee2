"""The page of one comparison of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jisi_cli.evaluation.report import MethodReport
from jisi_cli.evaluation.results import Result
from jisi_cli.reporting.figures import build_charts, lead
from jisi_cli.reporting.page import Page, render
from jisi_cli.reporting.questions import question_data


def comparison_page(
    reports: Sequence[MethodReport],
    results: Mapping[str, Sequence[Result]],
    origin: Mapping[str, str],
    texts: Sequence[str] | None = None,
) -> str:
    """Return the page as HTML.

    Args:
        reports: Rows of the comparison.
        results: What they were made of, by method, all in the order of the same questions.
        origin: What made it: command, seed, versions and hashes.
        texts: The questions; None where only their names are known.
    """
    page = Page(
        title="Comparison of methods",
        lead=lead(reports),
        charts=build_charts(reports, results),
        origin=origin,
        data=question_data(results, texts),
        scripts=("questions.js",),
    )
    return render(page)
