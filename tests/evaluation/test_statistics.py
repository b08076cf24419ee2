"""Averages by hand; intervals against an independent slow version, theory, and the truth of simulated data."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jisi_cli.evaluation.statistics import Difference, averages, paired_difference

Floats = NDArray[np.float64]


def difference(ours: Sequence[float], theirs: Sequence[float], datasets: Sequence[str], seed: int = 0) -> Difference:
    return paired_difference(np.array(ours), np.array(theirs), datasets, "other", np.random.default_rng(seed))


# Averages.


def test_averages_by_hand() -> None:
    # gsm 1/2, law 3/4 of which one is half right, zoo 0/1.
    scores = np.array([1.0, 0.0, 1.0, 1.0, 0.5, 0.5, 0.0])
    found = averages(scores, ["gsm", "gsm", "law", "law", "law", "law", "zoo"])
    assert found.datasets == {"gsm": 0.5, "law": 0.75, "zoo": 0.0}
    assert found.average == pytest.approx(1.25 / 3, abs=1e-15)
    assert found.weighted == pytest.approx(4 / 7, abs=1e-15)


def test_datasets_of_any_size_weigh_the_same_in_the_average_and_by_size_in_the_weighted_mean() -> None:
    scores = np.array([1.0] + [0.0] * 99)
    found = averages(scores, ["small"] + ["large"] * 99)
    assert (found.average, found.weighted) == (0.5, 0.01)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abc")), min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_questions_changes_no_bit_of_an_average(
    questions: list[tuple[float, str]], chance: random.Random
) -> None:
    mixed = questions.copy()
    chance.shuffle(mixed)
    here, there = (
        averages(np.array([s for s, _ in given]), [name for _, name in given]) for given in (questions, mixed)
    )
    assert here == there
    assert 0 <= here.average <= 1 and 0 <= here.weighted <= 1


# Paired differences.


def test_a_difference_by_hand() -> None:
    found = difference([1, 1, 0, 0.5, 1], [0, 1, 1, 0, 1], ["a", "a", "a", "b", "b"])
    # a: (1 + 0 - 1) / 3; b: (0.5 + 0) / 2.
    assert found.average == pytest.approx(0.125)
    assert (found.wins, found.ties, found.losses, found.questions) == (2, 2, 1, 5)
    assert found.versus == "other"
    assert found.low < found.average < found.high


def test_identical_methods_differ_by_exactly_nothing() -> None:
    scores = np.random.default_rng(0).random(200).tolist()
    found = difference(scores, scores, ["a"] * 50 + ["b"] * 150)
    assert (found.average, found.low, found.high) == (0.0, 0.0, 0.0)
    assert (found.wins, found.ties, found.losses) == (0, 200, 0)


def test_questions_without_both_scores_are_left_out() -> None:
    nan = math.nan
    found = difference([1, nan, 0, nan], [0, 1, nan, nan], ["a", "a", "b", "b"])
    assert (found.questions, found.average) == (1, 1.0)
    nothing = difference([nan, 1], [1, nan], ["a", "a"])
    assert nothing.questions == 0
    assert math.isnan(nothing.average) and math.isnan(nothing.low) and math.isnan(nothing.high)


def test_one_question_tells_nothing_about_its_own_uncertainty() -> None:
    found = difference([1], [0], ["a"])
    assert (found.average, found.low, found.high) == (1.0, 1.0, 1.0)


def test_the_same_seed_gives_the_same_interval_and_another_nearly_so() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = (rng.integers(0, 2, 300).astype(float).tolist() for _ in range(2))
    labels = ["a"] * 100 + ["b"] * 200
    first, again, other = (difference(ours, theirs, labels, seed) for seed in (1, 1, 2))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert other.low == pytest.approx(first.low, abs=0.01) and other.high == pytest.approx(first.high, abs=0.01)


def test_swapping_the_methods_turns_the_interval_round() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = (rng.random(100).tolist() for _ in range(2))
    there, back = difference(ours, theirs, ["a"] * 100), difference(theirs, ours, ["a"] * 100)
    assert (back.average, back.wins, back.losses) == (-there.average, there.losses, there.wins)
    assert (-back.high, -back.low) == pytest.approx((there.low, there.high), abs=1e-12)


def test_datasets_of_one_question_each_are_as_uncertain_as_one_dataset_of_all_of_them() -> None:
    # Each drawn from itself alone, the interval would have no width, however few they are.
    ours = np.random.default_rng(4).choice([0.0, 1.0], 40).tolist()
    together = difference(ours, [0.5] * 40, ["a"] * 40)
    apart = difference(ours, [0.5] * 40, [f"{row:02}" for row in range(40)])
    assert (apart.low, apart.high) == pytest.approx((together.low, together.high), abs=1e-12)
    # Beside a large dataset they count as many times as there are of them.
    mixed = difference([*ours, 1.0, 1.0], [0.5] * 42, [f"{row:02}" for row in range(40)] + ["z", "z"])
    assert mixed.average == pytest.approx((40 * apart.average + 0.5) / 41)
    assert mixed.high - mixed.low == pytest.approx((apart.high - apart.low) * 40 / 41, rel=0.1)


def slow_interval(groups: Sequence[Sequence[float]], resamples: int, seed: int) -> tuple[float, float]:
    """The interval once more: plain Python, another source of chance, percentiles by sorting."""
    chance = random.Random(seed)
    found = sorted(
        statistics.fmean(statistics.fmean(chance.choices(group, k=len(group))) for group in groups)
        for _ in range(resamples)
    )
    return found[round(0.025 * resamples)], found[round(0.975 * resamples) - 1]


def test_the_interval_agrees_with_an_independent_slow_version() -> None:
    rng = np.random.default_rng(11)
    groups = [rng.choice([-1.0, 0.0, 0.0, 1.0, 1.0], size).tolist() for size in (18, 37, 60)]
    labels = [name for name, group in zip("abc", groups, strict=True) for _ in group]
    ours = [value for group in groups for value in group]
    found = difference(ours, [0.0] * len(ours), labels)
    low, high = slow_interval(groups, 4000, seed=5)
    # The ends of 4,000 and 10,000 resamples differ by chance alone, by about 1 % of the interval's width each.
    assert found.low == pytest.approx(low, abs=0.05 * (high - low))
    assert found.high == pytest.approx(high, abs=0.05 * (high - low))


def test_the_interval_of_many_questions_is_the_normal_one() -> None:
    rng = np.random.default_rng(7)
    groups = [rng.choice([-1.0, 0.0, 1.0], size, p=[0.1, 0.7, 0.2]) for size in (900, 1300)]
    ours = np.concatenate(groups)
    labels = ["a"] * 900 + ["b"] * 1300
    found = difference(ours.tolist(), [0.0] * len(ours), labels)
    # Var of the mean of two independent means, without Bessel's correction, as a bootstrap has it.
    error = math.sqrt(sum(group.var() / len(group) for group in groups)) / 2
    assert (found.low + found.high) / 2 == pytest.approx(found.average, abs=0.05 * error)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.03)


def test_pairing_makes_the_interval_as_narrow_as_the_differences_allow() -> None:
    # Two methods that share what is hard: their scores vary a lot, their differences hardly.
    rng = np.random.default_rng(2)
    hard = rng.integers(0, 2, 1000).astype(float)
    ours = hard.copy()
    ours[:20] = 1 - ours[:20]
    found = difference(ours.tolist(), hard.tolist(), ["a"] * 1000)
    unpaired = 2 * 1.96 * math.sqrt(2 * 0.25 / 1000)
    assert found.high - found.low < unpaired / 3


@pytest.mark.slow
def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    # Differences of -1, 0, 1 with probabilities that differ by dataset; the truth is the mean of their means.
    probabilities = {"a": [0.15, 0.6, 0.25], "b": [0.1, 0.8, 0.1]}
    truth = statistics.fmean(p[2] - p[0] for p in probabilities.values())
    rng = np.random.default_rng(12345)
    trials, covered, above, below = 300, 0, 0, 0
    for _ in range(trials):
        groups = [rng.choice([-1.0, 0.0, 1.0], 60, p=p) for p in probabilities.values()]
        ours = np.concatenate(groups)
        found = paired_difference(ours, np.zeros(120), ["a"] * 60 + ["b"] * 60, "other", rng)
        covered += found.low <= truth <= found.high
        above += truth > found.high
        below += truth < found.low
    # 95 % of 300 with a standard error of 1.3 %; a percentile bootstrap of 60 values covers a little less.
    assert 0.91 <= covered / trials <= 0.98
    # The misses lie on both sides.
    assert min(above, below) >= 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 1.0, math.nan]),
            st.sampled_from([0.0, 0.5, 1.0, math.nan]),
            st.sampled_from("ab"),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_an_interval_lies_within_what_is_possible_and_counts_every_question_once(
    questions: list[tuple[float, float, str]],
) -> None:
    ours, theirs, labels = (list(column) for column in zip(*questions, strict=True))
    found = difference(ours, theirs, labels)
    assert found.wins + found.ties + found.losses == found.questions
    assert found.questions == sum(not math.isnan(a + b) for a, b, _ in questions)
    if found.questions:
        assert -1 <= found.low <= found.high <= 1
        differences = [a - b for a, b, _ in questions if not math.isnan(a + b)]
        assert min(differences) <= found.low and found.high <= max(differences)
