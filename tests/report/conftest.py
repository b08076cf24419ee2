"""Results to report on, and a browser without a network to open reports in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jisi_cli.evaluation.comparison import MethodReport, build_report
from jisi_cli.evaluation.results import Result
from jisi_cli.methods.decision import Evidence

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MODELS = ("ada", "bob")


def results_of(method: str, scores: list[float], cost: float | None, support: int | None = None) -> list[Result]:
    evidence = None
    if support is not None:
        near = (("d", "near-1", 0.9, True), ("d", "near-2", 0.8, False))
        evidence = Evidence(MODELS, (0.75, 0.25), (0.9, 0.1), 0.5, near)
    return [
        Result(
            f"{method}{at}",
            "d",
            str(at),
            method,
            "scored",
            score,
            MODELS[at % 2],
            "route",
            1,
            cost,
            cost,
            support_size=support,
            evidence=evidence,
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


@dataclass
class Opened:
    """A page in a browser, and what it tried to do.

    Attributes:
        page: Playwright's page.
        complaints: Lines of the console and errors of scripts.
        requests: Addresses that were asked for besides the file itself.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Browser:
    """Chromium without a network."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    def open(self, path: Path, width: int = 1280, **options: Any) -> Opened:
        context = self._browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        page = context.new_page()
        page.set_default_timeout(120_000)
        opened = Opened(page)
        page.on("console", lambda line: opened.complaints.append(line.text))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("request", lambda request: opened.requests.append(request.url))
        page.goto(path.as_uri(), timeout=120_000)
        opened.requests.remove(path.as_uri())
        return opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium for one module: its event loop would be in the way of all tests that have their own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; with apt: apt-get install chromium")
    # Chromium's own sandbox refuses to run as root, which is who runs tests in a container.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    flags = ["--disable-dev-shm-usage", *(["--no-sandbox"] if root else [])]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=180_000)
        yield Browser(chromium)
        chromium.close()
