"""`embedllm-knn`: how often each model was right on the nearest questions.

Source: the KNN router of EmbedLLM (Zhuang et al. 2024, arXiv 2410.02223).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.examples import Examples, stacked
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.scoring import BankArrays, Floats, Rows, coarse_block


@dataclass(frozen=True, slots=True)
class EmbedLlmKnnSettings:
    """Settings of `embedllm-knn`.

    Attributes:
        neighbours: Questions that are looked at.
    """

    neighbours: int = 131


class EmbedLlmKnn:
    """Ranks models by their mean score over the nearest train questions.

    The Euclidean order of unit vectors is the order of their dot products. Unlike the original, which takes
    131 of them, questions exactly as near as the 131st count too, so that the order of the bank settles
    nothing. A model that answered none of them has its mean over the bank.

    Args:
        bank: The bank's arrays.
        examples: Its train rows.
        settings: How many neighbours.
    """

    def __init__(self, bank: BankArrays, examples: Examples, settings: EmbedLlmKnnSettings | None = None) -> None:
        chosen = settings or EmbedLlmKnnSettings()
        self._bank, self._examples = bank, examples
        # A support set at the full k-th similarity is the set of nearest neighbours with its ties.
        self._search = Hyperparameters(n_base=chosen.neighbours, gamma=1.0, k=1)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if not queries:
            return
        found = coarse_block(self._bank, stacked(queries), self._search)
        for support in found:
            yield from self._examples.rankings(self._means(support.rows)[np.newaxis])

    def _means(self, rows: Rows) -> Floats:
        columns, examples = self._examples.columns, self._examples
        means = [self._mean(rows, column) for column in columns.tolist()]
        return np.where(np.isnan(means), examples.means, means)

    def _mean(self, rows: Rows, column: int) -> float:
        scores = self._bank.scores[rows[self._bank.present[rows, column]], column].tolist()
        return math.fsum(scores) / len(scores) if scores else math.nan
