"""Recorded answers by column, a few hundred at a time: what the records of every format become on the way to a bank."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from sys import intern
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from jisi_cli.formats.blocks import in_blocks
from jisi_cli.formats.issues import Located, Location, OnIssue
from jisi_cli.formats.record import Key, Record

Item = TypeVar("Item")

FIELDS = tuple(field.name for field in dataclasses.fields(Record))
_values = attrgetter(*FIELDS)
OF_QUESTION = ("dataset", "index", "query", "reference", "grader", "order", "split")
"""The fields of a record that say something of its question; the first two are its key."""


class Numbering(dict[Item, int]):
    """Numbers of things, given from 0 in the order in which they are met."""

    def __missing__(self, item: Item) -> int:
        number = self[item] = len(self)
        return number

    def of(self, items: Iterable[Item]) -> list[int]:
        """Return the number of each."""
        return list(map(self.__getitem__, items))


class Questions(NamedTuple):
    """The questions that a block of answers is to.

    Attributes:
        firsts: The first answer to each question.
        numbers: The question of each answer (k), as its place in `firsts`.
    """

    firsts: Sequence[int]
    numbers: Sequence[int]


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
        values = zip(*[_values(record) for _, record in located], strict=True) if located else [()] * len(FIELDS)
        return cls(dict(zip(FIELDS, values, strict=True)), lambda row: located[row][0])

    def __len__(self) -> int:
        return len(self._columns["index"])

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self._columns[name]

    @cached_property
    def questions(self) -> Questions | None:
        """The questions that were answered; None where two answers say different things of one."""
        known = Numbering[tuple[Any, ...]]()
        numbers = known.of(zip(*(self._columns[name] for name in OF_QUESTION), strict=True))
        if len({said[:2] for said in known}) < len(known):
            return None
        highest = np.maximum.accumulate(np.array([-1, *numbers]))
        return Questions(np.flatnonzero(np.diff(highest)).tolist(), numbers)

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


class Refuse(Protocol):
    """Told of an answer that is left out."""

    def __call__(self, row: int, *, is_second: bool) -> None:
        """Take the row, and whether it is a second answer, or else to another text than the first."""
        ...


class Admitted(NamedTuple):
    """The answers of a block that agree with all before them (k).

    Attributes:
        rows: Their rows of the block, ascending.
        questions: The number of each one's question.
        models: The number of each one's model.
        telling: Rows that may say something of their question that no row before them says.
    """

    rows: Sequence[int]
    questions: Sequence[int]
    models: Sequence[int]
    telling: Sequence[int]


class Answered:
    """Which model answered which question so far.

    Of a question's text a hash is kept, because a set of benchmarks holds hundreds of megabytes of questions; of an
    answer one bit, because there may be millions.
    """

    def __init__(self) -> None:
        self.questions: dict[Key, int] = {}
        """The number of each question, in the order in which they came."""
        self.models = Numbering[str]()
        """The number of each model."""
        self._hashes = array("q")
        self._bits: list[int] = []

    def admit(self, block: AnswerBlock, refuse: Refuse) -> Admitted:
        """Return the answers that agree with all before them.

        Args:
            block: Answers that come next.
            refuse: Told of each of the others.
        """
        models = self.models.of(block["model"])
        found = self._admit_all(block, models)
        return self._admit_each(block, models, refuse) if found is None else found

    def _admit_all(self, block: AnswerBlock, models: list[int]) -> Admitted | None:
        """Take in a whole block, question by question; None where that takes a look at each answer."""
        asked = block.questions
        if asked is None:
            return None
        bits = [0] * len(asked.firsts)
        bit_of = [1 << number for number in range(len(self.models))]
        for number, model in zip(asked.numbers, models, strict=True):
            bits[number] += bit_of[model]
        # A sum of powers of two has as many ones as summands if, and only if, these differ.
        if sum(map(int.bit_count, bits)) < len(models):
            return None
        datasets, indices, queries = (block[name] for name in OF_QUESTION[:3])
        numbers = []
        for row, given in zip(asked.firsts, bits, strict=True):
            number = self.questions.get((datasets[row], indices[row]), -1)
            if number >= 0 and (self._hashes[number] != hash(queries[row]) or self._bits[number] & given):
                return None
            numbers.append(number)
        for place, (row, given) in enumerate(zip(asked.firsts, bits, strict=True)):
            if numbers[place] < 0:
                numbers[place] = self._add(datasets[row], indices[row], queries[row])
            self._bits[numbers[place]] |= given
        return Admitted(range(len(models)), [numbers[number] for number in asked.numbers], models, asked.firsts)

    def _admit_each(self, block: AnswerBlock, models: list[int], refuse: Refuse) -> Admitted:
        kept, questions = [], []
        told = zip(*(block[name] for name in OF_QUESTION[:3]), models, strict=True)
        for row, (dataset, index, query, model) in enumerate(told):
            number = self.questions.get((dataset, index), -1)
            if number < 0:
                number = self._add(dataset, index, query)
            if self._hashes[number] != hash(query):
                refuse(row, is_second=False)
            elif self._bits[number] >> model & 1:
                refuse(row, is_second=True)
            else:
                self._bits[number] |= 1 << model
                kept.append(row)
                questions.append(number)
        return Admitted(kept, questions, [models[row] for row in kept], kept)

    def _add(self, dataset: str, index: str, query: str) -> int:
        number = len(self._bits)
        self.questions[intern(dataset), index] = number
        self._hashes.append(hash(query))
        self._bits.append(0)
        return number


def deduplicated(blocks: Iterable[AnswerBlock], on_issue: OnIssue) -> Iterator[AnswerBlock]:
    """Yield the answers that agree with those before them; report and drop the rest.

    A model's second answer to a question is dropped, and so is an answer to another text under the same
    (dataset, index): both would make the bank depend on the order of files.
    """
    answered = Answered()
    for block in blocks:

        def refuse(row: int, *, is_second: bool, block: AnswerBlock = block) -> None:
            dataset, index, model = (block[name][row] for name in ("dataset", "index", "model"))
            why = (
                f"a second answer of {model} to {dataset} {index}; the first is kept"
                if is_second
                else f"another question already has the index {index} in {dataset}"
            )
            on_issue(block.location(row).issue(why))

        kept = answered.admit(block, refuse).rows
        if kept:
            yield block.take(kept)
