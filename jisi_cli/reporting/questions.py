"""The table of questions as plain data for `questions.js`: columns of numbers, names written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jisi_cli.evaluation.results import Result


def question_data(results: Mapping[str, Sequence[Result]], texts: Sequence[str] | None = None) -> dict[str, Any]:
    """Return what the question browser shows.

    Args:
        results: For each method its results, all in the order of the same questions.
        texts: The questions themselves; None where only their names were kept.

    Returns:
        `names`, to which numbers in `questions` (dataset, index) and in `methods` (model, mode) point; `texts`.
    """
    names: dict[str, int] = {}

    def point(name: str | None) -> int:
        return -1 if name is None else names.setdefault(name, len(names))

    first = next(iter(results.values()), [])
    questions = [[point(row.dataset), row.index] for row in first]
    methods = [
        {
            "name": name,
            "score": [row.score for row in rows],
            "status": [point(row.status) for row in rows],
            "model": [point(row.model) for row in rows],
            "mode": [point(row.mode) for row in rows],
            "support": [row.support_size for row in rows],
            "cost": [row.cost_usd for row in rows],
            "answer": {str(at): row.answer for at, row in enumerate(rows) if row.answer is not None},
        }
        for name, rows in results.items()
    ]
    return {"names": list(names), "questions": questions, "methods": methods, "texts": texts and list(texts)}
