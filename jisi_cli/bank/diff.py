"""What a build adds to a bank, and how an answer is replaced so that it stands once in the files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.columns import row_numbers, vector_column
from jisi_cli.bank.grouping import assign_split
from jisi_cli.bank.manifest import REPLACED, Manifest, PartFile, SplitSpec, VectorDtype, is_sha256, write_manifest
from jisi_cli.bank.staging import Gathered, Places, StoredAnswers, StoredQuestions
from jisi_cli.bank.tables import (
    StagedPart,
    query_schema,
    read_part,
    read_pieces,
    response_schema,
    row_groups,
    stage_part,
)
from jisi_cli.bank.vectors import VectorSource
from jisi_cli.errors import InputError
from jisi_cli.formats.record import STATUSES, Question, Split

if TYPE_CHECKING:
    import pyarrow as pa


# Replacing answers so that each stands once in a bank's files, whoever reads them.
#
# jisi lets a later part's row count; DuckDB, pandas and whatever else reads `responses/model=*/*.parquet` do not. So
# what replaces a row of a part goes into one new part with all other rows of the model. What was replaced is put aside,
# out of the way of such readers, until the bank is written again: a process that opened the bank before still finds it.


def repeats(bank: Path, parts: Sequence[PartFile], schema: pa.Schema, more: Sequence[int] = ()) -> bool:
    """Whether any row stands in several of some parts, or in one of them and among further rows."""
    rows = [*(_rows(bank, part, schema) for part in parts), np.asarray(more, dtype=np.int64)]
    found = np.concatenate(rows)
    return len(np.unique(found)) < len(found)


def counting(bank: Path, parts: Sequence[PartFile], schema: pa.Schema, but: Sequence[int] = ()) -> Iterator[pa.Table]:
    """Yield the rows that count, the last of each, in pieces.

    Args:
        bank: The bank's folder.
        parts: One model's parts.
        schema: Theirs.
        but: Rows that are left out.
    """
    numbers = [_rows(bank, part, schema) for part in parts]
    latest = np.full(max((int(rows.max(initial=-1)) for rows in numbers), default=-1) + 1, -1)
    for number, rows in enumerate(numbers):
        latest[rows] = number
    latest[[row for row in but if row < len(latest)]] = -1
    for number, part in enumerate(parts):
        for piece in read_pieces(bank, part, schema.names, schema):
            places = np.flatnonzero(latest[row_numbers(piece.column("row"))] == number)
            if len(places):
                yield piece if len(places) == piece.num_rows else piece.take(places)


class Change:
    """New parts of a bank that take their places together, when the manifest does; a context manager.

    Args:
        bank: The bank's folder.
        before: Its manifest, which is replaced; None for a new bank.
    """

    def __init__(self, bank: Path, before: Manifest | None) -> None:
        self._bank, self._before = bank, before
        self._staged: list[StagedPart] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete what was not committed."""
        for part in self._staged:
            part.temporary.unlink(missing_ok=True)

    def stage(self, folder: str, stem: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> PartFile:
        """Write a part where no reader takes it for one; see `stage_part`."""
        self._staged.append(stage_part(self._bank, folder, stem, schema, tables))
        return self._staged[-1].part

    def commit(self, after: Manifest) -> None:
        """Place the parts, name them in the manifest, and put aside what it names no more."""
        for part in self._staged:
            part.place(self._bank)
        write_manifest(self._bank, after)
        named = {part.path for part in after.parts()}
        replaced = [part for part in self._before.parts() if part.path not in named] if self._before else []
        if replaced:
            folder = self._bank / REPLACED
            folder.mkdir(exist_ok=True)
            for old in replaced:
                with contextlib.suppress(FileNotFoundError):
                    (self._bank / old.path).replace(folder / old.sha256)


def remove_replaced(bank: Path) -> None:
    """Delete what was put aside, and nothing that anybody else put there."""
    folder = bank / REPLACED
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            if is_sha256(file.name):
                file.unlink()
        folder.rmdir()  # only an empty one goes


def _rows(bank: Path, part: PartFile, schema: pa.Schema) -> NDArray[np.int64]:
    return row_numbers(read_part(bank, part, ["row"], schema).column("row"))


# What a build adds to a bank: the questions and answers that it lacks, as numbers; texts are read when written.


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
