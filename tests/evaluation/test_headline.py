"""The headline: who wins; where nobody clearly does, what is level at a lower price. Ties go by price, then name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jisi_cli.evaluation.comparison import MethodReport, build_report, headline, leading
from jisi_cli.evaluation.results import Result

LEVEL = [1.0, 0.0] * 20
BETTER = [1.0] * 40
WORSE = [0.0] * 40


def rows(method: str, scores: list[float], cost: float | None, model: str = "claude-4.5") -> list[Result]:
    known = dict(model=model, mode="route", calls=1, cost_usd=cost, winner_cost_usd=cost)
    return [Result(f"{method}{at}", "d", str(at), method, "scored", score, **known) for at, score in enumerate(scores)]


def compared(**methods: tuple[list[float], float | None]) -> list[MethodReport]:
    results = {name.replace("_", "-"): rows(name.replace("_", "-"), *about) for name, about in methods.items()}
    return build_report(results, ("best-single",), np.random.default_rng(1))


def test_where_nobody_clearly_wins_the_cheapest_of_the_level_ones_is_named() -> None:
    found = compared(
        jisi=([*LEVEL[1:], 1.0], 0.02), best_single=(LEVEL, 0.03), zooter=(LEVEL, 0.01), cheap=(WORSE, 0.0)
    )
    assert headline(found) == "Nobody clearly beats claude-4.5; zooter is level with the top at a third of the price."


def test_jisi_is_not_preferred_where_another_method_is_cheaper_or_equal() -> None:
    for names in (("jisi", "zooter"), ("zooter", "jisi")):
        methods = {name: (BETTER, 0.02 if name == "jisi" else 0.01) for name in names}
        found = leading(compared(best_single=(LEVEL, 0.03), **methods))
        assert found and found.name == "zooter"
    for names in (("jisi", "avengers"), ("avengers", "jisi")):
        found = leading(compared(best_single=(LEVEL, 0.03), **dict.fromkeys(names, (BETTER, 0.01))))
        assert found and found.name == "avengers"  # at one price, by name


def test_an_unknown_price_is_no_low_price() -> None:
    found = compared(best_single=(LEVEL, 0.03), local=(BETTER, None), paid=(BETTER, 1.0))
    best = leading(found)
    assert best and best.name == "paid"
    assert headline(found) == "paid wins with 100.00 %, level with local."
    assert headline(compared(best_single=(LEVEL, 0.03), local=(LEVEL, None))) == "Nobody clearly beats claude-4.5."


def test_a_clear_winner_wins() -> None:
    assert headline(compared(best_single=(LEVEL, 0.03), knn=(BETTER, 0.05))) == "knn wins with 100.00 %."


def test_a_method_that_costs_as_much_is_not_called_cheaper() -> None:
    found = compared(best_single=(LEVEL, 0.03), knn=(LEVEL, 0.029))
    assert headline(found) == "Nobody clearly beats claude-4.5."


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (0.5, "half the"),
        (0.25, "a quarter of the"),
        (0.34, "a third of the"),
        (0.7, "70 % of the"),
        (0.01, "1 % of the"),
    ],
)
def test_shares_of_a_price_are_words_where_they_are_near_one(cost: float, words: str) -> None:
    found = headline(compared(best_single=(LEVEL, 1.0), knn=(LEVEL, cost)))
    assert found == f"Nobody clearly beats claude-4.5; knn is level with the top at {words} price."


def test_several_models_as_the_best_single_one_are_called_by_what_they_are() -> None:
    mixed = rows("best-single", LEVEL, 0.03)
    mixed[0] = replace(mixed[0], model="gpt")
    found = build_report({"best-single": mixed}, ("best-single",), np.random.default_rng(1))
    assert headline(found) == "Nobody clearly beats the best single model (best-single)."


def test_without_the_best_single_model_the_first_leads_and_nothing_is_called_clear() -> None:
    assert headline(compared(knn=(BETTER, 0.01), avengers=(LEVEL, 0.01))) == "knn leads with 100.00 %."


def test_an_oracle_is_no_competitor() -> None:
    assert headline(compared(best_single=(LEVEL, 1.0), oracle=(BETTER, 0.01))) == "Nobody clearly beats claude-4.5."


def test_nothing_scored_is_said() -> None:
    assert headline([]).startswith("No method has an average")
