"""A bank's train rows in an order that is their own, and rankings made from predicted scores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.scoring import BankArrays, Floats, Rows

_DECIMALS = 9
"""Predictions that agree up to here are ties: a matrix product rounds differently in another block."""


@dataclass(frozen=True)
class Examples:
    """What a router learns from: N rows ordered by their content, M models ordered by name.

    Two banks that hold the same rows in other orders give the same examples, so that nothing that is
    drawn by place (a minibatch, a first weight) depends on how a bank was put together.

    Attributes:
        vectors: Query vectors (N, d).
        scores: Scores (N, M); 0 where there is no answer.
        present: Whether there is one (N, M).
        tokens: Completion tokens (N, M); NaN where unknown.
        datasets: Dataset of each row (N,).
        models: Names (M,).
        columns: Each model's place in the bank (M,).
        rows: Each row's place in the bank (N,).
    """

    vectors: NDArray[np.float32]
    scores: Floats
    present: NDArray[np.bool_]
    tokens: Floats
    datasets: tuple[str, ...]
    models: Ranking
    columns: Rows
    rows: Rows

    @cached_property
    def means(self) -> Floats:
        """Mean score of each model over the rows it answered (M,); 0 for one that answered none."""
        columns = (self.scores[self.present[:, model], model].tolist() for model in range(len(self.models)))
        return np.array([math.fsum(column) / len(column) if column else 0.0 for column in columns])

    def rankings(self, predicted: Floats) -> Iterator[Ranking]:
        """Yield the models by predicted score, best first, for each query.

        Ties go to the higher train mean, then to the name. A model without a train answer comes last: nothing
        is known about it, whatever a trained function says.

        Args:
            predicted: What a model is expected to score (n, M).
        """
        unseen: list[bool] = np.logical_not(self.present.max(axis=0, initial=False)).tolist()
        means: list[float] = (-self.means).tolist()
        for row in (-np.round(predicted, _DECIMALS)).tolist():
            yield tuple(name for *_, name in sorted(zip(unseen, row, means, self.models, strict=True)))


def examples_of(bank: BankArrays, datasets: Sequence[str]) -> Examples:
    """Return the train rows of a bank in the order of their content.

    Args:
        bank: The bank's arrays.
        datasets: Dataset of each row (N,).
    """
    columns = np.array(sorted(range(len(bank.model_names)), key=bank.model_names.__getitem__), dtype=np.intp)
    vectors = bank.query_vectors.astype(np.float32)
    present = bank.present[:, columns]
    scores = np.where(present, bank.scores[:, columns], 0.0)
    tokens = np.where(present, bank.completion_tokens[:, columns], np.nan)

    def content(row: int) -> bytes:
        parts = (array[row].tobytes() for array in (vectors, scores, present, tokens))
        return hashlib.blake2b(b"".join((*parts, datasets[row].encode())), digest_size=16).digest()

    order = sorted(range(len(vectors)), key=content)
    return Examples(
        vectors=vectors[order],
        scores=scores[order],
        present=present[order],
        tokens=tokens[order],
        datasets=tuple(datasets[row] for row in order),
        models=tuple(bank.model_names[column] for column in columns.tolist()),
        columns=columns,
        rows=np.array(order, dtype=np.intp),
    )


class SharedExamples:
    """Makes the examples of a bank once for all methods that learn from it; those of one bank at a time."""

    def __init__(self) -> None:
        self._made: tuple[BankArrays, Sequence[str], Examples] | None = None

    def of(self, bank: BankArrays, datasets: Sequence[str]) -> Examples:
        """Return what `examples_of` does."""
        if self._made is None or self._made[0] is not bank or self._made[1] is not datasets:
            self._made = bank, datasets, examples_of(bank, datasets)
        return self._made[2]


def stacked(queries: Sequence[Query]) -> Floats:
    """Return the vectors of some queries (n, d)."""
    return np.stack([query.vector for query in queries]).astype(np.float64)
