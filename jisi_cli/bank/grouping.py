"""From single recorded answers to questions with their answers, in an order that no file order can change.

Texts go to a file as they come. Names and numbers stay in memory, a few hundred bytes a question and
some twenty an answer, so that a source may be much larger than memory.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern

import numpy as np

from jisi_cli.bank.split import paper_split, recorded_order
from jisi_cli.bank.staging import Gathered, Places, RowFile, StoredAnswers, StoredQuestions
from jisi_cli.formats.record import STATUSES, Key, Record, Split, has_response


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records enter; None admits all.

    Attributes:
        models: Names of models.
        datasets: Names of datasets.
        limit: Questions per dataset, the first by recorded index.
    """

    models: frozenset[str] | None = None
    datasets: frozenset[str] | None = None
    limit: int | None = None

    def admits(self, record: Record) -> bool:
        """Whether a record's model and dataset are wanted."""
        return (self.models is None or record.model in self.models) and (
            self.datasets is None or record.dataset in self.datasets
        )


def gather(records: Iterable[Record], selection: Selection | None = None, folder: Path | None = None) -> Gathered:
    """Group records into questions and answers.

    A second record for the same question and model is left out, and so is one whose question text
    differs from what the same (dataset, index) said before; both are reported in `conflicts`.
    What a question's first record does not say of it (reference, grader, split, order), a later one may.

    Args:
        records: Recorded answers in any order.
        selection: Which of them to take.
        folder: Where the file of the texts is made; it has no name and ends with the process.
    """
    selection = selection or Selection()
    found = _Collection(RowFile(folder))
    for record in records:
        if selection.admits(record):
            found.add(record)
    return found.ordered(selection.limit)


def assign_split(
    keys: Sequence[Key], orders: Sequence[int | None], fraction: float, seed: int
) -> dict[Key, Split | None]:
    """Return whether each question is a train or a test row by the paper's rule, dataset by dataset.

    Args:
        keys: The questions, n of them.
        orders: Recorded position of each, where there is one (n).
        fraction: Share of train rows.
        seed: Seed of the shuffle.
    """
    marks: dict[Key, Split | None] = {}
    for places in _by_dataset(keys).values():
        ordered = _in_order(places, keys, orders)
        for place, role in zip(ordered, paper_split(len(ordered), fraction, seed), strict=True):
            marks[keys[place]] = role
    return marks


class _Answers:
    """One model's answers as they come: numbers of their questions, and where they lie in the file."""

    def __init__(self, bit: int) -> None:
        self.bit = 1 << bit
        self.numbers, self.starts, self.sizes = array("q"), array("q"), array("q")
        self.status, self.speaks = array("b"), array("b")

    def add(self, number: int, record: Record, file: RowFile) -> None:
        start, size = file.append(
            (
                record.response,
                record.prompt_tokens,
                record.completion_tokens,
                record.cost_usd,
                record.score,
                record.error,
                record.finish_reason,
            )
        )
        self.numbers.append(number)
        self.starts.append(start)
        self.sizes.append(size)
        self.status.append(STATUSES.index(record.status))
        self.speaks.append(has_response(record))

    def ordered(self, model: str, file: RowFile, questions: StoredQuestions, rank: Places) -> StoredAnswers:
        """Return them in bank order, without those whose question has no rank."""
        places = rank[np.array(self.numbers, dtype=np.int64)]
        order = np.argsort(places, kind="stable")
        order = order[places[order] >= 0]
        starts, sizes = np.array(self.starts, dtype=np.int64)[order], np.array(self.sizes, dtype=np.int64)[order]
        status, speaks = np.array(self.status, dtype=np.int8)[order], np.array(self.speaks, dtype=bool)[order]
        return StoredAnswers(model, file, questions, places[order], starts, sizes, status, speaks)


class _Collection:
    """Questions, by the number in which they came, and the answers to them."""

    def __init__(self, file: RowFile) -> None:
        self._file = file
        self._numbers: dict[Key, int] = {}
        self._texts = array("q")
        self._starts, self._sizes = array("q"), array("q")
        self._whole: list[bool] = []
        self._orders: list[int | None] = []
        self._splits: list[Split | None] = []
        self._answered: list[int] = []
        """For each question the models that answered it, as bits."""
        self._answers: dict[str, _Answers] = {}
        self._conflicts: list[str] = []

    def add(self, record: Record) -> None:
        number = self._numbers.get((record.dataset, record.index))
        if number is None:
            number = self._add_question(record)
        answers = self._answers.get(record.model)
        if answers is None:
            answers = self._answers[record.model] = _Answers(len(self._answers))
        where = f"{record.dataset}/{record.index}"
        # A hash, because the questions themselves need not fit into memory.
        if self._texts[number] != hash(record.query):
            self._conflicts.append(f"{where}: {record.model} was asked another text than the models before it")
        elif self._answered[number] & answers.bit:
            self._conflicts.append(f"{where}: {record.model} answered twice; the first answer counts")
        else:
            self._answered[number] |= answers.bit
            answers.add(number, record, self._file)
            self._complete(number, record)

    def ordered(self, limit: int | None) -> Gathered:
        """Return everything in bank order: by dataset, then by recorded index, so many of each dataset."""
        keys = list(self._numbers)
        kept: list[int] = []
        for numbers in _by_dataset(keys).values():
            kept.extend(_in_order(numbers, keys, self._orders)[:limit])
        order = np.array(kept, dtype=np.int64)
        questions = StoredQuestions(
            self._file,
            [keys[number] for number in kept],
            [self._orders[number] for number in kept],
            [self._splits[number] for number in kept],
            np.array(self._starts, dtype=np.int64)[order],
            np.array(self._sizes, dtype=np.int64)[order],
        )
        rank = np.full(len(keys), -1, dtype=np.int64)
        rank[order] = np.arange(len(order))
        answers = {
            model: found.ordered(model, self._file, questions, rank) for model, found in sorted(self._answers.items())
        }
        return Gathered(questions, {model: rows for model, rows in answers.items() if len(rows)}, self._conflicts)

    def _add_question(self, record: Record) -> int:
        number = len(self._numbers)
        self._numbers[intern(record.dataset), record.index] = number
        self._texts.append(hash(record.query))
        start, size = self._file.append((record.query, record.reference, record.grader))
        self._starts.append(start)
        self._sizes.append(size)
        self._whole.append(record.reference is not None and bool(record.grader))
        self._orders.append(record.order)
        self._splits.append(record.split)
        self._answered.append(0)
        return number

    def _complete(self, number: int, record: Record) -> None:
        """Fill in what the records before left open."""
        self._splits[number] = self._splits[number] or record.split
        if self._orders[number] is None:
            self._orders[number] = record.order
        if self._whole[number] or (record.reference is None and not record.grader):
            return
        before = self._file.read(self._starts[number], self._sizes[number])
        query, reference, grader = before
        now = [query, reference if reference is not None else record.reference, grader or record.grader]
        self._whole[number] = now[1] is not None and bool(now[2])
        if now != before:
            self._starts[number], self._sizes[number] = self._file.append(now)


def _by_dataset(keys: Sequence[Key]) -> Mapping[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for place, (dataset, _) in enumerate(keys):
        groups[dataset].append(place)
    return dict(sorted(groups.items()))


def _in_order(places: Sequence[int], keys: Sequence[Key], orders: Sequence[int | None]) -> list[int]:
    order = recorded_order([keys[place][1] for place in places], [orders[place] for place in places])
    return [places[position] for position in order]
