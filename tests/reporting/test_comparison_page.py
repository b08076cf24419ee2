"""The page of a comparison: its figures, its escaping, and the page itself in a browser without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jisi_cli.cli.app import app
from jisi_cli.evaluation.report import MethodReport, build_report
from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.reporting.comparison_page import comparison_page
from jisi_cli.reporting.figures import advantage, cost_against_quality, lead, leaderboard, support_sizes

pytest.importorskip("vl_convert", reason="the extra `report` is not installed")

PLANTED = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def results_of(method: str, scores: list[float], cost: float | None, support: int | None = None) -> list[Result]:
    return [
        Result(
            f"{method}{at}", "d", str(at), method, "scored", score, "m", "route", 1, cost, cost, support_size=support
        )
        for at, score in enumerate(scores)
    ]


@pytest.fixture
def results() -> dict[str, list[Result]]:
    return {
        "best-single": results_of("best-single", [1, 0, 0, 1], 0.002),
        "jisi-router": results_of("jisi-router", [1, 1, 0, 1], 0.001, 7),
        "unpriced": results_of("unpriced", [0, 0, 0, 0], None),
    }


@pytest.fixture
def reports(results: dict[str, list[Result]]) -> list[MethodReport]:
    return build_report(results, ("best-single",), np.random.default_rng(1))


def test_the_leaderboard_has_the_averages_best_first(reports: list[MethodReport]) -> None:
    assert leaderboard(reports).rows == (
        ("jisi-router", "75.00", "75.00"),
        ("best-single", "50.00", "50.00"),
        ("unpriced", "0.00", "0.00"),
    )


def test_an_interval_that_holds_0_is_no_clear_difference(reports: list[MethodReport]) -> None:
    row = next(row for row in advantage(reports).rows if row[0] == "jisi-router")
    assert row[1] == "+25.00"
    assert row[4] == "no clear difference"
    assert "no clear difference" in " ".join(lead(reports))


def test_a_method_without_a_price_is_named_and_not_drawn_at_0(reports: list[MethodReport]) -> None:
    chart = cost_against_quality(reports)
    assert [row[0] for row in chart.rows] == ["jisi-router", "best-single"]
    assert [row[3] for row in chart.rows] == ["yes", ""]
    assert "unpriced" in chart.note


def test_support_sizes_are_counted(results: dict[str, list[Result]]) -> None:
    assert support_sizes(results).rows == (("7", "4"),)


def test_the_policy_allows_the_page_s_own_script_and_style_alone(
    reports: list[MethodReport], results: dict[str, list[Result]]
) -> None:
    page = comparison_page(reports, results, {}, [PLANTED] * 4)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and policy[1].startswith("default-src 'none'") and "unsafe" not in policy[1]
    for tag in ("style", "script"):
        text = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert text
        assert base64.b64encode(hashlib.sha256(text[1].encode()).digest()).decode() in policy[1]
    assert PLANTED not in page


def test_a_page_is_made_of_stored_results(tmp_path: Path, results: dict[str, list[Result]]) -> None:
    with ResultFile(tmp_path / "results.jsonl") as file:
        for row in (row for rows in results.values() for row in rows):
            file.write(row)
    done = CliRunner().invoke(app, ["report", str(tmp_path / "results.jsonl"), "-o", str(tmp_path / "out.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    data = re.search(r'id="data">(.*?)</script>', page)
    assert data
    assert [method["name"] for method in json.loads(data[1])["methods"]] == list(results)


def test_results_of_different_questions_are_refused(tmp_path: Path, results: dict[str, list[Result]]) -> None:
    with ResultFile(tmp_path / "results.jsonl") as file:
        for row in [*results["best-single"], results["jisi-router"][0]]:
            file.write(row)
    done = CliRunner().invoke(app, ["report", str(tmp_path / "results.jsonl"), "-o", str(tmp_path / "out.html")])
    assert done.exit_code == 2


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_planted_script_is_inert_in_a_browser(
    tmp_path: Path, reports: list[MethodReport], results: dict[str, list[Result]]
) -> None:
    path = tmp_path / "page.html"
    path.write_text(comparison_page(reports, results, {"command": PLANTED}, [PLANTED] * 4), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    flags += "--disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
    done = subprocess.run(
        [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "<title>Comparison of methods</title>" in done.stdout
    assert "4 of 4 questions" in done.stdout
    assert "CONSOLE" not in done.stderr
