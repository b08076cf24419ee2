"""The table of questions as plain data for the scripts, and what opens with each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.formats.record import Question

# What a question is called on one line: its beginning, without what all questions of its dataset begin with.


_LOOKED_AT = 1200
"""Characters of a question that may be its title."""
_INSTRUCTIONS = 40
"""Characters from which on a common beginning is taken for instructions."""


def titles(questions: Sequence[Question], length: int) -> list[str]:
    """Return so many characters of each question, without the instructions that all of a dataset begin with."""
    texts = [" ".join(question.query[:_LOOKED_AT].split()) for question in questions]
    by_dataset: dict[str, list[str]] = {}
    for question, text in zip(questions, texts, strict=True):
        by_dataset.setdefault(question.dataset, []).append(text)
    common = {name: _common_words(own) for name, own in by_dataset.items() if len(own) > 2}
    left_out = {name: size for name, size in common.items() if size >= _INSTRUCTIONS}
    found = []
    for question, text in zip(questions, texts, strict=True):
        start = left_out.get(question.dataset, 0)
        found.append(("… " if start else "") + text[start : start + length])
    return found


def _common_words(texts: Sequence[str]) -> int:
    """Return the length of the whole words that all texts begin with."""
    # What the first and the last in order share, all between them share.
    first, last = min(texts), max(texts)
    same = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), 0)
    return first.rfind(" ", 0, same) + 1


# What opens with a question: its text, answers and grades, what the scores promised, and what lay near.


_NEIGHBOUR = 160
"""Characters that are shown of a neighbour."""
_QUESTION = 12_000
"""Characters from which on a question is cut."""
_CHARACTERS = 24_000_000
"""Characters of answers that a page may hold before it is compressed."""
_SHORTEST, _LONGEST = 240, 3_000
"""Between these an answer is cut, so that all fit."""

Results = Mapping[str, Sequence[Result]]


@dataclass(frozen=True, slots=True)
class PageData:
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
        recorded = self.tests.pool.recorded(question.query, question.key)
        return next((found.text or None for name, found in recorded if name == model), None)


class StringTable:
    """Every name once, and the number that stands for it in the rest of the data."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def __call__(self, name: str | None) -> int:
        """Return the number of a name; -1 for none."""
        return -1 if name is None else self.places.setdefault(name, len(self.places))


class Details:
    """Makes what opens with each question, as plain data.

    Answers are as many and as long as the page can hold.

    Args:
        results: For each method its results, all in the order of the same questions, the leading method's first.
        page_data: The questions themselves; None where only their names were kept.
        explained: The method whose scores and neighbours are shown.
        models: Names of the models, as scores are ordered.
        names: Where names are kept.
    """

    def __init__(
        self,
        results: Results,
        page_data: PageData | None,
        explained: str | None,
        models: Sequence[str],
        names: StringTable,
    ) -> None:
        self._results, self._page_data, self._models, self._names = results, page_data, models, names
        self._explained = results[explained] if explained is not None else None
        self._near = self._neighbours()
        count = len(next(iter(results.values())))
        total = sum(len(self._wanted(at)) for at in range(count)) or 1
        self.limit = max(_SHORTEST, min(_LONGEST, _CHARACTERS // total))
        self.cut = False
        self._per_question = max(1, _CHARACTERS // (self.limit * max(count, 1)))

    def of(self, at: int) -> dict[str, Any]:
        """Return what opens with one question."""
        question = self._page_data.tests.questions[at] if self._page_data else None
        evidence = self._explained[at].evidence if self._explained else None
        near = [
            [self._names(dataset), index, similarity, kept, self._near.get((dataset, index))]
            for dataset, index, similarity, kept in (evidence.neighbours if evidence else ())
        ]
        return {
            "text": cut(question.query, _QUESTION) if question else None,
            "reference": cut(question.reference, _LONGEST) if question and question.reference is not None else None,
            "coarse": self._ordered(evidence.models, evidence.coarse) if evidence else None,
            "fine": self._ordered(evidence.models, evidence.fine) if evidence and evidence.fine else None,
            "near": near,
            "answers": [[self._names(name), text] for name, text in self._answers(at)],
        }

    def _answers(self, at: int) -> Iterator[tuple[str, str]]:
        for name, text in self._wanted(at)[: self._per_question]:
            found = text if text is not None else self._page_data and self._page_data.answer(at, name)
            if found:
                self.cut = self.cut or len(found) > self.limit
                yield name, cut(found, self.limit)

    def _wanted(self, at: int) -> list[tuple[str, str | None]]:
        """Return live answers by method, or whose recorded answers were returned by some method."""
        rows = [(name, found[at]) for name, found in self._results.items()]
        live: list[tuple[str, str | None]] = [(name, row.answer) for name, row in rows if row.answer is not None]
        models = dict.fromkeys(row.model for _, row in rows if row.model is not None)
        return live or [(model, None) for model in models]

    def _neighbours(self) -> dict[tuple[str, str], str]:
        """Return the titles of all neighbours that are shown."""
        known = self._page_data.bank if self._page_data else {}
        evidence = [row.evidence for row in self._explained or () if row.evidence]
        keys = dict.fromkeys((near[0], near[1]) for found in evidence for near in found.neighbours)
        shown = [known[key] for key in keys if key in known]
        return dict(zip((question.key for question in shown), titles(shown, _NEIGHBOUR), strict=True))

    def _ordered(self, names: Sequence[str], values: Sequence[float]) -> list[float | None]:
        found = dict(zip(names, values, strict=True))
        return [found.get(model) for model in self._models]


def cut(text: str, limit: int) -> str:
    """Shorten a text in its middle: the end of an answer is where its result stands."""
    if len(text) <= limit:
        return text
    head = limit // 3
    return f"{text[:head]}\n[… {len(text) - limit:,} characters are left out …]\n{text[head - limit :]}"


# The table of questions as plain data for the scripts: what every row needs at once, and details in chunks.


CHUNK = 200
"""Questions whose details are unpacked together."""
_TITLE = 300
"""Characters that the table has of a question."""


def question_data(
    results: Results, page_data: PageData | None, explained: str | None, first: str | None, baseline: str
) -> dict[str, Any]:
    """Return what the scripts read, by name: `questions`, and `chunk-0` and so on.

    Args:
        results: For each method its results, all in the order of the same questions.
        page_data: The questions themselves; None where only their names were kept.
        explained: The method whose scores and neighbours are shown.
        first: The method that the table shows first.
        baseline: The method that others can be filtered against.
    """
    names, methods = StringTable(), list(results)
    shown = first if first is not None and first in results else methods[0]
    rows = results[shown]
    tests = page_data.tests if page_data else None
    models = tests.models if tests and tests.models else _models(results, explained)
    ordered = {shown: rows, **results}
    details = Details(ordered, page_data, explained, models, names)
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
        "note": _note(page_data, details),
    }
    return {"questions": {**main, "names": list(names.places)}, **chunks}


def _note(page_data: PageData | None, details: Details) -> str:
    if page_data is None:
        return (
            "The results keep the names of the questions alone; with --bank the page has their texts and answers, too."
        )
    note = f"Click a question to open it. Search looks at the {_TITLE} characters that the table has of it."
    return f"{note} Answers are cut in the middle from {details.limit:,} characters on." if details.cut else note


def _models(results: Results, explained: str | None) -> tuple[str, ...]:
    rows = results[explained] if explained else ()
    return next((row.evidence.models for row in rows if row.evidence), ())


def _columns(name: str, rows: Sequence[Result], names: StringTable) -> dict[str, Any]:
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
