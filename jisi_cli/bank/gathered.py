"""Questions and answers of a build as sequences and mappings whose texts lie in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.records import STATUSES, Key, Question, Record, Split
from jisi_cli.bank.row_file import RowFile

Places = NDArray[np.int64]


class StoredQuestions(Sequence[Question]):
    """Questions in bank order (n), each read from the file when it is asked for.

    Args:
        file: Holds `[query, reference, grader]` of each.
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
        starts: Places,
        sizes: Places,
    ) -> None:
        self.keys, self.orders, self.splits, self.sizes = keys, orders, splits, sizes
        self._file, self._starts = file, starts

    @cached_property
    def places(self) -> dict[Key, int]:
        """Where each question stands."""
        return {key: place for place, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> Question: ...
    @overload
    def __getitem__(self, place: slice) -> list[Question]: ...
    def __getitem__(self, place: int | slice) -> Question | list[Question]:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        query, reference, grader = self._file.read(int(self._starts[place]), int(self.sizes[place]))
        dataset, index = self.keys[place]
        return Question(dataset, index, query, reference, grader, self.orders[place], self.splits[place])

    def text(self, place: int) -> str:
        """Return the text of one question."""
        found: str = self._file.read(int(self._starts[place]), int(self.sizes[place]))[0]
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class StoredAnswers(Mapping[Key, Record]):
    """One model's answers by question, in bank order (k), each read from the file when it is asked for.

    Args:
        model: Its name.
        file: Holds `[response, prompt_tokens, completion_tokens, cost_usd, score, error, finish_reason]` of each.
        questions: The questions that were answered, among others.
        places: Places of those questions, ascending (k,).
        starts: Where each begins in the file (k,).
        sizes: How many bytes each takes there (k,).
        status: Place of each status in `STATUSES` (k,).
        speaks: Whether each has text to embed (k,).
    """

    def __init__(
        self,
        model: str,
        file: RowFile,
        questions: StoredQuestions,
        places: Places,
        starts: Places,
        sizes: Places,
        status: NDArray[np.int8],
        speaks: NDArray[np.bool_],
    ) -> None:
        self.places, self.sizes, self.status, self.speaks = places, sizes, status, speaks
        self._model, self._file, self._questions, self._starts = model, file, questions, starts

    def record(self, which: int) -> Record:
        """Return the answer at that place among this model's."""
        question = self._questions[int(self.places[which])]
        answer = self.bare_record(which)
        return replace(answer, query=question.query, reference=question.reference, grader=question.grader)

    def bare_record(self, which: int) -> Record:
        """Return the answer at that place without the texts that belong to its question."""
        row = self._file.read(int(self._starts[which]), int(self.sizes[which]))
        response, prompt_tokens, completion_tokens, cost_usd, score, error, finish_reason = row
        place = int(self.places[which])
        dataset, index = self._questions.keys[place]
        return Record(
            dataset=dataset,
            index=index,
            query="",
            model=self._model,
            response=response,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cost_usd=cost_usd,
            score=score,
            status=STATUSES[self.status[which]],
            split=self._questions.splits[place],
            error=error,
            order=self._questions.orders[place],
            finish_reason=finish_reason,
        )

    def response(self, which: int) -> str:
        """Return the text of the answer at that place; empty where there is none."""
        return self._file.read(int(self._starts[which]), int(self.sizes[which]))[0] or ""

    def __getitem__(self, key: Key) -> Record:
        place = self._questions.places[key]
        which = int(np.searchsorted(self.places, place))
        if which == len(self.places) or self.places[which] != place:
            raise KeyError(key)
        return self.record(which)

    def __iter__(self) -> Iterator[Key]:
        return (self._questions.keys[place] for place in self.places.tolist())

    def __len__(self) -> int:
        return len(self.places)


@dataclass(slots=True)
class Gathered:
    """Questions in bank order, and each model's answers by question.

    Attributes:
        questions: Sorted by dataset, then by recorded index.
        answers: For each model its records by question key.
        conflicts: Records left out because they contradict an earlier one, as sentences.
    """

    questions: StoredQuestions
    answers: dict[str, StoredAnswers]
    conflicts: list[str] = field(default_factory=list)

    @property
    def records(self) -> int:
        """Number of answers."""
        return sum(len(answers) for answers in self.answers.values())

    @property
    def datasets(self) -> set[str]:
        """Names of the datasets."""
        return {dataset for dataset, _ in self.questions.keys}
