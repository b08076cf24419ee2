"""What opens with a question: its text, answers and grades, what the scores promised, and what lay near."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jisi_cli.bank.records import Question
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.reporting.titles import titles

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


class Names:
    """Every name once; numbers point to it."""

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
        material: The questions themselves; None where only their names were kept.
        explained: The method whose scores and neighbours are shown.
        models: Names of the models, as scores are ordered.
        names: Where names are kept.
    """

    def __init__(
        self, results: Results, material: Material | None, explained: str | None, models: Sequence[str], names: Names
    ) -> None:
        self._results, self._material, self._models, self._names = results, material, models, names
        self._explained = results[explained] if explained is not None else None
        self._near = self._neighbours()
        count = len(next(iter(results.values())))
        total = sum(len(self._wanted(at)) for at in range(count)) or 1
        self.limit = max(_SHORTEST, min(_LONGEST, _CHARACTERS // total))
        self.cut = False
        self._per_question = max(1, _CHARACTERS // (self.limit * max(count, 1)))

    def of(self, at: int) -> dict[str, Any]:
        """Return what opens with one question."""
        question = self._material.tests.questions[at] if self._material else None
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
            found = text if text is not None else self._material and self._material.answer(at, name)
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
        known = self._material.bank if self._material else {}
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
