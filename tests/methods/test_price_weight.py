"""Trading score against dollars: nothing at 0, price alone at 1, by hand in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Coarse, Probes, coarse, fine
from jisi_cli.scoring.price_weight import PriceWeight, price_weight_of

QUERY = np.array([1.0, 0.0], dtype=np.float32)
SETTINGS = Hyperparameters(k=2, n_base=2, t=0.8)


def bank() -> BankArrays:
    # Two questions exactly like the new one: `good` solves both, `fair` one, `poor` none.
    return BankArrays(
        query_vectors=np.array([[1, 0], [1, 0]], dtype=np.float32),
        response_vectors=[np.array([[1, 0], [1, 0]], dtype=np.float32)] * 3,
        scores=np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
        completion_tokens=np.ones((2, 3)),
        present=np.ones((2, 3), dtype=bool),
        model_names=("good", "fair", "poor"),
    )


DOLLARS = np.array([[0.04, 0.01, np.nan], [0.04, 0.01, np.nan]])


def weigh(weight: float, dollars: np.ndarray = DOLLARS) -> tuple[Coarse, Coarse, PriceWeight]:
    settings = replace(SETTINGS, price_weight=weight)
    first = coarse(bank(), QUERY, settings)
    prices = PriceWeight(bank(), dollars, settings)
    return first, prices.coarse(first), prices


def test_a_weight_of_zero_asks_for_no_prices_at_all() -> None:
    assert price_weight_of(bank(), None, SETTINGS) is None


def test_the_utilities_rank_as_computed_by_hand() -> None:
    # score / best: 1, 0.5, 0; dollars / dearest: 1, 0.25, 1 (unknown counts as the dearest).
    # w = 0.3: good 0.7, fair 0.35 + 0.225 = 0.575, poor 0; w = 0.5: good 0.5, fair 0.25 + 0.375 = 0.625.
    assert weigh(0.3)[1].ranking == (0, 1, 2)
    assert weigh(0.5)[1].ranking == (1, 0, 2)


def test_the_scores_stay_the_papers() -> None:
    before, after, _ = weigh(0.9)
    assert after.scores.tolist() == before.scores.tolist()


def test_the_switch_compares_utilities() -> None:
    settings = replace(SETTINGS, price_weight=0.5)
    first, after, prices = weigh(0.5)
    probes = Probes(after.candidates, np.array([QUERY, QUERY]), np.array([1.0, 1.0]))
    second = prices.fine(fine(bank(), after, probes, settings), first, probes)
    # The filter keeps one of two equal neighbours, the first, which both solved: scores / best are 1 and 1,
    # so utilities are fair 0.875 and good 0.5, and good falls below t = 0.8.
    assert second.aggregatees == (1,)
    assert second.ratios == (1.0,)


def test_the_released_codes_reading_leaves_out_models_without_a_recorded_answer_here_too() -> None:
    settings = replace(SETTINGS, price_weight=0.5, compat="openjisi")
    prices = PriceWeight(bank(), DOLLARS, settings)
    first = prices.coarse(coarse(bank(), QUERY, settings))
    probes = Probes((0,), np.array([QUERY]), np.array([1.0]))
    answerable = np.array([True, False, True])
    second = fine(bank(), first, probes, settings, answerable)
    assert prices.fine(second, first, probes).aggregatees == (1,)
    assert prices.fine(second, first, probes, answerable).aggregatees == (0,)


def test_without_any_price_there_is_nothing_to_trade() -> None:
    with pytest.raises(InputError, match="needs prices"):
        weigh(0.5, np.full((2, 3), np.nan))


def test_free_models_are_ranked_by_score_alone() -> None:
    assert weigh(0.5, np.zeros((2, 3)))[1].ranking == (0, 1, 2)
