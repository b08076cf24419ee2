"""What a build adds to a bank: the questions and answers that it lacks, as numbers; texts are read when written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.columns import vector_column
from jisi_cli.bank.gather import assign_split
from jisi_cli.bank.gathered import Gathered, Places, StoredAnswers, StoredQuestions
from jisi_cli.bank.manifest import SplitSpec, VectorDtype
from jisi_cli.bank.records import STATUSES, Question, Split
from jisi_cli.bank.tables import query_schema, response_schema, row_groups
from jisi_cli.bank.vectors import VectorSource
from jisi_cli.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_ANSWERED = [STATUSES.index("ok"), STATUSES.index("unscored")]
_MISSING = STATUSES.index("missing")
_COMPARED = 8192
"""Texts of the bank that are in memory at a time: about a row group of them, as each is read whole."""


@dataclass(frozen=True, slots=True)
class NewAnswers:
    """One model's answers that the bank lacks, in bank order (k).

    Attributes:
        stored: All answers of the model that were gathered.
        which: Places of the new ones among them (k,).
        rows: Their rows of the bank (k,).
    """

    stored: StoredAnswers
    which: Places
    rows: Places

    def __len__(self) -> int:
        return len(self.which)

    def tables(self, model: str, vectors: VectorSource, dtype: VectorDtype) -> Iterator[pa.Table]:
        """Yield them as tables of the bank, a row group at a time."""
        import pyarrow as pa

        names = (
            "status",
            "score",
            "prompt_tokens",
            "completion_tokens",
            "cost_usd",
            "error",
            "finish_reason",
            "response",
        )
        for part in row_groups(self.stored.sizes[self.which]):
            records = [self.stored.bare_record(which) for which in self.which[part].tolist()]
            found = vectors.responses(model, records)
            columns = {name: [getattr(record, name) for record in records] for name in names}
            yield pa.table(
                {"row": self.rows[part], **columns, "vector": vector_column(found, dtype)},
                schema=response_schema(found.shape[1], dtype),
            )


@dataclass(slots=True)
class Addition:
    """What goes into the bank beyond what it holds.

    Attributes:
        gathered: Everything that was found.
        new: Places of the new questions (n,).
        splits: Train, test, or None, of each new question (n).
        answers: New answers by model.
        known: Answers that the bank already had.
        conflicts: Records left out, as sentences.
    """

    gathered: Gathered
    new: Places
    splits: Sequence[Split | None]
    answers: dict[str, NewAnswers]
    known: int = 0
    conflicts: list[str] = field(default_factory=list)

    def question_tables(self, first_row: int, vectors: VectorSource, dtype: VectorDtype) -> Iterator[pa.Table]:
        """Yield the new questions as tables of the bank, a row group at a time.

        Args:
            first_row: Row of the first one.
            vectors: Gives their vectors.
            dtype: Precision on disk.
        """
        import pyarrow as pa

        names = ("dataset", "index", "order", "split", "query", "reference", "grader")
        for part in row_groups(self.gathered.questions.sizes[self.new]):
            questions = [self._question(place) for place in range(part.start, part.stop)]
            unit = vectors.queries(questions)
            columns = {name: [getattr(question, name) for question in questions] for name in names}
            rows = range(first_row + part.start, first_row + part.stop)
            schema = query_schema(unit.shape[1], dtype)
            yield pa.table({"row": rows, **columns, "vector": vector_column(unit, dtype)}, schema=schema)

    def _question(self, place: int) -> Question:
        return replace(self.gathered.questions[int(self.new[place])], split=self.splits[place])


class Texts(Sequence[str]):
    """Everything in an addition that needs a vector, each text read when it is asked for."""

    def __init__(self, addition: Addition) -> None:
        self._addition = addition
        self._spoken = [(new.stored, new.which[new.stored.speaks[new.which]]) for new in addition.answers.values()]
        self._ends = np.cumsum([len(addition.new), *(len(which) for _, which in self._spoken)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        if not 0 <= place < len(self):
            raise IndexError(place)
        group = int(np.searchsorted(self._ends, place, side="right"))
        if group == 0:
            return self._addition.gathered.questions.text(int(self._addition.new[place]))
        stored, which = self._spoken[group - 1]
        return stored.response(int(which[place - self._ends[group - 1]]))


def beyond(old: Bank | None, gathered: Gathered, split: SplitSpec | None) -> Addition:
    """Sort out what the bank lacks: new questions, and answers to old and new ones.

    Args:
        old: The bank; None for a new one.
        gathered: What was found.
        split: How test rows are set aside; None keeps the marks that the questions carry, or the bank's rule.

    Raises:
        InputError: There is nothing to make a new bank from.
    """
    questions = gathered.questions
    rows, changed = _rows_in(old, questions)
    new = np.flatnonzero(rows < 0)
    rows[new] = (old.rows if old else 0) + np.arange(len(new))
    rows[changed] = -1
    addition = Addition(gathered, new, _marks(old, questions, new, split), {})
    keys = sorted(questions.keys[place] for place in changed)
    addition.conflicts = [f"{dataset}/{index}: the bank has another text for it" for dataset, index in keys]
    for model, stored in gathered.answers.items():
        at = rows[stored.places]
        wanted = (at >= 0) & (stored.status != _MISSING)
        fresh = wanted & ~_answered(old, model, at)
        addition.known += int(wanted.sum() - fresh.sum())
        if fresh.any():
            which = np.flatnonzero(fresh)
            which = which[np.argsort(at[which], kind="stable")]
            addition.answers[model] = NewAnswers(stored, which, at[which])
    if not addition.answers and old is None:
        raise InputError("there is no recorded answer to build a bank from; check the sources and the filters")
    return addition


def _rows_in(old: Bank | None, questions: StoredQuestions) -> tuple[Places, list[int]]:
    """Return each question's row in the bank, -1 for a new one, and the places of those whose text has changed."""
    rows = np.full(len(questions), -1, dtype=np.int64)
    if old is None:
        return rows, []
    known = {key: row for row, key in enumerate(old.keys)}
    for place, key in enumerate(questions.keys):
        rows[place] = known.get(key, -1)
    again = np.flatnonzero(rows >= 0)
    again = again[np.argsort(rows[again], kind="stable")]
    changed: list[int] = []
    for start in range(0, len(again), _COMPARED):
        places = again[start : start + _COMPARED]
        texts = zip(places.tolist(), old.texts(rows[places]), strict=True)
        changed.extend(place for place, text in texts if questions.text(place) != text)
    return rows, changed


def _answered(old: Bank | None, model: str, rows: Places) -> NDArray[np.bool_]:
    """Return where the bank has an answer of the model already, by row; -1 stands for no row."""
    found = np.zeros(len(rows), dtype=bool)
    if old is not None and model in old.models:
        there = np.flatnonzero((rows >= 0) & (rows < old.rows))
        found[there] = np.isin(old.answers(model).status_codes[rows[there]], _ANSWERED)
    return found


def _marks(old: Bank | None, questions: StoredQuestions, new: Places, split: SplitSpec | None) -> list[Split | None]:
    """Mark train and test: as asked; else a bank keeps its own rule for questions that carry no mark."""
    rule, places = split, new.tolist()
    if rule is None and old is not None and old.manifest.split is not None:
        rule, places = old.manifest.split, [place for place in places if questions.splits[place] is None]
    keys, orders = [questions.keys[place] for place in places], [questions.orders[place] for place in places]
    marks = assign_split(keys, orders, rule.fraction, rule.seed) if rule is not None else {}
    return [marks.get(questions.keys[place], questions.splits[place]) for place in new.tolist()]
