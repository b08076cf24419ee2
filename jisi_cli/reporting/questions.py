"""The table of questions as plain data for the scripts: what every row needs at once, and details in chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jisi_cli.bank.records import Question
from jisi_cli.evaluation.results import Result
from jisi_cli.reporting.question_details import Details, Material, Names, Results

CHUNK = 200
"""Questions whose details are unpacked together."""
_TITLE = 300
"""Characters that the table has of a question."""
_INSTRUCTIONS = 40
"""Characters from which on a common beginning is taken for instructions."""


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
        "titles": None if tests is None else _titles(tests.questions),
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


def _titles(questions: Sequence[Question]) -> list[str]:
    """Return the beginning of each question, without the instructions that all of a dataset begin with."""
    texts = [" ".join(question.query[: 4 * _TITLE].split()) for question in questions]
    by_dataset: dict[str, list[str]] = {}
    for question, text in zip(questions, texts, strict=True):
        by_dataset.setdefault(question.dataset, []).append(text)
    common = {name: _common_words(own) for name, own in by_dataset.items() if len(own) > 2}
    left_out = {name: size for name, size in common.items() if size >= _INSTRUCTIONS}
    found = []
    for question, text in zip(questions, texts, strict=True):
        start = left_out.get(question.dataset, 0)
        found.append(("… " if start else "") + text[start : start + _TITLE])
    return found


def _common_words(texts: Sequence[str]) -> int:
    """Return the length of the whole words that all texts begin with."""
    # What the first and the last in order share, all between them share.
    first, last = min(texts), max(texts)
    same = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), 0)
    return first.rfind(" ", 0, same) + 1


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
