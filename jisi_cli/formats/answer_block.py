"""Recorded answers by column, a few hundred at a time: what the records of every format become on the way to a bank."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jisi_cli.formats.blocks import in_blocks
from jisi_cli.formats.issues import Located, Location, OnIssue
from jisi_cli.formats.record import Record

FIELDS = tuple(field.name for field in dataclasses.fields(Record))


class AnswerBlock:
    """Answers of one source that follow each other.

    Args:
        columns: For each field of `Record` its values (k).
        location: Returns the place of an answer in the source, counted from 0 in this block.
        is_plain: Whether they were read a column at a time.
    """

    def __init__(
        self, columns: Mapping[str, Sequence[Any]], location: Callable[[int], Location], *, is_plain: bool = False
    ) -> None:
        self._columns, self.location, self.is_plain = columns, location, is_plain

    @classmethod
    def of(cls, located: Sequence[Located]) -> AnswerBlock:
        """Return records as a block."""
        records = [record for _, record in located]
        columns = {name: [getattr(record, name) for record in records] for name in FIELDS}
        return cls(columns, lambda row: located[row][0])

    def __len__(self) -> int:
        return len(self._columns["index"])

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self._columns[name]

    def records(self) -> Iterator[Record]:
        """Yield each answer as a record."""
        return map(Record, *(self._columns[name] for name in FIELDS))

    def located(self) -> Iterator[Located]:
        """Yield each answer as a record with its place."""
        return zip(map(self.location, range(len(self))), self.records(), strict=True)

    def take(self, rows: Sequence[int]) -> AnswerBlock:
        """Return some of the answers, in ascending order; this block where they are all."""
        if len(rows) == len(self):
            return self
        columns = {name: [column[row] for row in rows] for name, column in self._columns.items()}
        return AnswerBlock(columns, lambda row: self.location(rows[row]), is_plain=self.is_plain)

    def between(self, start: int, stop: int) -> AnswerBlock:
        """Return the answers from one on, and before another."""
        columns = {name: column[start:stop] for name, column in self._columns.items()}
        return AnswerBlock(columns, lambda row: self.location(start + row), is_plain=self.is_plain)


def in_answer_blocks(read: Callable[[OnIssue], Iterator[Located]], on_issue: OnIssue) -> Iterator[AnswerBlock]:
    """Yield records in blocks; see `in_blocks`."""
    return map(AnswerBlock.of, in_blocks(read, on_issue, _length))


def _length(located: Located) -> int:
    record = located[1]
    return len(record.query) + len(record.response or "")


def deduplicated(blocks: Iterable[AnswerBlock], on_issue: OnIssue) -> Iterator[AnswerBlock]:
    """Yield the answers that agree with those before them; report and drop the rest.

    A model's second answer to a question is dropped, and so is an answer to another text under the same
    (dataset, index): both would make the bank depend on the order of files.
    """
    questions: dict[tuple[str, str], tuple[int, int]] = {}
    bits: dict[str, int] = {}
    for block in blocks:
        kept = []
        answers = zip(*(block[name] for name in ("dataset", "index", "query", "model")), strict=True)
        for row, (dataset, index, query, model) in enumerate(answers):
            # Hashes, because a set of benchmarks holds hundreds of megabytes of questions; one bit a model, because
            # there may be millions of answers.
            fingerprint = hash(query)
            known, answered = questions.get((dataset, index), (fingerprint, 0))
            bit = bits.get(model) or bits.setdefault(model, 1 << len(bits))
            if known != fingerprint:
                why = f"another question already has the index {index} in {dataset}"
                on_issue(block.location(row).issue(why))
            elif answered & bit:
                why = f"a second answer of {model} to {dataset} {index}; the first is kept"
                on_issue(block.location(row).issue(why))
            else:
                questions[dataset, index] = (known, answered | bit)
                kept.append(row)
        if kept:
            yield block.take(kept)
