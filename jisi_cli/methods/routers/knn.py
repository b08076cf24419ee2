"""`knn`: the retrieval-based router (prior selection of SMACS, Tang et al. 2025, arXiv 2507.14200)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.scoring import BankArrays, coarse_block, rank


@dataclass(frozen=True, slots=True)
class KnnSettings:
    """Settings of `knn`.

    Attributes:
        neighbours: k: 50 as in JiSi's comparison; SMACS itself uses 400.
        margin: Share of the k-th similarity that still admits a neighbour.
    """

    neighbours: int = 50
    margin: float = 0.95


class Knn:
    """Ranks models by the similarity-weighted scores of the nearest queries.

    The support set of the released code holds similarities strictly above the threshold, which is the
    `openjisi` reading of stage 1. Ties go to the higher train mean, then to the name, as for every router here.

    Args:
        bank: The bank's arrays.
        settings: k and the margin.
    """

    def __init__(self, bank: BankArrays, settings: KnnSettings | None = None) -> None:
        chosen = settings or KnnSettings()
        self._bank = bank
        self._settings = replace(Hyperparameters(compat="openjisi"), n_base=chosen.neighbours, gamma=chosen.margin, k=1)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        vectors = np.stack([query.vector for query in queries])
        for found in coarse_block(self._bank, vectors, self._settings):
            ranking = rank(self._bank, found.scores, "paper")
            yield tuple(self._bank.model_names[model] for model in ranking)
