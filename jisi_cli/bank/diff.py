"""What a build adds to a bank: the questions and answers that it lacks, as numbers; texts are read when written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.columns import from_numbers, from_texts, vector_column
from jisi_cli.bank.manifest import SplitSpec, VectorDtype
from jisi_cli.bank.row_file import AnswerColumns, QuestionColumns, Texts
from jisi_cli.bank.split import assign_split
from jisi_cli.bank.staging import Positions, StagedAnswers, StagedQuestions, Staging
from jisi_cli.bank.tables import query_schema, response_schema, row_groups
from jisi_cli.bank.vectors import VectorSource
from jisi_cli.errors import InputError
from jisi_cli.formats.record import STATUSES, Split

if TYPE_CHECKING:
    import pyarrow as pa

_ANSWERED = [STATUSES.index("ok"), STATUSES.index("unscored")]
_MISSING = STATUSES.index("missing")
_COMPARED = 8192
"""Texts of the bank in memory at a time: about a row group, as each group is read whole."""


@dataclass(frozen=True, slots=True)
class NewAnswers:
    """One model's answers that the bank lacks, in bank order (k).

    Attributes:
        staged: All staged answers of the model.
        which: Positions of the new ones among them (k,).
        rows: Their rows of the bank (k,).
    """

    staged: StagedAnswers
    which: Positions
    rows: Positions

    def __len__(self) -> int:
        return len(self.which)

    def tables(self, model: str, vectors: VectorSource, dtype: VectorDtype) -> Iterator[pa.Table]:
        """Yield them as tables of the bank, a row group at a time."""
        for part in row_groups(self.staged.sizes[self.which]):
            which = self.which[part]
            answers = self.staged.columns(which)
            found = vectors.responses(model, self.staged.wanted(which, answers))
            status = self.staged.status[which]
            yield _answer_table(self.rows[part], status, answers, found, dtype)


@dataclass(slots=True)
class Diff:
    """What a staging area has that a bank lacks.

    Attributes:
        staging: All questions and answers.
        new: Positions of the new questions (n,).
        splits: Train, test, or None, of each new question (n).
        answers: New answers by model.
        known: Answers that the bank already had.
        conflicts: Records left out, as sentences.
    """

    staging: Staging
    new: Positions
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
        questions = self.staging.questions
        for part in row_groups(questions.sizes[self.new]):
            which = self.new[part]
            columns = questions.columns(which)
            found = vectors.queries(questions.wanted(which, columns))
            places = which.tolist()
            names = {
                "dataset": [questions.keys[place][0] for place in places],
                "index": [questions.keys[place][1] for place in places],
                "split": self.splits[part],
            }
            orders = [questions.orders[place] for place in places]
            rows = np.arange(first_row + part.start, first_row + part.start + len(which))
            yield _question_table(rows, names, orders, columns, found, dtype)


def _question_table(
    rows: Positions,
    names: Mapping[str, Sequence[str | None]],
    orders: Sequence[int | None],
    questions: QuestionColumns,
    vectors: NDArray[np.floating],
    dtype: VectorDtype,
) -> pa.Table:
    """Return questions as a table of the bank."""
    is_unordered = np.array([order is None for order in orders], dtype=bool)
    numbers = np.array([order or 0 for order in orders], dtype=np.int64)
    columns = {
        "row": from_numbers(rows),
        "order": from_numbers(numbers, is_unordered),
        **{name: from_texts(Texts.of(_encoded(texts))) for name, texts in names.items()},
        **{name: from_texts(questions.text(name)) for name in ("query", "reference", "grader")},
        "vector": vector_column(vectors, dtype),
    }
    return _table(columns, query_schema(vectors.shape[1], dtype))


def _answer_table(
    rows: Positions,
    status: NDArray[np.int8],
    answers: AnswerColumns,
    vectors: NDArray[np.floating],
    dtype: VectorDtype,
) -> pa.Table:
    """Return answers as a table of the bank, from the file to its columns without an object per answer."""
    score, is_unscored = answers.number("score")
    sources = [None if unscored else source for source, unscored in zip(answers.scored_by(), is_unscored, strict=True)]
    columns = {
        "row": from_numbers(rows),
        "status": _repeated([STATUSES[place] for place in status.tolist()]),
        "score": from_numbers(score, is_unscored),
        "score_source": _repeated(sources),
        **{name: from_numbers(*answers.number(name)) for name in ("prompt_tokens", "completion_tokens", "cost_usd")},
        **{name: from_texts(answers.text(name)) for name in ("error", "finish_reason", "response")},
        "vector": vector_column(vectors, dtype),
    }
    return _table(columns, response_schema(vectors.shape[1], dtype))


def _repeated(texts: Sequence[str | None]) -> pa.Array:
    """Return a column of which few texts differ."""
    encoded = {text: (text or "").encode() for text in dict.fromkeys(texts)}
    sizes = {text: -1 if text is None else len(written) for text, written in encoded.items()}
    data = b"".join(map(encoded.__getitem__, texts))
    return from_texts(Texts(data, np.array(list(map(sizes.__getitem__, texts)), dtype=np.int64)))


def _encoded(texts: Sequence[str | None]) -> list[bytes | None]:
    return [None if text is None else text.encode() for text in texts]


def _table(columns: Mapping[str, pa.Array], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


class MissingTexts(Sequence[str]):
    """All texts of a diff that need a vector, each read when it is asked for."""

    def __init__(self, diff: Diff) -> None:
        self._diff = diff
        self._with_text = [(new.staged, new.which[new.staged.has_text[new.which]]) for new in diff.answers.values()]
        self._ends = np.cumsum([len(diff.new), *(len(which) for _, which in self._with_text)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, position: int) -> str:  # type: ignore[override]
        if not 0 <= position < len(self):
            raise IndexError(position)
        group = int(np.searchsorted(self._ends, position, side="right"))
        if group == 0:
            return self._diff.staging.questions.text(int(self._diff.new[position]))
        staged, which = self._with_text[group - 1]
        return staged.response(int(which[position - self._ends[group - 1]]))


def compute_diff(old: Bank | None, staging: Staging, split: SplitSpec | None) -> Diff:
    """Return what a bank lacks: new questions, and answers to old and new ones.

    Args:
        old: The bank; None for a new one.
        staging: Questions and answers.
        split: How test rows are set aside; None keeps the marks that the questions carry, or the bank's rule.

    Raises:
        InputError: There is nothing to make a new bank from.
    """
    questions = staging.questions
    rows, changed = _rows_in(old, questions)
    new = np.flatnonzero(rows < 0)
    rows[new] = (old.rows if old else 0) + np.arange(len(new))
    rows[changed] = -1
    diff = Diff(staging, new, _marks(old, questions, new, split), {})
    keys = sorted(questions.keys[position] for position in changed)
    diff.conflicts = [f"{dataset}/{index}: the bank has another text for it" for dataset, index in keys]
    for model, staged in staging.answers.items():
        at = rows[staged.positions]
        wanted = (at >= 0) & (staged.status != _MISSING)
        fresh = wanted & ~_answered(old, model, at)
        diff.known += int(wanted.sum() - fresh.sum())
        if fresh.any():
            which = np.flatnonzero(fresh)
            which = which[np.argsort(at[which], kind="stable")]
            diff.answers[model] = NewAnswers(staged, which, at[which])
    if not diff.answers and old is None:
        raise InputError("there is no recorded answer to build a bank from; check the sources and the filters")
    return diff


def _rows_in(old: Bank | None, questions: StagedQuestions) -> tuple[Positions, list[int]]:
    """Return each question's row in the bank, -1 for a new one, and the positions of those whose text has changed."""
    rows = np.full(len(questions), -1, dtype=np.int64)
    if old is None:
        return rows, []
    known = {key: row for row, key in enumerate(old.keys)}
    for position, key in enumerate(questions.keys):
        rows[position] = known.get(key, -1)
    again = np.flatnonzero(rows >= 0)
    again = again[np.argsort(rows[again], kind="stable")]
    changed: list[int] = []
    for start in range(0, len(again), _COMPARED):
        positions = again[start : start + _COMPARED]
        texts = zip(positions.tolist(), old.texts(rows[positions]), strict=True)
        changed.extend(position for position, text in texts if questions.text(position) != text)
    return rows, changed


def _answered(old: Bank | None, model: str, rows: Positions) -> NDArray[np.bool_]:
    """Return where the bank has an answer of the model already, by row; -1 for no row."""
    found = np.zeros(len(rows), dtype=bool)
    if old is not None and model in old.models:
        there = np.flatnonzero((rows >= 0) & (rows < old.rows))
        found[there] = np.isin(old.answers(model).status_codes[rows[there]], _ANSWERED)
    return found


def _marks(old: Bank | None, questions: StagedQuestions, new: Positions, split: SplitSpec | None) -> list[Split | None]:
    """Mark train and test: as asked; else a bank keeps its own rule for questions that carry no mark."""
    rule, marked = split, new.tolist()
    if rule is None and old is not None and old.manifest.split is not None:
        rule, marked = old.manifest.split, [number for number in marked if questions.splits[number] is None]
    keys, orders = [questions.keys[number] for number in marked], [questions.orders[number] for number in marked]
    marks = assign_split(keys, orders, rule.fraction, rule.seed) if rule is not None else {}
    return [marks.get(questions.keys[number], questions.splits[number]) for number in new.tolist()]
