"""From results to the comparison: what is counted, what is a mean of what, what stays unknown."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from jisi_cli.evaluation.comparison import MethodReport, build_report
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.runner import Timing
from jisi_cli.plain_json import plain_json


def scored(index: int, score: float, **fields: object) -> Result:
    known = {"model": "ada", "mode": "route", "calls": 1, "cost_usd": 0.5, "winner_cost_usd": 0.25, "tokens": 10}
    return Result(f"k{index}", "ab"[index % 2], str(index), "m", "scored", score, **{**known, **fields})  # type: ignore[arg-type]


def failed(index: int, **fields: object) -> Result:
    known = {"score": 0.0, "error": "no model could answer", "calls": 4, "cost_usd": 1.0}
    return Result(f"k{index}", "ab"[index % 2], str(index), "m", "failed", **{**known, **fields})  # type: ignore[arg-type]


def needs_live(index: int) -> Result:
    return Result(f"k{index}", "ab"[index % 2], str(index), "m", "needs-live", mode="aggregate", support_size=60)


def report(*results: Result, **others: list[Result]) -> MethodReport:
    return build_report({"m": results, **others}, list(others), np.random.default_rng(0))[0]


def test_every_question_is_counted_once_by_what_became_of_it() -> None:
    found = report(scored(0, 1.0), scored(1, 0.0), failed(2), replace(scored(3, 0.0), status="unscored", score=None))
    assert (found.questions, found.scored, found.unscored, found.needs_live, found.failed) == (4, 2, 1, 0, 1)


def test_a_failed_question_counts_as_wrong_and_an_unscored_one_not_at_all() -> None:
    unscored = replace(scored(4, 0.0), status="unscored", score=None)
    found = report(scored(0, 1.0), failed(2), unscored, scored(1, 1.0))
    assert found.averages is not None
    assert found.averages.datasets == {"a": 0.5, "b": 1.0}
    assert (found.averages.average, found.averages.weighted) == (0.75, pytest.approx(2 / 3))


def test_a_method_that_needs_live_calls_has_no_mean_of_the_other_questions() -> None:
    found = report(scored(0, 1.0), needs_live(1), other=[scored(0, 1.0), scored(1, 1.0)])
    assert found.needs_live == 1
    assert found.averages is None and found.versus == ()
    assert (found.calls, found.cost_usd, found.winner_cost_usd) == (None, None, None)
    # What was decided is known without the calls.
    assert found.modes == {"aggregate": 0.5, "route": 0.5}
    assert found.support_size == 60


def test_calls_and_dollars_are_means_per_question_those_of_failed_ones_included() -> None:
    found = report(scored(0, 1.0, calls=3, cost_usd=0.3), scored(1, 0.0, calls=5, cost_usd=0.6), failed(2))
    assert found.calls == 4.0
    assert found.cost_usd == pytest.approx((0.3 + 0.6 + 1.0) / 3)
    # Nobody won a failed question.
    assert found.winner_cost_usd == 0.25


@pytest.mark.parametrize("status", ["scored", "failed"])
def test_one_unknown_cost_leaves_the_mean_unknown(status: str) -> None:
    unknown = failed(1, cost_usd=None) if status == "failed" else scored(1, 1.0, cost_usd=None)
    found = report(scored(0, 1.0), unknown)
    assert found.cost_usd is None
    assert found.winner_cost_usd == 0.25
    assert found.calls is not None


def test_an_unknown_cost_of_the_winner_is_unknown_too() -> None:
    assert report(scored(0, 1.0), scored(1, 1.0, winner_cost_usd=None)).winner_cost_usd is None


def test_nothing_costs_nothing_and_is_not_unknown() -> None:
    assert report(scored(0, 1.0, cost_usd=0.0), scored(1, 1.0, cost_usd=0.0)).cost_usd == 0.0


def test_modes_are_shares_of_all_questions() -> None:
    found = report(
        scored(0, 1.0),
        scored(1, 1.0, mode="consensus"),
        scored(2, 0.0, mode="fallback"),
        scored(3, 0.0, mode="fallback"),
        failed(4),
    )
    assert found.modes == {"consensus": 0.2, "failed": 0.2, "fallback": 0.4, "route": 0.2}


def test_selection_is_the_share_of_final_answers_per_dataset_and_in_all() -> None:
    found = report(
        scored(0, 1.0, model="ada"),
        scored(2, 1.0, model="bob"),
        scored(4, 1.0, model="bob"),
        scored(6, 1.0, model="cyd"),
        scored(1, 1.0, model="ada"),
        failed(3),
    )
    assert found.selection == {
        "*": {"ada": 0.4, "bob": 0.4, "cyd": 0.2},
        "a": {"ada": 0.25, "bob": 0.5, "cyd": 0.25},
        "b": {"ada": 1.0},
    }


def test_the_support_size_is_a_mean_over_questions_that_have_one() -> None:
    assert report(scored(0, 1.0, support_size=50), scored(1, 1.0, support_size=100), failed(2)).support_size == 75
    assert report(scored(0, 1.0)).support_size is None


def test_differences_pair_questions_and_leave_out_those_without_a_score() -> None:
    ours = [scored(0, 1.0), scored(1, 1.0), replace(scored(2, 0.0), status="unscored", score=None), failed(3)]
    theirs = [scored(0, 0.0), scored(1, 1.0), scored(2, 1.0), scored(3, 1.0)]
    found = report(*ours, other=theirs)
    (versus,) = found.versus
    assert versus.versus == "other"
    assert (versus.wins, versus.ties, versus.losses, versus.questions) == (1, 1, 1, 3)
    # a: 1; b: (0 - 1) / 2.
    assert versus.average == pytest.approx(0.25)


def test_nobody_is_compared_with_itself_or_with_who_did_not_run() -> None:
    results = {"m": [scored(0, 1.0)], "n": [scored(0, 0.0)]}
    first, second = build_report(results, ["m", "nobody"], np.random.default_rng(0))
    assert first.versus == ()
    assert [difference.versus for difference in second.versus] == ["m"]


def test_a_comparison_with_who_needs_live_calls_has_no_figure() -> None:
    results = {"m": [scored(0, 1.0), scored(1, 1.0)], "n": [needs_live(0), scored(1, 1.0)]}
    first, _ = build_report(results, ["n"], np.random.default_rng(0))
    assert first.versus == ()


def test_timings_are_told_where_they_were_measured() -> None:
    results = {"m": [scored(0, 1.0)], "n": [scored(0, 0.0)]}
    first, second = build_report(results, [], np.random.default_rng(0), {"m": Timing(0.5, 1.5)})
    assert first.seconds == Timing(0.5, 1.5)
    assert second.seconds is None


def test_a_report_is_plain_data_without_nan() -> None:
    unscored = replace(scored(0, 1.0), status="unscored", score=None)
    for found in build_report({"m": [unscored], "n": [unscored]}, ["n"], np.random.default_rng(0)):
        again = json.loads(json.dumps(plain_json(found.to_json()), allow_nan=False))
        assert again["averages"] is None
        assert set(again) == set(MethodReport.__dataclass_fields__)


def test_an_interval_does_not_depend_on_what_else_was_compared() -> None:
    values = np.random.default_rng(1).integers(0, 2, size=(3, 60)).astype(float)
    ours, theirs, more = ([scored(place, value) for place, value in enumerate(row)] for row in values)
    alone = build_report({"ours": ours, "theirs": theirs}, ["theirs"], np.random.default_rng(7))
    among = build_report({"more": more, "ours": ours, "theirs": theirs}, ["theirs"], np.random.default_rng(7))
    assert alone[0].versus == among[1].versus
    assert alone[0].versus[0].low < alone[0].versus[0].high
