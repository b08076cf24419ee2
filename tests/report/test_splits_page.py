"""The page of a comparison over splits: what it shows, that `jisi report` makes it again, and that it opens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.evaluation.splits import Split, SplitReport, summarise
from jisi_cli.report.charts import draw
from jisi_cli.report.comparison_page import by_split, splits_page
from tests.cli.commands import jisi, says_one_error
from tests.cli.evaluation_data import build
from tests.report.conftest import Browser, results_of
from tests.report.test_comparison_page import PLANTED

pytest.importorskip("vl_convert", reason="the extra `report` is not installed")


def of_split(seed: int, single: list[float], ours: list[float]) -> Split:
    rows = {"best-single": results_of("best-single", single, 0.002), "jisi-vote": results_of("jisi-vote", ours, 0.001)}
    rows["jisi-vote"] = [replace(row, confidence=0.9) for row in rows["jisi-vote"]]
    return Split(seed, {name: [replace(row, split=seed) for row in found] for name, found in rows.items()})


@pytest.fixture
def splits() -> list[Split]:
    return [of_split(42, [1, 0, 0, 0], [1, 1, 0, 1]), of_split(43, [1, 0, 1, 1], [1, 0, 0, 1])]


@pytest.fixture
def rows(splits: list[Split]) -> list[SplitReport]:
    return summarise(splits, ("best-single",), np.random.default_rng(1))


def test_the_chart_has_a_point_for_each_split_and_the_table_its_figures(rows: list[SplitReport]):
    chart = by_split(rows)
    assert chart.header == ("method", "spread of Avg", "Avg, 42", "difference, 42", "Avg, 43", "difference, 43")
    assert dict((row[0], row[1:]) for row in chart.rows) == {
        "jisi-vote": ("17.68", "75.00", "+50.00", "50.00", "−25.00"),
        "best-single": ("35.36", "25.00", "–", "75.00", "–"),
    }
    assert "jisi-vote, seed 43: −25.00 points" in draw(chart)["wide"]


def test_the_page_has_means_over_splits_and_the_reliability_of_all_answers(
    rows: list[SplitReport], splits: list[Split]
):
    page = splits_page(rows, splits, {"command": PLANTED})
    assert "Nobody clearly beats the best single model (best-single)" in page  # eight answers are few
    assert "2 splits · 4 different test questions" in page
    assert "Confidence" in page and "80 to 90 %" not in page and "90 to 100 %" in page
    assert PLANTED not in page


def test_a_page_can_be_made_of_stored_results(tmp_path: Path, splits: list[Split]):
    lines = [
        replace(row, key=f"{row.split}{row.key}") for split in splits for rows in split.results.values() for row in rows
    ]
    path = stored(tmp_path / "results.jsonl", lines)
    run = jisi("report", path, "-o", tmp_path / "page.html")
    assert run.exit_code == 0, run
    assert "Split by split" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "no single questions" in says_one_error(
        jisi("report", path, "-o", tmp_path / "b.html", "--bank", tmp_path), 2
    )
    mixed = stored(
        tmp_path / "mixed.jsonl", [*lines, *(replace(line, key=f"x{line.key}", split=None) for line in lines[:4])]
    )
    assert "a file of its own" in says_one_error(jisi("report", mixed, "-o", tmp_path / "b.html"), 2)


def stored(path: Path, lines: list[Result]) -> Path:
    with ResultFile(path) as file:
        for line in lines:
            file.write(line)
    return path


def test_eval_writes_the_page_beside_its_table(tmp_path: Path):
    run = jisi("eval", build(tmp_path), "--splits", "2", "--method", "knn", "--report", tmp_path / "page.html")
    assert run.exit_code == 0, run
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Comparison of methods over splits" in page and "fraction 0.7, seeds 42, 43" in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_opens_in_a_browser_and_asks_for_nothing(
    browser: Browser, tmp_path: Path, rows: list[SplitReport], splits: list[Split], width: int
):
    (tmp_path / "page.html").write_text(splits_page(rows, splits, {"command": PLANTED}), encoding="utf-8")
    opened = browser.open(tmp_path / "page.html", width)
    page = opened.page
    assert page.title() == "Comparison of methods over splits"
    page.locator("summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    shown = page.locator("main").inner_text() if page.locator("main").count() else page.locator("body").inner_text()
    for part in ("Split by split", "Confidence", "Expected calibration error", "mean confidence"):
        assert part in shown
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (opened.complaints, opened.requests) == ([], [])
    page.context.close()
