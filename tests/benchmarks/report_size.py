"""Print what the page of a comparison costs: python -m tests.benchmarks.report_size

Seconds to build it and its size, and where Playwright and Chromium are installed what a reader waits for: until the
table is there, for another order, for a filter, for a question to open. Questions have 240 characters, answers 600.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jisi_cli.evaluation.comparison import build_report
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.formats.record import Question
from jisi_cli.methods.decision import Evidence
from jisi_cli.models.replay import RecordedAnswer, ReplayPool
from jisi_cli.report.comparison_page import comparison_page
from jisi_cli.report.questions import PageData

ROWS = (100, 5_000, 50_000)
METHODS = ("best-single", "jisi-router", "jisi-vote")
MODELS = tuple(f"model-{number}" for number in range(10))
TEXT = "when the train from north is late how many apples are left for seven people in green houses"

# Each returns once the page shows what was asked for.
WAITS = {
    "sort": "() => document.querySelector('[data-sort=score]').click()",
    "filter": """() => {
        const search = document.querySelector('input[type=search]');
        search.value = 'apples'; search.dispatchEvent(new Event('input')); }""",
    "open": """async () => {
        document.querySelector('.row').click();
        while (!document.querySelector('dialog pre')) await new Promise(requestAnimationFrame); }""",
}
TIMED = "const begun = performance.now(); await ({})(); return performance.now() - begun;"


def prose(rng: np.random.Generator, characters: int) -> str:
    return " ".join(rng.choice(TEXT.split(), characters // 4))[:characters]


def drawn(method: str, rows: int, rng: np.random.Generator) -> list[Result]:
    scores = (rng.random(rows) < 0.6).astype(float).tolist()
    chosen = rng.integers(0, len(MODELS), rows).tolist()
    found = []
    for at, score in enumerate(scores):
        evidence = None
        if method != "best-single":
            first, second = (tuple(np.round(rng.random(len(MODELS)), 4).tolist()) for _ in range(2))
            near = tuple((f"d{at % 9}", str(int(rng.integers(9999))), 0.7 - 0.01 * place, True) for place in range(5))
            evidence = Evidence(MODELS, first, second, 0.1, near)
        question = (f"d{at % 9}", str(at))
        result = Result(f"{method}{at}", *question, method, "scored", score, MODELS[chosen[at]], "route", 1, 1e-3, 1e-3)
        found.append(replace(result, support_size=None if evidence is None else 88, evidence=evidence))
    return found


def material(rows: int, rng: np.random.Generator) -> PageData:
    questions = [Question(f"d{at % 9}", str(at), f"{at}: {prose(rng, 240)}", "7") for at in range(rows)]
    shared = [prose(rng, 600) for _ in range(500)]
    recorded = {
        (question.query, model): RecordedAnswer(shared[(at * 10 + place) % 500])
        for at, question in enumerate(questions)
        for place, model in enumerate(MODELS)
    }
    scores = (rng.random((rows, len(MODELS))) < 0.6).astype(float)
    tests = TestSet(questions, (), MODELS, scores, ReplayPool(recorded, MODELS), "drawn")
    return PageData(tests, {question.key: question for question in questions})


def waited(path: Path) -> str:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "no Playwright"
    if chromium is None:
        return "no Chromium"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page: Any = browser.new_page(viewport={"width": 1280, "height": 900})
        begun = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("#browser[data-ready]")
        found = [f"shown {time.perf_counter() - begun:.2f} s"]
        for name, action in WAITS.items():
            milliseconds = page.evaluate(f"async () => {{ {TIMED.format(action)} }}")
            found.append(f"{name} {milliseconds:.0f} ms")
        browser.close()
    return ", ".join(found)


def main() -> None:
    for rows in ROWS:
        rng = np.random.default_rng(1)
        results = {method: drawn(method, rows, rng) for method in METHODS}
        reports = build_report(results, ("best-single",), rng)
        known = material(rows, rng)
        started, worked = time.perf_counter(), time.process_time()
        page = comparison_page(reports, results, {}, known)
        seconds, busy = time.perf_counter() - started, time.process_time() - worked
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.html"
            path.write_text(page, encoding="utf-8")
            size = path.stat().st_size / 1e6
            built = f"built in {seconds:.2f} s ({busy:.2f} s of processor time), {size:.2f} MB"
            print(f"{rows:>7,} questions x {len(METHODS)} methods: {built}; {waited(path)}", flush=True)


if __name__ == "__main__":
    main()
