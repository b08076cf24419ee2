"""What a bank of fewer questions would be worth."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jisi_cli.evaluation.final_codes import AnswerCodes
from jisi_cli.evaluation.learning_curve import Gain, LearningCurve, curve_sizes, learning_curve
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays
from jisi_cli.scoring.agreement import NO_ANSWER

VOTING = Hyperparameters(switch="consensus", n_base=10, k=3)


def pool(rows: int, shares: np.ndarray, seed: int, width: int = 4) -> tuple[BankArrays, list[str], AnswerCodes]:
    """Return a bank of models with some share of right answers by topic (topics, M); wrong answers all differ."""
    rng = np.random.default_rng(seed)
    topics, models = shares.shape
    topic = np.arange(rows) % topics
    vectors = (np.eye(width)[topic] + 0.1 * rng.normal(size=(rows, width))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    right = rng.random((rows, models)) < shares[topic]
    codes = np.where(right, 0, 1 + np.arange(models))
    everywhere = np.ones(right.shape, dtype=bool)
    names = tuple(f"m{place}" for place in range(models))
    bank = BankArrays(vectors, [vectors] * models, right.astype(float), np.ones(right.shape), everywhere, names)
    return bank, [f"set {number % 2}" for number in range(rows)], AnswerCodes(codes, everywhere, everywhere[:, 0])


def test_sizes_double_up_to_what_cross_validation_leaves() -> None:
    assert curve_sizes(1589) == [25, 50, 100, 200, 400, 800, 1589]
    assert curve_sizes(100) == [25, 50, 100]
    assert curve_sizes(60) == [25, 60]
    assert curve_sizes(30) == [30]
    assert curve_sizes(16) == [16]


def test_specialists_are_found_the_better_the_more_questions_there_are() -> None:
    shares = np.tile(np.full((4, 4), 0.2) + 0.7 * np.eye(4), (4, 1))
    curve = learning_curve(*pool(400, shares, 1, width=16), VOTING, seed=1)
    assert curve is not None
    assert [point.questions for point in curve.points] == [25, 50, 100, 200, 320]
    first, last = curve.points[0], curve.points[-1]
    assert 0.3 < last.best_single < 0.5
    assert last.average > first.average + 0.1
    assert last.gain.low > 0.2
    assert last.gain.low < last.gain.average < last.gain.high
    assert last.gain.average == pytest.approx(last.average - last.best_single)


def test_nothing_is_gained_where_no_choice_matters() -> None:
    """One answer to every question, right as often whoever gives it: neither the vote nor the best model can gain."""
    gains = []
    for seed in range(20):
        bank, datasets, _ = pool(60, np.full((1, 4), 0.5), seed)
        nobody_agrees = np.tile(np.arange(4), (60, 1))
        finals = AnswerCodes(nobody_agrees, np.ones((60, 4), dtype=bool), np.ones(60, dtype=bool))
        curve = learning_curve(bank, datasets, finals, VOTING, seed=seed)
        assert curve is not None
        gains.append(curve.points[-1].gain.average)
    assert abs(np.mean(gains)) < 3 * np.std(gains) / np.sqrt(len(gains))


def test_a_curve_is_the_same_again_and_plain_data() -> None:
    given = pool(50, np.full((2, 3), 0.5), 5)
    curve, again = (learning_curve(*given, VOTING, seed=3) for _ in range(2))
    assert curve == again is not None
    data = json.loads(json.dumps(curve.to_json(), allow_nan=False))
    assert (data["method"], data["draws"], data["settings"]["n_base"]) == ("jisi-vote", 10, 10)
    assert data["more_questions"] in ("help", "little", "unknown")
    assert learning_curve(*pool(19, np.full((2, 3), 0.5), 5), VOTING, seed=3) is None


def test_where_no_answer_can_be_compared_the_first_model_decides() -> None:
    bank, datasets, _ = pool(60, np.array([[0.9, 0.1], [0.1, 0.9]]), 2)
    none = AnswerCodes(np.full((60, 2), NO_ANSWER), np.ones((60, 2), dtype=bool), np.zeros(60, dtype=bool))
    curve = learning_curve(bank, datasets, none, VOTING, seed=1)
    assert curve is not None
    assert curve.points[-1].average > 0.75


@pytest.mark.parametrize(
    ("step", "outlook"),
    [
        (Gain(0.02, 0.001, 0.04), "help"),
        (Gain(0.0, -0.008, 0.008), "little"),
        (Gain(0.01, -0.01, 0.03), "unknown"),
        (None, "unknown"),
    ],
)
def test_more_questions_are_promising_only_where_they_were(step: Gain | None, outlook: str) -> None:
    assert LearningCurve("jisi-vote", {}, 10, (), step).outlook == outlook
