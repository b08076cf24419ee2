"""A replay whose questions are answered in other processes, block by block, as if they were answered here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.test_set import TestSet, blocks

if TYPE_CHECKING:
    from jisi_cli.evaluation.runner import Entry


@dataclass(frozen=True, slots=True)
class Block:
    """Some test questions, and who is to answer them.

    Attributes:
        tests: The questions with what was recorded about them (n).
        keys: For each method by its name, the keys of its results (n).
    """

    tests: TestSet
    keys: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one method made of a block.

    Attributes:
        results: In the order of the questions.
        plan: Seconds for what needs no call.
        answer: Seconds for the rest.
    """

    results: Sequence[Result]
    plan: float
    answer: float


class Elsewhere(Protocol):
    """Other processes that answer blocks of a replay."""

    def block_size(self, questions: int) -> int:
        """Return how many questions are to make a block."""
        ...

    def replay(
        self, entries: Sequence[Entry], train: Sequence[tuple[str, str]], blocks: Iterable[Block]
    ) -> Iterator[Mapping[str, Replayed]]:
        """Yield what the methods made of each block, by their names, in the order of the blocks.

        Args:
            entries: The methods.
            train: Dataset and index of each bank row that they decide by.
            blocks: The questions; few are read ahead.
        """
        ...


class Dealt:
    """The blocks of a comparison: dealt out in their order, and taken back method by method.

    Args:
        elsewhere: Who answers them.
        entries: The methods that take part.
        tests: The questions.
        train: Dataset and index of each bank row that the methods decide by.
        opened: For each method by its name, the keys of its results for all questions, and the questions that no
            earlier run has settled.
        on_done: Told of each question that a method has answered.
    """

    def __init__(
        self,
        elsewhere: Elsewhere,
        entries: Sequence[Entry],
        tests: TestSet,
        train: Sequence[tuple[str, str]],
        opened: Mapping[str, tuple[Sequence[str], Sequence[int]]],
        on_done: Callable[[], None],
    ) -> None:
        self.opened, self._on_done = opened, on_done
        self.size = elsewhere.block_size(len(tests))
        able = [entry for entry in entries if entry.method is not None]
        asked: dict[tuple[int, ...], list[str]] = {}
        for entry in able:
            rows = opened[entry.name][1]
            for part in blocks(len(rows), self.size):
                asked.setdefault(tuple(rows[part]), []).append(entry.name)
        made = (
            Block(tests.part(rows), {name: [opened[name][0][row] for row in rows] for name in names})
            for rows, names in asked.items()
        )
        self._answers = zip(asked, elsewhere.replay(able, train, made), strict=True)
        self._found: dict[tuple[str, tuple[int, ...]], Replayed] = {}

    async def take(self, name: str, rows: Sequence[int]) -> Replayed:
        """Return what a method made of a block, once it is there."""
        wanted = name, tuple(rows)
        while wanted not in self._found:
            of, answers = await asyncio.to_thread(next, self._answers)
            for method, replayed in answers.items():
                self._found[method, of] = replayed
                for _ in of:
                    self._on_done()
        return self._found.pop(wanted)
