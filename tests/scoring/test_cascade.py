"""How sure the cascade is: against a slow second version, by hand, and by what must hold for any numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, coarse
from jisi_cli.scoring.cascade import (
    FIRST_PRIOR,
    LATER_PRIOR,
    Observed,
    group_features,
    label_groups,
    log_odds,
    outcome_probabilities,
    reliabilities,
    reliabilities_without,
    threshold_for,
)
from tests.scoring import slow_cascade as slow

WIDE = Hyperparameters(n_base=6, gamma=0.7)

odds_of = st.floats(-3.9, 3.9, allow_nan=False)
answers_of = st.sampled_from(["7", "8", "9", None])
weights_of = st.lists(st.floats(-2.0, 2.0), min_size=7, max_size=7)


@st.composite
def asked(draw: st.DrawFn, most: int = 5) -> tuple[list[float], list[str | None], list[float]]:
    """Log-odds, final answers and scores of some models; equal answers may be scored differently."""
    count = draw(st.integers(1, most))
    return (
        draw(st.lists(odds_of, min_size=count, max_size=count)),
        draw(st.lists(answers_of, min_size=count, max_size=count)),
        draw(st.lists(st.sampled_from([0.0, 0.4, 0.5, 1.0]), min_size=count, max_size=count)),
    )


def sureness(weights: Sequence[float], odds: Sequence[float], answers: Sequence[str | None]) -> list[float]:
    """Probability of each outcome, by the place of a group's first member; the last is that none is right."""
    features, exists = group_features(np.array([odds]), np.array([label_groups(answers)]))
    found: list[float] = outcome_probabilities(np.array(weights), features, exists)[0].tolist()
    return found


def random_bank(seed: int, rows: int = 30, models: int = 4, gaps: float = 0.2) -> BankArrays:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, 8)) + 1.0
    present = rng.random((rows, models)) >= gaps
    scores = rng.choice([0.0, 0.5, 1.0], size=(rows, models))
    return BankArrays(
        query_vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        response_vectors=[np.zeros((rows, 8), np.float32)] * models,
        scores=np.where(present, scores, 0.0),
        completion_tokens=np.full((rows, models), np.nan),
        present=present,
        model_names=tuple("abcdefgh"[:models]),
    )


def known_scores(bank: BankArrays, model: int, rows: Sequence[int]) -> list[float | None]:
    return [float(bank.scores[row, model]) if bank.present[row, model] else None for row in rows]


def mean_of(scores: Sequence[float | None]) -> float:
    known = [score for score in scores if score is not None]
    return math.fsum(known) / len(known) if known else 0.0


# Reliability.


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("prior", [0.0, 10.0])
def test_reliabilities_equal_those_of_the_slow_version(seed: int, prior: float) -> None:
    bank = random_bank(seed)
    query = np.random.default_rng(seed + 100).normal(size=8)
    found = coarse(bank, query, WIDE)
    p = reliabilities(bank, found.rows, found.similarities, prior)
    for model in range(4):
        scores = known_scores(bank, model, found.rows.tolist())
        mean = mean_of(known_scores(bank, model, range(30)))
        assert p[model] == pytest.approx(slow.reliability(found.similarities.tolist(), scores, prior, mean), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_a_train_row_is_judged_by_all_others_and_never_by_itself(seed: int) -> None:
    bank = random_bank(seed)
    rows = np.array([3, 17, 0, 29])
    vectors = bank.query_vectors.astype(np.float64).tolist()
    for row, p in zip(rows.tolist(), reliabilities_without(bank, WIDE, 10.0, rows), strict=True):
        others = [other for other in range(30) if other != row]
        near = slow.support(vectors[row], [vectors[other] for other in others], 6, 0.7)
        inside = [others[place] for place in near]
        for model in range(4):
            mean = mean_of(known_scores(bank, model, others))
            expected = slow.reliability(list(near.values()), known_scores(bank, model, inside), 10.0, mean)
            assert p[model] == pytest.approx(expected, abs=1e-12)


def test_the_own_scores_of_a_train_row_change_nothing_about_it() -> None:
    bank = random_bank(0)
    scores = bank.scores.copy()
    scores[5] = 1.0 - scores[5]
    rows = np.array([5])
    before = reliabilities_without(bank, WIDE, 10.0, rows)
    after = reliabilities_without(replace(bank, scores=np.where(bank.present, scores, 0.0)), WIDE, 10.0, rows)
    assert np.allclose(before, after, atol=1e-12)


@settings(max_examples=10)
@given(st.permutations(range(30)))
def test_the_order_of_rows_changes_no_bit_of_a_reliability(order: list[int]) -> None:
    bank = random_bank(1)
    taken = replace(
        bank,
        query_vectors=bank.query_vectors[order],
        scores=bank.scores[order],
        present=bank.present[order],
        completion_tokens=bank.completion_tokens[order],
    )
    here = reliabilities_without(bank, WIDE, 10.0, np.arange(30))
    there = reliabilities_without(taken, WIDE, 10.0, np.arange(30))
    assert (there == here[order]).all()


def test_a_reliability_by_hand() -> None:
    # Two near questions of similarity 0.8 and 0.5, right and wrong; a mean over the bank of 2/3, worth 10 questions.
    bank = random_bank(0, rows=3, models=1, gaps=0.0)
    bank = replace(bank, scores=np.array([[1.0], [0.0], [1.0]]))
    p = reliabilities(bank, np.array([0, 1]), np.array([0.8, 0.5]), 10.0)
    assert p[0] == pytest.approx((0.8 + 10 * 2 / 3) / (1.3 + 10))
    # Without a prior and without a row of any weight there is nothing but the mean; nothing is surer than 0.98.
    assert reliabilities(bank, np.array([], dtype=np.intp), np.array([]), 0.0)[0] == pytest.approx(2 / 3)
    assert reliabilities(bank, np.array([0, 2]), np.array([0.8, -0.5]), 0.0)[0] == 0.98
    assert reliabilities(bank, np.array([1]), np.array([0.8]), 0.0)[0] == 0.02


# Groups and their probabilities.


def test_equal_answers_form_a_group_and_one_that_is_none_is_alone() -> None:
    assert label_groups(["7", None, "7", "8", None, "8"]) == [0, 1, 0, 3, 4, 3]


def test_features_by_hand() -> None:
    features, exists = group_features(np.array([[2.0, 1.0, -0.5]]), np.array([label_groups(["7", "8", "7"])]))
    assert exists.tolist() == [[True, True, False, True]]
    assert features[0].tolist() == [
        [1.5, 1.0, 2.0, -1.0, 0.0, 0.0, 0.0],  # the first and the third agree
        [1.0, 0.0, 1.0, -1.5, -1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],  # the third has no group of its own
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0],  # none of the two is right
    ]


def test_probabilities_by_hand() -> None:
    # One model that is right four times of five: 4 against e for "it is not".
    odds = log_odds(np.array([0.8, 0.8])).tolist()
    assert sureness(FIRST_PRIOR, odds[:1], ["7"])[0] == pytest.approx(4 / (4 + math.e), abs=1e-9)
    # Two agree: e^(0.5 + 1.5 ln 4) = 8 e^0.5 against 1 for "neither".
    agreed = 8 * math.exp(0.5)
    assert sureness(LATER_PRIOR, odds, ["7", "7"])[0] == pytest.approx(agreed / (agreed + 1), abs=1e-9)
    # They err independently and agree: e^(2 ln 4 + 1) = 16 e against e; they differ: 4, 4 and e.
    independent = (1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert sureness(independent, odds, ["7", "7"])[0] == pytest.approx(16 / 17, abs=1e-9)
    first, second, none = sureness(independent, odds, ["7", "8"])
    assert first == second == pytest.approx(4 / (8 + math.e), abs=1e-9)
    assert none == pytest.approx(math.e / (8 + math.e), abs=1e-9)


@given(asked(), weights_of)
def test_probabilities_equal_those_of_the_slow_version(
    given: tuple[list[float], list[str | None], list[float]], weights: list[float]
) -> None:
    odds, answers, _ = given
    found, expected = sureness(weights, odds, answers), slow.probabilities(weights, odds, answers)
    for members, chance in expected.items():
        assert found[members[0] if members else -1] == pytest.approx(chance, abs=2e-9)
    assert sum(found) == pytest.approx(1.0, abs=1e-8)
    assert sum(chance > 0 for chance in found) <= len(expected)


@given(asked(), weights_of, st.randoms(use_true_random=False))
def test_the_order_of_models_changes_no_probability(
    given: tuple[list[float], list[str | None], list[float]], weights: list[float], random: Any
) -> None:
    odds, answers, _ = given
    order = list(range(len(odds)))
    random.shuffle(order)
    here = sureness(weights, odds, answers)
    there = sureness(weights, [odds[place] for place in order], [answers[place] for place in order])
    assert sorted(there) == pytest.approx(sorted(here), abs=1e-8)


@given(st.floats(0.0, 3.9), st.integers(1, 4), st.lists(st.floats(0.0, 2.0), min_size=7, max_size=7))
def test_a_further_agreeing_member_of_the_same_n_never_lowers_confidence(
    odds: float, agreeing: int, weights: list[float]
) -> None:
    """Models that are as good as each other, and right at least as often as not; each weight at least 0."""
    before = sureness(weights, [odds] * 5, ["7"] * agreeing + [None] * (5 - agreeing))[0]
    after = sureness(weights, [odds] * 5, ["7"] * (agreeing + 1) + [None] * (4 - agreeing))[0]
    assert after >= before - 1e-9


@given(st.floats(0.0, 3.9), st.integers(1, 5))
def test_under_the_prior_no_further_answer_that_agrees_makes_less_sure(odds: float, count: int) -> None:
    fewer, more = ([odds] * n for n in (count, count + 1))
    before = FIRST_PRIOR if count == 1 else LATER_PRIOR
    assert sureness(LATER_PRIOR, more, ["7"] * (count + 1))[0] >= sureness(before, fewer, ["7"] * count)[0]


# The loss that the fit minimises.


@given(st.lists(asked(most=3), min_size=1, max_size=4), weights_of)
def test_the_loss_equals_that_of_the_slow_version(
    rows: list[tuple[list[float], list[str | None], list[float]]], weights: list[float]
) -> None:
    count = len(rows[0][0])
    same = [row for row in rows if len(row[0]) == count]
    observed = Observed.of(
        np.array([odds for odds, _, _ in same]),
        np.array([label_groups(answers) for _, answers, _ in same]),
        np.array([scores for _, _, scores in same]),
    )
    value, _ = observed.loss(np.array(weights))
    assert value == pytest.approx(
        slow.loss(weights, same, FIRST_PRIOR if count == 1 else LATER_PRIOR), rel=1e-9, abs=1e-9
    )


@given(asked(), weights_of)
def test_the_gradient_is_that_of_the_loss(
    given: tuple[list[float], list[str | None], list[float]], weights: list[float]
) -> None:
    odds, answers, scores = given
    observed = Observed.of(np.array([odds]), np.array([label_groups(answers)]), np.array([scores]))
    _, gradient = observed.loss(np.array(weights))
    for place in range(7):
        step = np.zeros(7)
        step[place] = 1e-5
        above, _ = observed.loss(np.array(weights) + step)
        below, _ = observed.loss(np.array(weights) - step)
        assert gradient[place] == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-6)


# A ceiling on calls.


@given(st.lists(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4), min_size=1, max_size=8), st.floats(1.0, 4.5))
def test_a_ceiling_on_calls_is_kept_and_no_higher_threshold_keeps_it(rows: list[list[float]], calls: float) -> None:
    sure = np.full((len(rows), 4), np.nan)
    for place, row in enumerate(rows):
        sure[place, : len(row)] = row
    tau = threshold_for(sure, calls)
    assert slow.answers_asked(rows, tau) <= calls + 1e-9
    if tau < 1:
        assert slow.answers_asked(rows, math.nextafter(tau, 2)) > calls


def test_a_ceiling_by_hand() -> None:
    sure = np.array([[0.9, 0.95], [0.6, 0.8], [0.4, 0.7], [0.2, 0.5]])
    assert threshold_for(sure, 1.0) == 0.2  # nobody goes on
    assert threshold_for(sure, 1.5) == 0.6  # the two least sure go on
    assert threshold_for(sure, 2.0) == 1.0
    assert threshold_for(np.empty((0, 2)), 1.5) == 1.0
