"""Reports in a real browser without a network: they work, ask for nothing, and run nothing that was planted.

Playwright (in the extra `test`) drives the Chromium that is installed (`apt-get install chromium`); without one of them
these tests are skipped. To see what they see, open a page yourself:

    jisi eval sample_data/bank --method all --report report.html && chromium report.html
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jisi_cli.evaluation.comparison import MethodReport
from jisi_cli.evaluation.results import Result
from jisi_cli.report.comparison_page import comparison_page
from tests.cli.commands import write_lines
from tests.cli.evaluation_data import answers
from tests.report.conftest import Browser, Opened
from tests.report.test_comparison_page import PLANTED

pytest.importorskip("vl_convert", reason="the extra `report` is not installed")


def jisi_process(folder: Path, *arguments: str | Path) -> None:
    """Run a command in a process of its own: while Playwright is at work, this one has a running event loop."""
    homes = {f"JISI_{kind}_HOME": str(folder / kind) for kind in ("CACHE", "DATA", "CONFIG")}
    command = [sys.executable, "-m", "jisi_cli", *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, **homes}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a bank whose questions, references, answers, data sets and models are all planted."""
    folder = tmp_path_factory.mktemp("hostile")
    lines = json.dumps(answers()).replace("trees", json.dumps(f"trees {PLANTED}")[1:-1])
    lines = lines.replace('"ada"', json.dumps(f"ada {PLANTED}")).replace("counts.", json.dumps(PLANTED)[1:-1])
    source = write_lines(folder / "answers.jsonl", json.loads(lines))
    jisi_process(folder, "bank", "build", source, "-o", folder / "bank", "--embedder", "hashing:64", "--split", "0.7")
    methods = "best-single,jisi-router,jisi-vote,knn,oracle"
    jisi_process(folder, "eval", folder / "bank", "--method", methods, "--report", folder / "page.html")
    return folder / "page.html"


@pytest.fixture
def opened(browser: Browser, hostile_page: Path) -> Iterator[Opened]:
    found = browser.open(hostile_page)
    found.page.wait_for_selector("#browser[data-ready]")
    yield found
    assert found.complaints == []
    assert found.requests == []
    assert found.page.title() == "Comparison of methods"
    assert found.page.locator("img").count() == 0
    found.page.context.close()


def rows(opened: Opened) -> list[list[str]]:
    return [row.locator("span").all_inner_texts() for row in opened.page.locator(".row").all()]


def test_nothing_that_was_planted_runs_wherever_it_is_shown(opened: Opened):
    page = opened.page
    page.locator(".row", has_text="trees").first.click()
    page.locator("dialog details").first.wait_for()
    page.locator("dialog details").evaluate_all("all => all.forEach(one => one.open = true)")
    shown = page.locator("dialog").inner_text()
    assert shown.count("onerror") > 3
    for _ in range(3):
        page.get_by_label("Next question", exact=True).click()
        page.wait_for_timeout(50)


def test_the_table_is_sorted_by_a_click_and_turned_round_by_another(opened: Opened):
    head = opened.page.locator(".head button", has_text="Outcome")
    head.click()
    down = [row[-1] for row in rows(opened)]
    assert down == sorted(down, key=lambda text: "right" in text) and len(set(down)) == 2
    head.click()
    assert [row[-1] for row in rows(opened)] == down[::-1]


def test_the_table_is_filtered_by_text_dataset_and_outcome(opened: Opened):
    page, count = opened.page, opened.page.locator(".count")
    assert count.inner_text() == "12 of 12 questions"
    page.get_by_label("Dataset", exact=True).select_option("sums")
    assert count.inner_text() == "6 of 12 questions"
    page.get_by_label("Outcome", exact=True).select_option("Right")
    assert {row[-1] for row in rows(opened)} == {"✓ right"}
    page.get_by_label("Search questions", exact=True).fill("no such question")
    assert count.inner_text() == "0 of 12 questions"


def test_an_opened_question_shows_answers_grades_scores_and_neighbours(opened: Opened):
    page = opened.page
    page.get_by_label("Method", exact=True).select_option("jisi-router")
    page.locator(".row").first.click()
    dialog = page.locator("dialog[open]")
    dialog.locator("pre").first.wait_for()
    text = dialog.inner_text()
    for part in ("Reference answer", "Nearest questions of the bank", "Answers, by model", "Methods", "promised"):
        assert part in text
    assert "The answer is" in text
    assert dialog.locator(".meter").count() >= 3
    title = dialog.locator("h2").inner_text()
    page.keyboard.press("ArrowRight")
    dialog.locator("h2", has_not_text=title).wait_for()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_light_and_dark_follow_the_system_until_the_reader_chooses(browser: Browser, hostile_page: Path):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = browser.open(hostile_page, color_scheme="light").page
    dark = browser.open(hostile_page, color_scheme="dark").page
    assert light.evaluate(paper) != dark.evaluate(paper)
    before = dark.evaluate(paper)
    dark.locator("#theme").click()
    assert dark.evaluate(paper) == light.evaluate(paper) != before


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_page_is_wider_than_its_window(browser: Browser, hostile_page: Path, width: int):
    page = browser.open(hostile_page, width).page
    page.wait_for_selector("#browser[data-ready]")
    page.locator("summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()


def test_a_printed_page_has_its_charts_and_no_buttons(browser: Browser, hostile_page: Path):
    page = browser.open(hostile_page).page
    page.emulate_media(media="print")
    assert page.locator("svg:visible").count() > 3
    assert page.locator("button:visible").count() == 0
    page.context.close()


def test_fifty_thousand_questions_keep_few_rows_in_the_page(
    browser: Browser, tmp_path: Path, reports: list[MethodReport], results: dict[str, list[Result]]
):
    many = {name: rows * 12_500 for name, rows in results.items()}
    (tmp_path / "page.html").write_text(comparison_page(reports, many, {}), encoding="utf-8")
    page = browser.open(tmp_path / "page.html").page
    page.wait_for_selector("#browser[data-ready]")
    assert page.locator(".count").inner_text() == "50,000 of 50,000 questions"
    page.locator(".rows").evaluate("view => view.scrollTop = 1_000_000")
    page.wait_for_function("document.querySelector('.row').dataset.place > 20000")
    assert page.locator(".row").count() < 40
    page.locator(".row").nth(10).click()
    page.locator("dialog[open] h2", has_text="d /").wait_for()
    page.context.close()


def test_the_page_of_a_decision_runs_nothing_that_was_planted(browser: Browser, hostile_page: Path, tmp_path: Path):
    html = tmp_path / "one.html"
    question = f"How many trees? {PLANTED}"
    jisi_process(tmp_path, "route", question, "--bank", hostile_page.parent / "bank", "--html", html)
    opened = browser.open(html)
    assert opened.page.title() == "One decision"
    assert "onerror" in opened.page.locator("header p").inner_text()
    assert opened.page.locator("svg:visible").count() == 3
    assert (opened.complaints, opened.requests) == ([], [])
    opened.page.context.close()
