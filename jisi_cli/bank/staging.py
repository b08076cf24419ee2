"""Questions and answers of a build, in bank order: sequences whose texts lie in a file, as they need not fit memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.row_file import (
    AnswerColumns,
    QuestionColumns,
    RowFile,
    response_of,
    unpack_answer,
    unpack_question,
)
from jisi_cli.bank.vectors import Wanted
from jisi_cli.files import ANSWERS, ANSWERS_MARK, written
from jisi_cli.formats.record import STATUSES, Key, Question, Record, Split

Positions = NDArray[np.int64]


class StagedQuestions(Sequence[Question]):
    """Questions in bank order (n), each read from the file when it is asked for.

    Args:
        file: Holds each, as `pack_question` makes it.
        keys: What identifies each.
        orders: Recorded position within its dataset, where there is one.
        splits: Train, test, or None where nothing says so.
        starts: Where each begins in the file (n,).
        sizes: How many bytes each takes there (n,).
    """

    def __init__(
        self,
        file: RowFile,
        keys: Sequence[Key],
        orders: Sequence[int | None],
        splits: Sequence[Split | None],
        starts: Positions,
        sizes: Positions,
    ) -> None:
        self.keys, self.orders, self.splits, self.sizes = keys, orders, splits, sizes
        self._file, self._starts = file, starts

    @cached_property
    def positions(self) -> dict[Key, int]:
        """Position of each question."""
        return {key: position for position, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, position: int) -> Question: ...
    @overload
    def __getitem__(self, position: slice) -> list[Question]: ...
    def __getitem__(self, position: int | slice) -> Question | list[Question]:
        if isinstance(position, slice):
            return [self[index] for index in range(*position.indices(len(self)))]
        query, reference, grader = self._unpacked(position)
        dataset, index = self.keys[position]
        return Question(dataset, index, query or "", reference, grader, self.orders[position], self.splits[position])

    def text(self, position: int) -> str:
        """Return the text of one question."""
        return self._unpacked(position)[0] or ""

    def columns(self, positions: Positions) -> QuestionColumns:
        """Return the texts of some questions (k), by column."""
        return QuestionColumns(*self._file.read_rows(self._starts[positions], self.sizes[positions]))

    def wanted(self, positions: Positions, questions: QuestionColumns) -> Wanted:
        """Return what vectors are wanted of.

        Args:
            positions: The questions (k,).
            questions: Their columns.
        """
        places, texts = positions.tolist(), questions.text("query")
        return Wanted(
            [self.keys[place] for place in places],
            [self.orders[place] for place in places],
            np.ones(len(places), dtype=bool),
            lambda: [text or "" for text in texts.decoded()],
        )

    def _unpacked(self, position: int) -> list[str | None]:
        return unpack_question(self._file.read(int(self._starts[position]), int(self.sizes[position])))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class StagedAnswers(Mapping[Key, Record]):
    """One model's answers by question, in bank order (k), each read from the file when it is asked for.

    Args:
        model: Its name.
        file: Holds each, as `UnwrittenAnswers` makes it.
        questions: The questions that were answered, among others.
        positions: Positions of those questions, ascending (k,).
        starts: Where each begins in the file (k,).
        sizes: How many bytes each takes there (k,).
        status: Place of each status in `STATUSES` (k,).
        has_text: Whether each has text to embed (k,).
    """

    def __init__(
        self,
        model: str,
        file: RowFile,
        questions: StagedQuestions,
        positions: Positions,
        starts: Positions,
        sizes: Positions,
        status: NDArray[np.int8],
        has_text: NDArray[np.bool_],
    ) -> None:
        self.positions, self.sizes, self.status, self.has_text = positions, sizes, status, has_text
        self.model, self._file, self._questions, self._starts = model, file, questions, starts

    def record(self, which: int) -> Record:
        """Return the answer at that position among this model's."""
        answer = unpack_answer(self._row(which))
        question = self._questions[int(self.positions[which])]
        return Record(
            dataset=question.dataset,
            index=question.index,
            query=question.query,
            model=self.model,
            reference=question.reference,
            status=STATUSES[self.status[which]],
            split=question.split,
            grader=question.grader,
            order=question.order,
            **answer._asdict(),
        )

    def columns(self, which: Positions) -> AnswerColumns:
        """Return the answers at some positions (k,) among this model's, by column."""
        return AnswerColumns(*self._file.read_rows(self._starts[which], self.sizes[which]))

    def wanted(self, which: Positions, answers: AnswerColumns) -> Wanted:
        """Return what vectors are wanted of.

        Args:
            which: Positions among this model's (k,).
            answers: Their columns.
        """
        keys, orders = self._questions.keys, self._questions.orders
        positions, has_text = self.positions[which].tolist(), self.has_text[which]
        texts = answers.text("response")
        return Wanted(
            [keys[position] for position in positions],
            [orders[position] for position in positions],
            has_text,
            lambda: [text or "" for text, wanted in zip(texts.decoded(), has_text.tolist(), strict=True) if wanted],
        )

    def response(self, which: int) -> str:
        """Return the text of the answer at that position; empty where there is none."""
        return response_of(self._row(which))

    def _row(self, which: int) -> bytes:
        return self._file.read(int(self._starts[which]), int(self.sizes[which]))

    def __getitem__(self, key: Key) -> Record:
        position = self._questions.positions[key]
        which = int(np.searchsorted(self.positions, position))
        if which == len(self.positions) or self.positions[which] != position:
            raise KeyError(key)
        return self.record(which)

    def __iter__(self) -> Iterator[Key]:
        return (self._questions.keys[position] for position in self.positions.tolist())

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(slots=True)
class Staging:
    """Questions in bank order, and each model's answers by question.

    Attributes:
        questions: Sorted by dataset, then by recorded index.
        answers: For each model its records by question key.
        conflicts: Records left out because they contradict an earlier one, as sentences.
    """

    questions: StagedQuestions
    answers: dict[str, StagedAnswers]
    conflicts: list[str] = field(default_factory=list)

    @property
    def records(self) -> int:
        """Number of answers."""
        return sum(len(answers) for answers in self.answers.values())

    @property
    def datasets(self) -> set[str]:
        """Names of the datasets."""
        return {dataset for dataset, _ in self.questions.keys}


def write_jisi(path: Path, staging: Staging, sources: Iterable[Path] = ()) -> None:
    """Write questions and answers so that `jisi bank build` reads them back as they are.

    Args:
        path: The file, replaced in one step; of several processes that write it, the last one wins, whole.
        staging: What to write, in its own order.
        sources: Files and folders that were read, which the file must not replace.

    Raises:
        InputError: The file cannot be written.
    """
    mark: dict[str, Any] = {ANSWERS_MARK: "jisi"}
    with written(path, ANSWERS, sources) as file:
        for question in staging.questions:
            answers = [rows[question.key] for rows in staging.answers.values() if question.key in rows]
            line = mark | _line(question, answers)
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            mark = {}


def _line(question: Question, answers: Iterable[Record]) -> dict[str, Any]:
    line: dict[str, Any] = {"dataset": question.dataset, "index": question.index}
    line |= {"split": question.split} if question.split else {}
    line |= {"query": question.query, "gt": question.reference}
    line |= {"grader": question.grader} if question.grader else {}
    rows = list(answers)
    line["records"] = {record.model: record.score for record in rows}
    line["usages"] = {
        record.model: {
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "cost": record.cost_usd,
        }
        for record in rows
    }
    line["raw_output"] = {record.model: record.response for record in rows}
    # Beyond the authors' format: without it a call that failed would read as one that was never made.
    errors = {record.model: record.error or "" for record in rows if record.status == "failed"}
    line |= {"errors": errors} if errors else {}
    reasons = {record.model: record.finish_reason for record in rows if record.finish_reason is not None}
    return line | ({"finish_reasons": reasons} if reasons else {})
