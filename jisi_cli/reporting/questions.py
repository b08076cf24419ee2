"""The table of questions as plain data for the scripts: what every row needs at once, and details in chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jisi_cli.bank.records import Question
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.test_set import TestSet

CHUNK = 200
"""Questions whose details are unpacked together."""
_TITLE = 300
_INSTRUCTIONS = 40
"""Characters from which on a common beginning is taken for instructions."""
_NEIGHBOUR = 160
_CHARACTERS = 24_000_000
"""Characters of answers that a page may hold before it is compressed."""
_SHORTEST, _LONGEST = 240, 3_000
"""Between these an answer is cut, so that all fit."""

Results = Mapping[str, Sequence[Result]]


@dataclass(frozen=True, slots=True)
class Material:
    """What is known of the questions besides the results.

    Attributes:
        tests: The questions, in the order of the results, with what was recorded.
        bank: Questions of the bank, by dataset and index: what neighbours are shown with.
    """

    tests: TestSet
    bank: Mapping[tuple[str, str], Question]

    def answer(self, row: int, model: str) -> str | None:
        """Return the recorded answer of a model; None where there is none."""
        question = self.tests.questions[row]
        recorded = self.tests.repeated.get(question.key, self.tests.pool).recorded(question.query)
        return next((found.text or None for name, found in recorded if name == model), None)


class _Names:
    """Every name once; numbers point to it."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def __call__(self, name: str | None) -> int:
        return -1 if name is None else self.places.setdefault(name, len(self.places))


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
    names = _Names()
    methods = list(results)
    shown = first if first is not None and first in results else methods[0]
    rows = results[shown]
    ordered = [shown, *(name for name in methods if name != shown)]
    live = any(row.answer is not None for found in results.values() for row in found)
    kept = _Kept(results, ordered, material)
    chunks = {
        f"chunk-{start // CHUNK}": [
            _detail(at, results, material, explained, kept, names) for at in range(start, min(start + CHUNK, len(rows)))
        ]
        for start in range(0, len(rows), CHUNK)
    }
    tests = material.tests if material else None
    main = {
        "datasets": [names(row.dataset) for row in rows],
        "indices": [row.index for row in rows],
        "titles": None if tests is None else _titles(tests.questions),
        "methods": [_columns(name, found, names) for name, found in results.items()],
        "models": list(tests.models) if tests else list(_models(results, explained)),
        "solved": None if tests is None or not tests.models else _known(tests.scores.T.tolist()),
        "chunk": CHUNK,
        "explained": explained,
        "first": methods.index(shown),
        "baseline": methods.index(baseline) if baseline in methods else -1,
        "live": live,
        "note": _note(material, kept),
    }
    return {"questions": {**main, "names": list(names.places)}, **chunks}


class _Kept:
    """Which answers of a question are shown, and how long: as many and as much as the page can hold."""

    def __init__(self, results: Results, ordered: Sequence[str], material: Material | None) -> None:
        self._results, self._ordered, self._material = results, ordered, material
        count = len(results[ordered[0]])
        total = sum(len(self._wanted(at)) for at in range(count)) or 1
        self.limit = max(_SHORTEST, min(_LONGEST, _CHARACTERS // total))
        self.per_question = max(1, _CHARACTERS // (self.limit * max(count, 1)))
        self.cut = False

    def answers(self, at: int) -> Iterator[tuple[str, str]]:
        """Yield names and answers of a question, the leading method's first."""
        for name, text in self._wanted(at)[: self.per_question]:
            found = text if text is not None else self._material and self._material.answer(at, name)
            if found:
                yield name, self._shortened(found)

    def _wanted(self, at: int) -> list[tuple[str, str | None]]:
        """Return live answers by method, or whose recorded answers were returned by some method."""
        rows = [(name, self._results[name][at]) for name in self._ordered]
        live = [(name, row.answer) for name, row in rows if row.answer is not None]
        models = dict.fromkeys(row.model for _, row in rows if row.model is not None)
        return list(live) if live else [(model, None) for model in models]

    def _shortened(self, text: str) -> str:
        if len(text) <= self.limit:
            return text
        self.cut = True
        head = self.limit // 3
        tail = self.limit - head
        return f"{text[:head]}\n[… {len(text) - self.limit:,} characters are left out …]\n{text[-tail:]}"


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


def _note(material: Material | None, kept: _Kept) -> str:
    if material is None:
        return (
            "The results keep the names of the questions alone; with --bank the page has their texts and answers, too."
        )
    note = f"Click a question to open it. Search looks at the {_TITLE} characters that the table has of it."
    return f"{note} Answers are cut in the middle from {kept.limit:,} characters on." if kept.cut else note


def _models(results: Results, explained: str | None) -> tuple[str, ...]:
    rows = results[explained] if explained else ()
    return next((row.evidence.models for row in rows if row.evidence), ())


def _columns(name: str, rows: Sequence[Result], names: _Names) -> dict[str, Any]:
    return {
        "name": name,
        "score": _numbers([row.score for row in rows]),
        "model": [names(row.model) for row in rows],
        "mode": [names(row.mode or row.status) for row in rows],
        "support": [row.support_size for row in rows],
        "margin": [row.evidence.margin if row.evidence else None for row in rows],
        "cost": [None if row.cost_usd is None else float(f"{row.cost_usd:.4g}") for row in rows],
    }


def _detail(
    at: int, results: Results, material: Material | None, explained: str | None, kept: _Kept, names: _Names
) -> dict[str, Any]:
    question = material.tests.questions[at] if material else None
    evidence = results[explained][at].evidence if explained else None
    models = material.tests.models if material else (evidence.models if evidence else ())
    near = [
        [names(dataset), index, similarity, was_kept, _neighbour(material, dataset, index)]
        for dataset, index, similarity, was_kept in (evidence.neighbours if evidence else ())
    ]
    return {
        "text": question.query if question else None,
        "reference": question.reference if question else None,
        "coarse": _ordered(evidence.models, evidence.coarse, models) if evidence else None,
        "fine": _ordered(evidence.models, evidence.fine, models) if evidence and evidence.fine else None,
        "near": near,
        "answers": [[names(name), text] for name, text in kept.answers(at)],
    }


def _neighbour(material: Material | None, dataset: str, index: str) -> str | None:
    found = material.bank.get((dataset, index)) if material else None
    return None if found is None else " ".join(found.query[:_NEIGHBOUR].split())


def _ordered(names: Sequence[str], values: Sequence[float], models: Sequence[str]) -> list[float]:
    found = dict(zip(names, values, strict=True))
    return [found.get(model, 0.0) for model in models]


def _known(columns: list[list[float]]) -> list[list[float | int | None]]:
    return [_numbers([None if math.isnan(value) else value for value in column]) for column in columns]


def _numbers(values: Sequence[float | None]) -> list[float | int | None]:
    """Write 1.0 as 1: half as long."""
    return [int(value) if value is not None and value == int(value) else value for value in values]
