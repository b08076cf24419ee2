"""`knn`: the retrieval-based router (prior selection of SMACS, Tang et al. 2025, arXiv 2507.14200)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.rankings import Ranking
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import Router
from jisi_cli.scoring import coarse_block, rank

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext


@dataclass(frozen=True, slots=True)
class KnnSettings:
    """Settings of `knn`.

    Attributes:
        neighbours: k: 50 as in JiSi's comparison; SMACS itself uses 400.
        margin: Share of the k-th similarity that still admits a neighbour.
    """

    neighbours: int = 50
    margin: float = 0.95


@register_method(
    "knn",
    "similarity-weighted scores of the nearest 50",
    "recorded",
    "SMACS, arXiv 2507.14200",
    settings=KnnSettings(),
    departures="equal scores go to the better model on train",
)
class Knn(Router[KnnSettings]):
    """Ranks models by the similarity-weighted scores of the nearest queries.

    The support set of the released code holds similarities strictly above the threshold, which is the
    `openjisi` reading of stage 1. Ties go to the higher train mean, then to the name, as for every router here.
    """

    reason = "the nearest questions favour it"

    def __init__(self, context: MethodContext, settings: KnnSettings) -> None:
        super().__init__(context, settings)
        self._bank = context.bank
        self._search = Hyperparameters(compat="openjisi", n_base=settings.neighbours, gamma=settings.margin, k=1)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        vectors = np.stack([query.vector for query in queries])
        for found in coarse_block(self._bank, vectors, self._search):
            ranking = rank(self._bank, found.scores, "paper")
            yield tuple(self._bank.model_names[model] for model in ranking)
