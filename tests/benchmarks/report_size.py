"""Print how long the page of a comparison takes to build and how big it is: python -m tests.benchmarks.report_size"""

from __future__ import annotations

import time

import numpy as np

from jisi_cli.evaluation.report import build_report
from jisi_cli.evaluation.results import Result
from jisi_cli.reporting.comparison_page import comparison_page

ROWS = (100, 5_000, 50_000)
METHODS = ("best-single", "jisi-router", "jisi")


def drawn(method: str, rows: int, rng: np.random.Generator) -> list[Result]:
    scores = (rng.random(rows) < 0.6).astype(float).tolist()
    return [
        Result(f"{method}{at}", f"d{at % 9}", str(at), method, "scored", score, f"m{at % 10}", "route", 1, 1e-3, 1e-3)
        for at, score in enumerate(scores)
    ]


def main() -> None:
    for rows in ROWS:
        rng = np.random.default_rng(1)
        results = {method: drawn(method, rows, rng) for method in METHODS}
        reports = build_report(results, ("best-single",), rng)
        texts = [f"Question {at}: " + "what is it? " * 20 for at in range(rows)]
        started = time.perf_counter()
        page = comparison_page(reports, results, {}, texts)
        print(
            f"{rows:>7,} questions x {len(METHODS)} methods: {time.perf_counter() - started:.2f} s, "
            f"{len(page.encode()) / 1e6:.2f} MB"
        )


if __name__ == "__main__":
    main()
