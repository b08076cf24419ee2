"""The fast lane of `long`: a plain block of rows is read a column at a time, each different value of a column once.

A block is plain when it holds nothing but text, numbers and truth values, and no column of choices. Its columns go
through the same functions as single values do. A row of which one of them refuses a value, or in which either of two
columns may be the one, is left to `RowReader`, so that what is told of it is told in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jisi_cli.formats import fields
from jisi_cli.formats.blocks import Block, Column
from jisi_cli.formats.choices import are_choices
from jisi_cli.formats.column_map import REFERENCE, SCORE
from jisi_cli.formats.issues import Located, OnIssue, UnusableError, usable
from jisi_cli.formats.long_rows import COLUMNS, UNANSWERED, RowReader, is_verdict, recorded_order
from jisi_cli.formats.record import Record

_PLAIN = frozenset({str, int, float, bool, type(None)})
_REPEATED = frozenset({str, int, bool, type(None)})
"""Types of which equal values are the same value in every way, if a column holds one of them; 0.0 equals -0.0."""
_OTHER_REFERENCES = frozenset(REFERENCE) - frozenset(COLUMNS["reference"])
_REFUSED: Any = object()


def read_block(block: Block, reader: RowReader, on_issue: OnIssue) -> Iterator[Located]:
    """Yield the record of each row.

    Args:
        block: The rows.
        reader: Reads those that are not plain; knows what earlier rows of the table said.
        on_issue: Told of every row that is skipped.

    Raises:
        InputError: It cannot be told which column holds what.
    """
    if not _is_plain(block):
        yield from usable(block, reader.record, on_issue)
        return
    reader.columns.update(dict.fromkeys(block.columns))
    reading = _Reading(block, reader)
    columns, orders = reading.columns(), dict[str, int | None]()
    for row, (index, order, dataset, query, *rest) in enumerate(zip(*columns, strict=True)):
        if row in reading.refused:
            yield from usable([block.numbered(row)], reader.record, on_issue)
            continue
        location = block.location(row)
        index = index or reader.first_rows.index(dataset, query, location)
        if order is None:
            if index not in orders:
                orders[index] = fields.order(index)
            order = orders[index]
        yield location, Record(dataset, index, query, *rest, order=order)


def _is_plain(block: Block) -> bool:
    columns = block.columns
    return not are_choices(tuple(columns)) and all(_PLAIN.issuperset(map(type, of)) for of in columns.values())


class _Reading:
    """One plain block on its way from columns of a table to columns of records.

    Args:
        block: The block.
        reader: Knows what to assume of the table.
    """

    def __init__(self, block: Block, reader: RowReader) -> None:
        self.refused: set[int] = set()
        """Rows that are left to the careful reader."""
        self._columns, self._size, self._reader = block.columns, len(block), reader

    def columns(self) -> list[Sequence[Any]]:
        """Return index, recorded order, and the fields of a `Record` from its dataset to its grader but the index."""
        each, first = self._each, self._first
        responses = first("response")
        references = self._references(responses)
        verdicts = self._verdicts()
        score = each(self._scores(verdicts), fields.score)
        response = self._responses(responses, score)
        found: list[Sequence[Any]] = [
            each(first("index"), lambda value: fields.name(value, "index", "")),
            each(first("order"), recorded_order),
            each(first("dataset"), lambda value: fields.name(value, "dataset", self._reader.dataset)),
            each(first("query", (None, "")), lambda value: fields.required(value, "question")),
            each(first("model"), lambda value: fields.required(value, "model")),
            each(references, fields.text),
            response,
            each(first("prompt_tokens"), lambda value: fields.tokens(value, "prompt_tokens")),
            each(first("completion_tokens"), lambda value: fields.tokens(value, "completion_tokens")),
            each(first("cost"), fields.dollars),
            score,
            self._statuses(response, score),
            each(first("split"), fields.split),
            each(first("grader"), fields.text),
        ]
        self._note_read(references, responses, verdicts)
        return found

    def _first(self, field: str, blank: tuple[object, ...] = (None,)) -> Column:
        """Return the values of the first column of a field that has one, row by row."""
        held = [self._columns[name] for name in COLUMNS[field] if name in self._columns]
        if not held:
            return [None] * self._size
        found, *others = held
        for other in others:
            found = [after if value in blank else value for value, after in zip(found, other, strict=True)]
        return found

    def _each(self, column: Column, read: Callable[[Any], Any]) -> Column:
        """Return what a function makes of each value, and leave rows with a value that it refuses to the reader."""
        kinds = set(map(type, column))
        if kinds <= _REPEATED and len(kinds - {type(None)}) <= 1:
            known = {value: _tried(read, value) for value in dict.fromkeys(column)}
            found = [known[value] for value in column]
            is_refused = _REFUSED in known.values()
        else:
            found = [_tried(read, value) for value in column]
            is_refused = True
        if is_refused:
            self.refused.update(row for row, value in enumerate(found) if value is _REFUSED)
        return found

    def _references(self, responses: Column) -> Column:
        """Return the right answers; where another column may hold one, that is for the reader to say."""
        found = self._first("reference")
        if not _OTHER_REFERENCES.isdisjoint(self._columns):
            self.refused.update(row for row, value in enumerate(found) if value is None)
        return found

    def _verdicts(self) -> tuple[str, Column]:
        """Return the column, if it is one, that says whether answers are right where there is no score."""
        held = [name for name in SCORE[1:] if name in self._columns]
        if len(held) > 1:
            self.refused.update(row for row, value in enumerate(self._first("score")) if value is None)
        name = held[0] if len(held) == 1 else ""
        return name, [value if is_verdict(value) else None for value in self._columns.get(name, ())]

    def _scores(self, verdicts: tuple[str, Column]) -> Column:
        found, (name, verdict) = self._first("score"), verdicts
        if not name:
            return found
        return [said if value is None else value for value, said in zip(found, verdict, strict=True)]

    def _responses(self, written: Column, scores: Column) -> Column:
        found = list(map(fields.text, written))
        if self._reader.leaves_out_empty:  # what was scored was there
            pairs = zip(found, scores, strict=True)
            found = ["" if text is None and score is not None else text for text, score in pairs]
        return found

    def _statuses(self, responses: Column, scores: Column) -> Column:
        stated = self._each(self._first("status"), lambda value: fields.status("", None, value))
        return [
            fields.status(response, score) if said == "unscored" else said
            for said, response, score in zip(stated, responses, scores, strict=True)
        ]

    def _note_read(self, references: Column, responses: Column, verdicts: tuple[str, Column]) -> None:
        """Remember which columns were read, beyond the usual ones."""
        known, (name, verdict) = self._reader.known, verdicts
        plain = [row for row in range(self._size) if row not in self.refused]
        if name and any(verdict[row] is not None and self._first("score")[row] is None for row in plain):
            known.add(name)
        unknown = [row for row in plain if references[row] is None]
        if any(responses[row] is not None for row in unknown):
            known.update(REFERENCE)
        if any(responses[row] is None for row in unknown):
            known.update(UNANSWERED)


def _tried(read: Callable[[Any], Any], value: object) -> Any:  # noqa: ANN401 - of any column
    try:
        return read(value)
    except UnusableError:
        return _REFUSED
