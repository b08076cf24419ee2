"""Trading quality for dollars, as a user meets it: `eval --curve`, and `--price-weight` in route, ask and eval."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Run, jisi, pool_file, says_one_error, write_lines
from tests.cli.evaluation_data import SKILL, answers
from tests.loopback import Loopback

MODELS = tuple(SKILL)
CHEAPEST, DEAREST = MODELS[0], MODELS[-1]
TRADING = ("avengers-pro", "routellm", "jisi-query")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank whose dearer models are the worse ones, but for the dearest, which is always right."""
    folder = tmp_path_factory.mktemp("traded")
    lines = [{**line, "records": {**line["records"], DEAREST: 1.0}} for line in answers()]
    source = write_lines(folder / "answers.jsonl", lines)
    run = jisi("bank", "build", source, "-o", folder / "bank", "--embedder", "hashing:64", "--split", "0.7")
    assert run.exit_code == 0, run
    return folder / "bank"


def by_hand(points: Sequence[dict[str, Any]], low: float, high: float) -> float:
    """The best average for each budget, piece by piece between one cost and the next."""
    marks = sorted({low, high, *(point["cost_usd"] for point in points)})
    total = 0.0
    for begin, end in itertools.pairwise(marks):
        affordable = [point["average"] for point in points if point["cost_usd"] <= begin]
        total += max(affordable, default=0.0) * (end - begin)
    return total / (high - low)


def test_every_method_that_trades_has_its_points_on_one_curve(bank: Path) -> None:
    document = jisi("eval", bank, "--curve", "--method", ",".join((*TRADING, "best-single")), "--json").json
    curve = document["curve"]
    points = curve["points"]
    for method in TRADING:
        own = [point for point in points if point["method"] == method]
        assert len(own) == 11
        costs = [point["cost_usd"] for point in sorted(own, key=lambda point: point["label"])]
        assert min(costs) < max(costs), method
    # Every point is a row of the table, with its own costs.
    rows = {method["name"]: method for method in document["methods"]}
    for point in points:
        row = rows[point["label"]]
        assert (point["average"], point["cost_usd"]) == (row["averages"]["average"], row["cost_usd"])
    low, high = points[0]["cost_usd"], points[-1]["cost_usd"]
    assert curve["area"] == pytest.approx(by_hand(points, low, high))
    for method in TRADING:
        own = [point for point in points if point["method"] == method]
        assert curve["areas"][method] == pytest.approx(by_hand(own, low, high))
    for point in points:
        beaten = any(other["cost_usd"] <= point["cost_usd"] and other["average"] > point["average"] for other in points)
        assert not (beaten and point["on_front"])


def test_points_front_and_areas_are_shown(bank: Path) -> None:
    run = jisi("eval", bank, "--curve", "--method", "avengers-pro,routellm")
    curve = jisi("eval", bank, "--curve", "--method", "avengers-pro,routellm", "--json").json["curve"]
    points, areas = run.stdout.split("\n\n")
    rows = [line.split() for line in points.splitlines()[1:]]
    assert [row[0] for row in rows] == [point["label"] for point in curve["points"]]
    assert [row[-1] == "*" for row in rows] == [point["on_front"] for point in curve["points"]]
    assert [line.split()[-1] for line in areas.splitlines()[1:]] == [
        f"{100 * area:.2f}" for area in (curve["area"], *curve["areas"].values())
    ]
    assert "marks the Pareto front" in run.stderr


def test_what_a_replay_cannot_score_is_no_point_and_live_it_is(bank: Path, tmp_path: Path, loopback: Loopback) -> None:
    replay = jisi("eval", bank, "--curve", "--method", "jisi,best-single", "--t", "0")
    assert "warning: jisi: no point where an Avg or dollars are unknown" in replay.stderr
    for model in MODELS:
        loopback.script(model, "The answer is {question}")
    pool = pool_file(tmp_path / "jisi.toml", loopback, MODELS)
    question = {"dataset": "sums", "index": 1, "query": "12", "gt": "12", "grader": "numeric"}
    options = ("--live", "--curve", "--method", "jisi", "--json")
    run = jisi("eval", "-", "--bank", bank, "--config", pool, *options, stdin=json.dumps(question) + "\n")
    assert run.exit_code == 0, run
    curve = run.json["curve"]
    assert {point["label"] for point in curve["points"]} == {f"jisi price_weight={step / 10:g}" for step in range(11)}
    assert curve["unpriced"] == []
    assert {point["average"] for point in curve["points"]} == {1.0}


def first(run: Run) -> str:
    assert run.exit_code == 0, run
    return str(min(run.json["models"], key=lambda row: row["rank"])["model"])


def test_a_price_weight_ranks_by_price_in_every_command(bank: Path, tmp_path: Path, loopback: Loopback) -> None:
    question = "7: there are 3 and 9 trees, how many is that?"
    assert first(jisi("route", question, "--bank", bank, "--json")) == DEAREST
    assert first(jisi("route", question, "--bank", bank, "--json", "--price-weight", "1")) == CHEAPEST
    document = jisi("eval", bank, "--method", "jisi-query", "--price-weight", "1", "--json").json
    assert document["settings"]["price_weight"] == 1.0
    assert document["methods"][0]["selection"]["*"] == {CHEAPEST: 1.0}
    for model in MODELS:
        loopback.script(model, "{model} says so")
    pool = pool_file(tmp_path / "jisi.toml", loopback, MODELS)
    asked = ("--bank", bank, "--config", pool, "--k", "1", "--json")
    assert jisi("ask", question, *asked).json["model"] == DEAREST
    assert jisi("ask", question, *asked, "--price-weight", "1").json["model"] == CHEAPEST


def test_a_price_weight_needs_prices_and_lies_between_0_and_1(tmp_path: Path) -> None:
    unpriced = write_lines(tmp_path / "answers.jsonl", [{**line, "usages": {}} for line in answers()])
    built = jisi("bank", "build", unpriced, "-o", tmp_path / "bank", "--embedder", "hashing:64", "--split", "0.7")
    assert built.exit_code == 0, built
    says_one_error(jisi("route", "Why?", "--bank", tmp_path / "bank", "--price-weight", "0.5"), 2, "needs prices")
    says_one_error(jisi("route", "Why?", "--bank", tmp_path / "bank", "--price-weight", "1.5"), 2, "price_weight")
    says_one_error(
        jisi("eval", tmp_path / "bank", "-m", "jisi-query", "--price-weight", "0.5"), 2, "needs prices", "--prices"
    )
