"""`jisi-query`: stage 1 of JiSi alone (Eq. 2): argmax g, one call, no probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.price_weight import price_weight_of
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.methods.shared_coarse import CoarseBlock
from jisi_cli.scoring import BankArrays, coarse_block


class JiSiQuery:
    """Ranks models by their coarse score.

    Args:
        bank: The bank's arrays.
        settings: Hyper-parameters.
        dollars: Dollars of every train answer (N, M), NaN where unknown; only a price weight needs them.
        coarse: Computes stage 1.

    Raises:
        InputError: There is a price weight and no price.
    """

    def __init__(
        self,
        bank: BankArrays,
        settings: Hyperparameters,
        dollars: NDArray[np.float64] | None = None,
        coarse: CoarseBlock = coarse_block,
    ) -> None:
        self._bank, self._settings, self._coarse = bank, settings, coarse
        self._prices = price_weight_of(bank, dollars, settings)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        vectors = np.stack([query.vector for query in queries])
        for found in self._coarse(self._bank, vectors, self._settings):
            first = found if self._prices is None else self._prices.coarse(found)
            yield tuple(self._bank.model_names[model] for model in first.ranking)
