"""Points, front and area of what quality costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.evaluation.comparison import MethodReport
from jisi_cli.evaluation.experiments import CurvePoint, area_under, build_curve, pareto_front, traded
from jisi_cli.evaluation.statistics import Averages
from tests.methods.synthetic import setting


def point(cost: float, average: float, label: str = "m") -> CurvePoint:
    return CurvePoint("m", label, average, cost)


def report(name: str, average: float | None, cost: float | None) -> MethodReport:
    averages = None if average is None else Averages({"gsm": average}, average, average)
    return MethodReport(name, 1, 1, 0, 0, 0, averages, (), 1.0, cost, cost, {}, {}, None, None)


def test_the_front_holds_what_is_better_than_all_that_is_cheaper() -> None:
    points = [point(3, 0.7, "c"), point(1, 0.5, "a"), point(2, 0.4, "b"), point(2, 0.6, "d"), point(4, 0.7, "e")]
    assert [one.label for one in pareto_front(points)] == ["a", "d", "c"]


def test_the_area_is_the_best_average_of_each_budget() -> None:
    points = [point(1, 0.5), point(2, 0.6), point(5, 0.9)]
    assert area_under(points, 1, 5) == pytest.approx((0.5 * 1 + 0.6 * 3) / 4)
    # A budget below every point buys nothing; one beyond the last buys its average.
    assert area_under([point(2, 0.6)], 1, 5) == pytest.approx(0.6 * 3 / 4)
    assert area_under([point(1, 0.5)], 1, 5) == pytest.approx(0.5)
    assert area_under([point(1, 0.5), point(1, 0.8)], 1, 1) == 0.8


costs = st.floats(0, 10, allow_nan=False)
averages = st.floats(0, 1, allow_nan=False)


@given(st.lists(st.tuples(costs, averages), min_size=1, max_size=12))
def test_the_area_is_what_many_budgets_find_on_average(pairs: list[tuple[float, float]]) -> None:
    points = [point(cost, average) for cost, average in pairs]
    low, high = min(cost for cost, _ in pairs), max(cost for cost, _ in pairs)
    budgets = np.linspace(low, high, 4001)
    best = [max((average for cost, average in pairs if cost <= budget), default=0.0) for budget in budgets]
    assert area_under(points, low, high) == pytest.approx(float(np.mean(best)), abs=0.01)


@given(st.lists(st.tuples(costs, averages), min_size=1, max_size=12))
def test_no_point_beats_the_front(pairs: list[tuple[float, float]]) -> None:
    points = [point(cost, average) for cost, average in pairs]
    front = pareto_front(points)
    for one in points:
        assert any(other.cost_usd <= one.cost_usd and other.average >= one.average for other in front)
    for one in front:
        assert not any(
            other.cost_usd <= one.cost_usd and other.average >= one.average and other is not one for other in front
        )


def test_methods_that_trade_give_eleven_points_and_others_one() -> None:
    context = setting().context
    assert [variation.label for variation in traded("knn", context)] == ["knn"]
    assert traded("avengers-pro", context)[3].method == "avengers-pro:weight=0.3"
    assert [variation.method for variation in traded("routellm:strong_share=0.4", context)] == [
        "routellm:strong_share=0.4"
    ]
    assert traded("avengers-pro:clusters=8", context)[10].method == "avengers-pro:clusters=8:weight=1"
    swept = traded("jisi-router", context)
    assert [variation.context.hyperparameters.price_weight for variation in swept] == [step / 10 for step in range(11)]
    assert {variation.method for variation in swept} == {"jisi-router"}


def test_a_curve_has_areas_by_method_and_names_what_has_no_price() -> None:
    reports = [
        report("avengers-pro:weight=0", 0.4, 1.0),
        report("avengers-pro:weight=1", 0.6, 3.0),
        report("jisi-router price_weight=0", 0.8, 5.0),
        report("jisi-router price_weight=1", 0.5, 1.0),
        report("model:x:7b", 0.1, 2.0),
        report("knn", 0.9, None),
        report("jisi", None, None),
    ]
    curve = build_curve(reports)
    assert [one.label for one in curve.points if one.on_front] == [
        "jisi-router price_weight=1",
        "avengers-pro:weight=1",
        "jisi-router price_weight=0",
    ]
    assert curve.area == pytest.approx((0.5 * 2 + 0.6 * 2) / 4)
    assert curve.areas == pytest.approx({"avengers-pro": (0.4 * 2 + 0.6 * 2) / 4, "jisi-router": 0.5})
    assert curve.unpriced == ("knn", "jisi")
    assert build_curve(reports[-2:]).area is None
