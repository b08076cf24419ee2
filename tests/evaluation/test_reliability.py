"""Bins of confidence and the expected calibration error: by hand, against a plain loop, and what must always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.evaluation.comparison import build_report
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.statistics import CONFIDENCE_BINS, ConfidenceBin, calibration_error, confidence_bins

Pairs = list[tuple[float, float]]
pairs = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60)


def error_of(answers: Pairs) -> float:
    found = calibration_error(confidence_bins([sure for sure, _ in answers], [score for _, score in answers]))
    assert found is not None
    return found


def by_a_plain_loop(answers: Pairs) -> float:
    total = 0.0
    for number in range(CONFIDENCE_BINS):
        low, high = number / CONFIDENCE_BINS, (number + 1) / CONFIDENCE_BINS
        inside = [pair for pair in answers if low <= pair[0] < high or (pair[0] == 1 and number == CONFIDENCE_BINS - 1)]
        if inside:
            sure, score = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            total += len(inside) / len(answers) * abs(sure - score)
    return total


def test_bins_and_error_by_hand() -> None:
    bins = confidence_bins([0.85, 0.89, 0.95, 0.1, 1.0], [1, 0, 1, 0, 1])
    assert bins == (
        ConfidenceBin(0.1, 0.2, 1, 0.1, 0.0),
        ConfidenceBin(0.8, 0.9, 2, 0.87, 0.5),
        ConfidenceBin(0.9, 1.0, 2, 0.975, 1.0),
    )
    # (1 * 0.1 + 2 * 0.37 + 2 * 0.025) / 5
    assert calibration_error(bins) == pytest.approx(0.178, abs=1e-15)


def test_who_is_right_as_often_as_promised_has_no_error() -> None:
    assert error_of([(0.75, 1.0)] * 3 + [(0.75, 0.0)] + [(0.25, 1.0)] + [(0.25, 0.0)] * 3) == 0


def test_the_error_of_who_is_always_sure_is_how_often_that_was_wrong() -> None:
    assert error_of([(1.0, 1.0)] * 6 + [(1.0, 0.0)] * 4) == pytest.approx(0.4)


@pytest.mark.parametrize("edge", range(1, CONFIDENCE_BINS))
def test_a_confidence_on_an_edge_is_in_the_bin_above(edge: int) -> None:
    (found,) = confidence_bins([edge / CONFIDENCE_BINS], [1.0])
    assert found.low == edge / CONFIDENCE_BINS


def test_no_answer_has_no_error() -> None:
    assert confidence_bins([], []) == ()
    assert calibration_error(()) is None


@given(pairs)
def test_the_error_is_that_of_a_plain_loop(answers: Pairs) -> None:
    assert error_of(answers) == pytest.approx(by_a_plain_loop(answers), abs=1e-12)


@given(pairs, st.randoms())
def test_the_order_of_answers_changes_nothing(answers: Pairs, chance: object) -> None:
    mixed = list(answers)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert error_of(mixed) == error_of(answers)


@given(pairs)
def test_bins_hold_every_answer_once_and_the_error_is_a_share(answers: Pairs) -> None:
    bins = confidence_bins([sure for sure, _ in answers], [score for _, score in answers])
    assert sum(part.answers for part in bins) == len(answers)
    assert all(part.low - 1e-12 <= part.confidence <= part.high + 1e-12 for part in bins)
    assert 0 <= error_of(answers) <= 1 + 1e-12


def result(number: int, score: float | None, confidence: float | None) -> Result:
    return Result(f"k{number}", "d", str(number), "m", "scored", score, "ada", confidence=confidence)


def test_a_row_of_a_report_has_the_error_of_answers_with_confidence_and_score_alone() -> None:
    results = [result(1, 1.0, 0.9), result(2, 0.0, 0.9), result(3, 1.0, None), result(4, None, 0.2)]
    (row,) = build_report({"m": results}, (), np.random.default_rng(1))
    assert row.calibration_error == pytest.approx(0.4)
    assert [(part.answers, part.score) for part in row.reliability] == [(2, 0.5)]
    assert row.to_json()["reliability"][0]["confidence"] == 0.9


def test_a_row_without_confidence_has_no_error() -> None:
    (row,) = build_report({"m": [result(1, 1.0, None)]}, (), np.random.default_rng(1))
    assert row.calibration_error is None and row.reliability == ()
