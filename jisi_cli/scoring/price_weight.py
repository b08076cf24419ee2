"""Trading expected score against expected dollars: ours, beyond the paper (0, the default, is the paper).

A model's utility is (1 - w) * score / best score + w * (1 - dollars / dearest), where dollars are what a
call of it may be expected to cost on the support set. Ranking, candidates, aggregator and the ratio that
the switch compares with `t` then go by utility. The form is Avengers-Pro's (arXiv 2508.12631). A model of
unknown price counts as the dearest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jisi_cli.errors import InputError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Coarse, Fine, Probes, choose_aggregatees, rank

Floats = NDArray[np.float64]


class PriceWeight:
    """Re-ranks both stages of a decision by utility.

    Args:
        bank: The bank's arrays.
        dollars: Dollars of every train answer (N, M), NaN where unknown.
        settings: `price_weight` and `t`.

    Raises:
        InputError: No price is known, so that there is nothing to trade.
    """

    def __init__(self, bank: BankArrays, dollars: Floats, settings: Hyperparameters) -> None:
        if np.isnan(dollars).all():
            raise InputError(
                "price_weight needs prices; add `price` to the models in the pool file, or give eval --prices"
            )
        self._bank, self._dollars, self._settings = bank, dollars, settings

    def coarse(self, first: Coarse) -> Coarse:
        """Return stage 1 ranked by utility; its scores stay g."""
        utilities = self._utilities(first.scores, first)
        return replace(first, ranking=rank(self._bank, utilities, self._settings.compat))

    def fine(self, second: Fine, first: Coarse, probes: Probes, answerable: NDArray[np.bool_] | None = None) -> Fine:
        """Return stages 2 and 3 ranked by utility, with the aggregatees that follow; its scores stay gf."""
        utilities = self._utilities(second.scores, first)
        if float(utilities.max()) <= 0 or float(second.scores.max()) <= 0:
            return second
        ranking = rank(self._bank, utilities, self._settings.compat)
        chosen, ratios = choose_aggregatees(utilities, ranking, probes, self._settings, answerable)
        return replace(second, ranking=ranking, aggregatees=chosen, ratios=ratios)

    def expected(self, first: Coarse) -> Floats:
        """Return the similarity-weighted mean dollars of a call on the support set (M,), NaN where unknown."""
        dollars = self._dollars[first.rows]
        known = ~np.isnan(dollars)
        weights = np.where(known, np.maximum(first.similarities, 0.0)[:, np.newaxis], 0.0)
        totals = weights.sum(axis=0)
        sums = (weights * np.where(known, dollars, 0.0)).sum(axis=0)
        means: Floats = np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0)
        return means

    def _utilities(self, scores: Floats, first: Coarse) -> Floats:
        weight = self._settings.price_weight
        expected = self.expected(first)
        dearest = float(np.nanmax(expected)) if not np.isnan(expected).all() else 0.0
        thrift = 1 - np.where(np.isnan(expected), dearest, expected) / dearest if dearest > 0 else np.zeros_like(scores)
        best = float(scores.max())
        quality = scores / best if best > 0 else np.zeros_like(scores)
        utilities: Floats = (1 - weight) * quality + weight * thrift
        return utilities


def price_weight_of(bank: BankArrays, dollars: Floats | None, settings: Hyperparameters) -> PriceWeight | None:
    """Return what re-ranks by utility, or None where the price weight is 0.

    Raises:
        InputError: There is a price weight and no price.
    """
    if settings.price_weight == 0:
        return None
    unknown = np.full(bank.scores.shape, np.nan)
    return PriceWeight(bank, unknown if dollars is None else dollars, settings)
