"""The page of one decision: what it says of the neighbours, the scores and the switch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.decision import Decision
from jisi_cli.report.decision_page import Neighbour, decision_page, neighbourhood, scores, support
from jisi_cli.scoring import Coarse, Fine
from tests.cli.commands import jisi
from tests.cli.evaluation_data import build

pytest.importorskip("vl_convert", reason="the extra `report` is not installed")

COARSE = Coarse(
    rows=np.array([3, 5]),
    similarities=np.array([0.6, 0.4]),
    kth=0.4,
    threshold=0.38,
    scores=np.array([0.6, 1.0, 0.0]),
    ranking=(1, 0, 2),
    k=2,
)
FINE = Fine(
    response_similarities=np.array([0.5, 0.5]),
    cost_similarities=np.array([1.0, 1.0]),
    mixed=np.array([0.8, 0.2]),
    kept=np.array([0]),
    scores=np.array([0.8, 0.72, 0.0]),
    ranking=(0, 1, 2),
    aggregatees=(0, 1),
    ratios=(1.0, 0.9),
)
MODELS = ("ada", "bob", "cyd")
NEAR = [
    Neighbour("sums", "What is 1 + 1?", 0.6, True, (1.0, 1.0, None)),
    Neighbour("sums", "What is 2 + 2?", 0.4, False, (0.0, 1.0, 0.0)),
]
USAGE = [(10.0, 0.001), (None, None), (30.0, 0.002)]


def page_of(decision: Decision) -> str:
    return decision_page("What is 3 + 3?", decision, NEAR, Hyperparameters(), USAGE, 9, {"seed": "42"})


def test_promises_are_the_weighted_share_of_near_questions_that_were_solved():
    first, second = Decision(MODELS, COARSE, FINE).expected_scores()
    assert first == pytest.approx([0.6, 1.0, 0.0])
    assert second == pytest.approx([1.0, 0.9, 0.0])


def test_scores_that_are_means_are_promises_themselves():
    assert Decision(MODELS, COARSE, scores_are_means=True).expected_scores()[0] == pytest.approx([0.6, 1.0, 0.0])


def test_the_margin_is_that_of_the_last_stage():
    assert Decision(MODELS, COARSE).margin() == pytest.approx(0.4)
    assert Decision(MODELS, COARSE, FINE).margin() == pytest.approx(0.1)


def test_the_nearest_come_first_and_know_whether_they_were_kept():
    assert Decision(MODELS, COARSE).nearest(1) == [(3, 0.6, None)]
    assert Decision(MODELS, COARSE, FINE).nearest(5) == [(3, 0.6, True), (5, 0.4, False)]


def test_neighbours_are_listed_with_who_solved_them():
    rows = neighbourhood(Decision(MODELS, COARSE, FINE), NEAR).rows
    assert rows == (
        ("1", "0.600", "What is 1 + 1?", "ada, bob", "sums", "kept"),
        ("2", "0.400", "What is 2 + 2?", "bob", "sums", "dropped"),
    )


def test_scores_of_both_stages_are_listed_by_the_last_stage():
    written = [("10", "$0.0010"), ("–", "–"), ("30", "$0.0020")]
    rows = scores(Decision(MODELS, COARSE, FINE, aggregatees=("ada", "bob")), Hyperparameters(), written).rows
    assert rows[0] == ("1", "ada", "0.600", "60.0 %", "0.800", "100.0 %", "10", "$0.0010", "candidate, aggregatee")
    assert rows[1][-1] == "candidate, aggregator, aggregatee"
    assert scores(Decision(MODELS, COARSE), Hyperparameters(), written).rows[0][1] == "bob"


def test_the_support_set_tells_its_threshold():
    assert "0.380" in support(Decision(MODELS, COARSE), Hyperparameters()).note


def test_a_page_says_what_is_decided_and_what_is_open():
    assert "bob, ada would be asked" in page_of(Decision(MODELS, COARSE))
    assert "bob writes one answer from those of ada, bob" in page_of(
        Decision(MODELS, COARSE, FINE, aggregatees=("ada", "bob"))
    )
    assert "ada answers" in page_of(Decision(MODELS, COARSE, FINE, aggregatees=("ada",)))
    assert "their price is not known" in page_of(Decision(MODELS, COARSE))


def test_a_page_is_drawn_beside_the_table(tmp_path: Path):
    bank = build(tmp_path)
    plain = jisi("route", "there are 3 and 4 sums, how many is that?", "--bank", bank)
    drawn = jisi("route", "there are 3 and 4 sums, how many is that?", "--bank", bank, "--html", tmp_path / "one.html")
    assert drawn.exit_code == 0 and drawn.stdout == plain.stdout
    page = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert "NaN" not in page and "would be asked" in page


def test_many_questions_have_no_page(tmp_path: Path):
    run = jisi("route", "--input", "questions.jsonl", "--bank", build(tmp_path), "--html", tmp_path / "one.html")
    assert run.exit_code == 2 and "--html" in run.stderr
