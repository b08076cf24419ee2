"""A replay whose questions are answered in other processes, block by block, as if they were answered here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.test_set import TestSet, blocks


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


_LEAST, _MOST = 32, 1024
_EACH = 4
"""Blocks for each worker, so that the last one to end is not waited for long."""


def block_size(questions: int, workers: int) -> int:
    """Return how many questions make a block: some blocks for each worker."""
    return min(_MOST, max(_LEAST, -(-questions // (_EACH * workers))))


class Dealt:
    """The blocks of a comparison: dealt out in their order, and taken back method by method.

    Args:
        tests: The questions.
        size: Questions to a block at most.
        opened: For each method by its name, the keys of its results for all questions, and the questions that no
            earlier run has settled.
        names: The methods that can answer.
        answer: Has the blocks answered, in their order; few are read ahead.
        on_done: Told of each question that a method has answered.
    """

    def __init__(
        self,
        tests: TestSet,
        size: int,
        opened: Mapping[str, tuple[Sequence[str], Sequence[int]]],
        names: Sequence[str],
        answer: Callable[[Iterable[Block]], Iterator[Mapping[str, Replayed]]],
        on_done: Callable[[], None],
    ) -> None:
        self.opened, self.size, self._on_done = opened, size, on_done
        asked: dict[tuple[int, ...], list[str]] = {}
        for name in names:
            rows = opened[name][1]
            for part in blocks(len(rows), size):
                asked.setdefault(tuple(rows[part]), []).append(name)
        made = (
            Block(tests.part(rows), {name: [opened[name][0][row] for row in rows] for name in wanted})
            for rows, wanted in asked.items()
        )
        self._answers = zip(asked, answer(made), strict=True)
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
