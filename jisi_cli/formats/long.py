"""long: the tidy table, with one row per (question, model), as JSONL, CSV or Parquet.

A plain block of rows is read a column at a time, each different value of a column once. It is plain when it holds
nothing but text, numbers and truth values, and no column of choices. Its columns go through the same functions as
single values do. A row of which one of them refuses a value, or in which either of two columns may be the one, is left
to `RowReader`, so that what is told of it is told in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jisi_cli.errors import InputError
from jisi_cli.formats import fields
from jisi_cli.formats.answer_block import AnswerBlock, in_answer_blocks
from jisi_cli.formats.blocks import Block, Column
from jisi_cli.formats.choices import are_choices
from jisi_cli.formats.column_map import REFERENCE, SCORE, ColumnMap
from jisi_cli.formats.files import Preview
from jisi_cli.formats.issues import Located, OnIssue, UnusableError, usable
from jisi_cli.formats.long_rows import COLUMNS, UNANSWERED, RowReader, is_verdict, recorded_order
from jisi_cli.formats.questions import note_unread, poses_question
from jisi_cli.formats.table_blocks import read_blocks
from jisi_cli.types import is_dollars, is_tokens

RANK = 9
"""Asked last: a question and a model say little."""

TABLE = True


def matches(preview: Preview) -> bool:
    """Whether a row has a question and names a model."""
    return poses_question(preview.columns) and not preview.columns.isdisjoint(COLUMNS["model"])


def read(source: Path, on_issue: OnIssue, names: ColumnMap | None = None) -> Iterator[Located]:
    """Yield a record per row; see `Format`, and `read_answers`."""
    for block in read_answers(source, on_issue, names):
        yield from block.located()


def read_answers(source: Path, on_issue: OnIssue, names: ColumnMap | None = None) -> Iterator[AnswerBlock]:
    """Yield an answer per row, by column, and one note with the columns that were not read.

    Args:
        source: The file.
        on_issue: Told of everything that is skipped.
        names: Which columns hold what, where they have no names of their own for it.

    Raises:
        InputError: The file cannot be read, or it cannot be told which column holds what.
    """
    reader = RowReader(source)
    blocks = read_blocks(source, on_issue)
    for block in names.renamed_blocks(blocks, str(source)) if names else blocks:
        yield from read_block(block, reader, on_issue)
    reader.numbers.report(on_issue)
    known = reader.known if names is None else {*reader.known, *names.columns.values()}
    note_unread(reader.columns, known, str(source), on_issue)


_NONE = type(None)
_TEXT, _TEXT_OR_NONE = frozenset({str}), frozenset({str, _NONE})
_PLAIN = frozenset({str, int, float, bool, _NONE})
_REPEATED = frozenset({str, int, bool, _NONE})
"""Types of which equal values are the same value in every way, if a column holds one of them; 0.0 equals -0.0."""
_OTHER_REFERENCES = frozenset(REFERENCE) - frozenset(COLUMNS["reference"])
_REFUSED: Any = object()


def read_block(block: Block, reader: RowReader, on_issue: OnIssue) -> Iterator[AnswerBlock]:
    """Yield the answers of its rows.

    Args:
        block: The rows.
        reader: Reads those that are not plain; knows what earlier rows of the table said.
        on_issue: Told of every row that is skipped, once the answers before it were used.

    Raises:
        InputError: It cannot be told which column holds what.
    """
    if not _is_plain(block):
        yield from in_answer_blocks(lambda told: usable(block, reader.record, told), on_issue)
        return
    reader.columns.update(dict.fromkeys(block.columns))
    reading = _Reading(block, reader)
    columns = reading.columns()
    answers, start = AnswerBlock(columns, block.location, is_plain=True), 0
    for row in reading.left(columns):
        try:
            reading.read_row(row, columns)
        except (UnusableError, RecursionError, InputError) as why:
            if start < row:
                yield answers.between(start, row)
            if isinstance(why, InputError):
                raise
            on_issue(block.location(row).issue(why))
            start = row + 1
    if start < len(block):
        yield answers.between(start, len(block)) if start else answers


def _is_plain(block: Block) -> bool:
    return not are_choices(tuple(block.columns)) and all(kinds <= _PLAIN for kinds in block.kinds.values())


class _Values(NamedTuple):
    """Values of a column, and which types they have, among others perhaps."""

    values: Sequence[Any]
    kinds: frozenset[type]


class _Reading:
    """One plain block on its way from columns of a table to columns of records.

    Args:
        block: The block.
        reader: Knows what to assume of the table.
    """

    def __init__(self, block: Block, reader: RowReader) -> None:
        self.refused: set[int] = set()
        """Rows that are left to the careful reader."""
        self._block, self._reader = block, reader
        self._columns, self._kinds, self._size = block.columns, block.kinds, len(block)
        self._nothing = _Values([None] * self._size, frozenset({_NONE}))

    def columns(self) -> dict[str, list[Any]]:
        """Return the fields of a `Record`; rows that are left to the reader hold anything."""
        each, first = self._each, self._first
        responses = first("response")
        references = self._references()
        verdicts = self._verdicts()
        score = each(self._scores(verdicts), fields.score, _are_scores)
        response = self._responses(responses, score)
        index = each(first("index"), lambda value: fields.name(value, "index", ""), _are_names)
        dataset = self._reader.dataset
        found = {
            "dataset": each(first("dataset"), lambda value: fields.name(value, "dataset", dataset), _are_names),
            "index": index,
            "query": each(first("query", (None, "")), lambda value: fields.required(value, "question"), _are_names),
            "model": each(first("model"), lambda value: fields.required(value, "model"), _are_names),
            "reference": each(references, fields.text, _are_texts),
            "response": response,
            **{name: self._tokens(name) for name in ("prompt_tokens", "completion_tokens")},
            "cost_usd": each(first("cost"), fields.dollars, _are_dollars),
            "score": score,
            "status": self._statuses(response, score),
            "split": each(first("split"), fields.split),
            "grader": each(first("grader"), fields.text, _are_texts),
            "order": self._orders(index),
            **dict.fromkeys(("error", "finish_reason"), [None] * self._size),
            "scored_by": ["grader"] * self._size,
        }
        self._note_read(references.values, responses.values, verdicts)
        return found

    def left(self, columns: Mapping[str, list[Any]]) -> list[int]:
        """Return the rows that are not read yet: those that were refused, and those that have no index."""
        if all(columns["index"]):
            return sorted(self.refused)
        return sorted(self.refused.union(row for row, index in enumerate(columns["index"]) if not index))

    def read_row(self, row: int, columns: Mapping[str, list[Any]]) -> None:
        """Read a row that is left.

        Raises:
            UnusableError: There is no answer in it.
            InputError: It cannot be told which column holds what.
        """
        values, location = self._block.numbered(row)[::-1]
        if row in self.refused:
            record = self._reader.record(values, location)
            for name, column in columns.items():
                column[row] = getattr(record, name)
            return
        index = self._reader.first_rows.index(columns["dataset"][row], columns["query"][row], location)
        columns["index"][row] = index
        if columns["order"][row] is None:
            columns["order"][row] = fields.order(index)

    def _first(self, field: str, blank: tuple[object, ...] = (None,)) -> _Values:
        """Return the values of the first column of a field that has one, row by row."""
        held = [name for name in COLUMNS[field] if name in self._columns]
        if not held:
            return self._nothing
        found = self._columns[held[0]]
        for name in held[1:]:
            found = [
                after if value in blank else value for value, after in zip(found, self._columns[name], strict=True)
            ]
        return _Values(found, frozenset().union(*(self._kinds[name] for name in held)))

    def _each(
        self, column: _Values, read: Callable[[Any], Any], are_read: Callable[[_Values], bool] | None = None
    ) -> list[Any]:
        """Return what a function makes of each value, and leave rows with a value that it refuses to the reader.

        Args:
            column: The values.
            read: The function.
            are_read: Whether all of some values are what the function makes of them.
        """
        values, kinds = column
        is_repeated = kinds <= _REPEATED and len(kinds - {_NONE}) <= 1
        # 0.0 and -0.0 are one key, which is as well where values are only looked at.
        distinct = _Values(list(dict.fromkeys(values)), kinds)
        if are_read is not None and are_read(distinct):
            return list(values)
        if is_repeated:
            known = {value: _tried(read, value) for value in distinct.values}
            found = [known[value] for value in values]
            is_refused = _REFUSED in known.values()
        else:
            found = [_tried(read, value) for value in values]
            is_refused = True
        if is_refused:
            self.refused.update(row for row, value in enumerate(found) if value is _REFUSED)
        return found

    def _tokens(self, name: str) -> list[Any]:
        return self._each(self._first(name), lambda value: fields.tokens(value, name), _are_tokens)

    def _orders(self, index: list[Any]) -> list[Any]:
        """Return the recorded positions, else what the indices stand for."""
        recorded = self._each(self._first("order"), recorded_order)
        known = {name: fields.order(name) for name in dict.fromkeys(index) if name is not _REFUSED}
        return [known.get(name) if order is None else order for order, name in zip(recorded, index, strict=True)]

    def _references(self) -> _Values:
        """Return the right answers; where another column may hold one, that is for the reader to say."""
        found = self._first("reference")
        if not _OTHER_REFERENCES.isdisjoint(self._columns):
            self.refused.update(row for row, value in enumerate(found.values) if value is None)
        return found

    def _verdicts(self) -> tuple[str, Column]:
        """Return the column, if it is one, that says whether answers are right where there is no score."""
        held = [name for name in SCORE[1:] if name in self._columns]
        if len(held) > 1:
            self.refused.update(row for row, value in enumerate(self._first("score").values) if value is None)
        name = held[0] if len(held) == 1 else ""
        return name, [value if is_verdict(value) else None for value in self._columns.get(name, ())]

    def _scores(self, verdicts: tuple[str, Column]) -> _Values:
        found, (name, verdict) = self._first("score"), verdicts
        if not name:
            return found
        scores = [said if value is None else value for value, said in zip(found.values, verdict, strict=True)]
        return _Values(scores, found.kinds | self._kinds[name])

    def _responses(self, written: _Values, scores: Column) -> list[Any]:
        found = list(written.values) if _are_texts(written) else list(map(fields.text, written.values))
        if self._reader.leaves_out_empty:  # what was scored was there
            pairs = zip(found, scores, strict=True)
            found = ["" if text is None and score is not None else text for text, score in pairs]
        return found

    def _statuses(self, responses: list[Any], scores: list[Any]) -> list[Any]:
        stated = self._each(self._first("status"), lambda value: fields.status("", None, value))
        answered, scored = ((None, ""), (None, 1.0))
        usual = {(text is None, score is None): fields.status(text, score) for text in answered for score in scored}
        return [
            usual[response is None, score is None] if said == "unscored" else said
            for said, response, score in zip(stated, responses, scores, strict=True)
        ]

    def _note_read(self, references: Column, responses: Column, verdicts: tuple[str, Column]) -> None:
        """Remember which columns were read, beyond the usual ones."""
        known, (name, verdict) = self._reader.known, verdicts
        plain = [row for row in range(self._size) if row not in self.refused]
        if name and any(verdict[row] is not None and self._first("score").values[row] is None for row in plain):
            known.add(name)
        unknown = [row for row in plain if references[row] is None]
        if any(responses[row] is not None for row in unknown):
            known.update(REFERENCE)
        if any(responses[row] is None for row in unknown):
            known.update(UNANSWERED)


def _are_texts(column: _Values) -> bool:
    """Whether `fields.text` takes all as they are; other letters than ASCII take a look."""
    values = column.values if column.kinds == _TEXT else filter(None, column.values)
    return column.kinds <= _TEXT_OR_NONE and all(map(str.isascii, values))


def _are_names(column: _Values) -> bool:
    """Whether all are texts that `fields.name` and `fields.required` take as they are."""
    return column.kinds == _TEXT and _are_texts(column) and all(map(str.strip, column.values))


def _are_scores(column: _Values) -> bool:
    return column.kinds == {float} and all(0 <= value <= 1 for value in column.values)


def _are_dollars(column: _Values) -> bool:
    return column.kinds == {float} and all(map(is_dollars, column.values))


def _are_tokens(column: _Values) -> bool:
    return column.kinds == {int} and all(map(is_tokens, column.values))


def _tried(read: Callable[[Any], Any], value: object) -> Any:  # noqa: ANN401 - of any column
    try:
        return read(value)
    except UnusableError:
        return _REFUSED
