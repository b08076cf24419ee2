"""The table of questions as plain data for the scripts: what every row needs at once, and details in chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jisi_cli.evaluation.results import Result
from jisi_cli.reporting.question_details import Details, Material, Names, Results
from jisi_cli.reporting.titles import titles

CHUNK = 200
"""Questions whose details are unpacked together."""
_TITLE = 300
"""Characters that the table has of a question."""


def question_data(
    results: Results, material: Material | None, explained: str | None, first: str | None, baseline: str
) -> dict[str, Any]:
    """Return what the scripts read, by name: `questions`, and `chunk-0` and so on.

    Args:
        results: For each method its results, all in the order of the same questions.
        material: The questions themselves; None where only their names were kept.
        explained: The method whose scores and neighbours are shown.
        first: The method that the table shows first.
        baseline: The method that others can be filtered against.
    """
    names, methods = Names(), list(results)
    shown = first if first is not None and first in results else methods[0]
    rows = results[shown]
    tests = material.tests if material else None
    models = tests.models if tests and tests.models else _models(results, explained)
    ordered = {shown: rows, **results}
    details = Details(ordered, material, explained, models, names)
    chunks = {
        f"chunk-{start // CHUNK}": [details.of(at) for at in range(start, min(start + CHUNK, len(rows)))]
        for start in range(0, len(rows), CHUNK)
    }
    main = {
        "datasets": [names(row.dataset) for row in rows],
        "indices": [row.index for row in rows],
        "titles": None if tests is None else titles(tests.questions, _TITLE),
        "methods": [_columns(name, found, names) for name, found in results.items()],
        "models": list(models),
        "solved": None if tests is None or not tests.models else _known(tests.scores.T.tolist()),
        "chunk": CHUNK,
        "explained": explained,
        "first": methods.index(shown),
        "baseline": methods.index(baseline) if baseline in methods else -1,
        "live": any(row.answer is not None for found in results.values() for row in found),
        "note": _note(material, details),
    }
    return {"questions": {**main, "names": list(names.places)}, **chunks}


def _note(material: Material | None, details: Details) -> str:
    if material is None:
        return (
            "The results keep the names of the questions alone; with --bank the page has their texts and answers, too."
        )
    note = f"Click a question to open it. Search looks at the {_TITLE} characters that the table has of it."
    return f"{note} Answers are cut in the middle from {details.limit:,} characters on." if details.cut else note


def _models(results: Results, explained: str | None) -> tuple[str, ...]:
    rows = results[explained] if explained else ()
    return next((row.evidence.models for row in rows if row.evidence), ())


def _columns(name: str, rows: Sequence[Result], names: Names) -> dict[str, Any]:
    return {
        "name": name,
        "score": _numbers([row.score for row in rows]),
        "model": [names(row.model) for row in rows],
        "mode": [names(row.mode or row.status) for row in rows],
        "support": [row.support_size for row in rows],
        "margin": [row.evidence.margin if row.evidence else None for row in rows],
        "cost": [None if row.cost_usd is None else float(f"{row.cost_usd:.4g}") for row in rows],
    }


def _known(columns: list[list[float]]) -> list[list[float | int | None]]:
    return [_numbers([None if math.isnan(value) else value for value in column]) for column in columns]


def _numbers(values: Sequence[float | None]) -> list[float | int | None]:
    """Write 1.0 as 1: half as long."""
    return [int(value) if value is not None and value == int(value) else value for value in values]
