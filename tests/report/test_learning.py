"""The learning curve of a bank on the page of a comparison."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jisi_cli.evaluation.comparison import MethodReport
from jisi_cli.evaluation.learning_curve import CurvePoint, Gain, LearningCurve
from jisi_cli.evaluation.results import Result
from jisi_cli.report.charts import NARROW, WIDE, Viewport, draw
from jisi_cli.report.comparison_page import comparison_page
from jisi_cli.report.pool_charts import learning
from tests.cli.commands import jisi, recorded_answers, write_lines
from tests.report.conftest import Browser

pytest.importorskip("vl_convert", reason="the extra `report` is not installed")

POINTS = (CurvePoint(25, 0.70, 0.68, Gain(0.02, -0.01, 0.05)), CurvePoint(1_000, 0.74, 0.69, Gain(0.05, 0.02, 0.08)))
SETTINGS = {"k": 3, "n_base": 50, "gamma": 0.95, "prior": 0.0}
CURVE = LearningCurve("jisi-vote", SETTINGS, 10, POINTS, Gain(0.04, 0.01, 0.07))


def test_the_table_has_each_size_with_its_gain_and_the_note_says_whether_more_helps() -> None:
    chart = learning(CURVE)
    assert chart.rows == (
        ("25", "70.00", "68.00", "+2.00", "−1.00 to +5.00"),
        ("1,000", "74.00", "69.00", "+5.00", "+2.00 to +8.00"),
    )
    assert "the vote gained 4.00 points" in chart.note and chart.note.endswith("more questions still help.")


@pytest.mark.parametrize("viewport", [WIDE, NARROW])
def test_the_chart_draws_what_the_table_says(viewport: Viewport) -> None:
    chart = learning(CURVE)
    assert chart.spec is not None
    values = chart.spec(viewport)["data"]["values"]
    assert [(value["questions"], value["average"]) for value in values] == [(25, 70), (25, 68), (1000, 74), (1000, 69)]
    assert [(value["low"], value["high"]) for value in values[::2]] == [
        (pytest.approx(67), pytest.approx(73)),
        (pytest.approx(71), pytest.approx(77)),
    ]
    svg = draw(chart)["wide"]
    assert "1,000" in svg and "vote, a bank of 25 questions: 70.00 %, gain +2.00 −1.00 to +5.00" in svg


def test_a_curve_of_one_size_is_a_table_alone() -> None:
    chart = learning(LearningCurve("jisi-vote", SETTINGS, 10, POINTS[:1], None))
    assert chart.spec is None and len(chart.rows) == 1


def test_eval_puts_the_curve_on_the_page_into_json_and_on_the_terminal(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers(questions=80))
    bank, page = tmp_path / "bank", tmp_path / "page.html"
    jisi("bank", "build", source, "-o", bank, "--embedder", "hashing:64", "--split", "0.7")
    common = ("eval", bank, "--method", "best-single,jisi-vote", "--learning-curve")
    run = jisi(*common, "--json", "--report", page)
    curve = run.json["learning_curve"]
    assert curve == jisi("bank", "inspect", bank, "--curve", "--json").json["curve"]
    assert [point["questions"] for point in curve["points"]] == [25, 44]
    shown = page.read_text(encoding="utf-8")
    assert "Learning curve" in shown and f">{100 * curve['points'][0]['average']:.2f}<" in shown
    assert re.search(r"from 25 to \d+ questions the vote", jisi(*common).stdout)
    assert "learning_curve" not in jisi("eval", bank, "--method", "best-single", "--json").json
    assert jisi(*common, "--splits", "2").errors == [
        "error: --splits and --learning-curve are experiments of their own; give one of them"
    ]


@pytest.mark.parametrize("width", [320, 1280])
def test_the_curve_is_seen_in_a_browser(
    browser: Browser, tmp_path: Path, width: int, reports: list[MethodReport], results: dict[str, list[Result]]
) -> None:
    (tmp_path / "page.html").write_text(comparison_page(reports, results, {}, curve=CURVE), encoding="utf-8")
    opened = browser.open(tmp_path / "page.html", width)
    section = opened.page.locator("section", has=opened.page.locator("h2", has_text="Learning curve"))
    assert section.locator("svg:visible").count() == 1
    assert section.locator("svg:visible title", has_text="best single model, a bank of 1,000").count() == 1
    section.locator("summary").click()
    assert section.locator("table:visible td", has_text="+2.00 to +8.00").count() == 1
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert (opened.complaints, opened.requests) == ([], [])
    opened.page.context.close()
