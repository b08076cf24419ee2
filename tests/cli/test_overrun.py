"""A call that costs more than it could at most ends every command with 5, and nothing that came in is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.models.ledger import Ledger, ledger_path
from tests.cli.commands import MODELS, jisi, write_lines
from tests.loopback import Fault, Loopback

QUESTION = "What is 3 plus 6?"
DEAR = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "cost": 0.75}
"""What a call of a thousandth of a dollar turns out to cost."""


@pytest.fixture(autouse=True)
def dear(pool: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, text="The answer is 9.", usage=DEAR)


def booked() -> float:
    return sum(row.cost_usd or 0.0 for row in Ledger(ledger_path(), warn=pytest.fail).rows())


def test_ask_gives_the_answer_and_says_which_call_it_was(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    command = ("ask", QUESTION, "--mode", "route", "--models", "ada", "--bank", small_bank, "--config", pool)
    run = jisi(*command, "--max-cost", "1")
    assert (run.exit_code, run.stdout, run.errors) == (5, "The answer is 9.\n", [])
    assert any("`ada` cost $0.750 by what was reported, and $0.002" in warning for warning in run.warnings)
    assert booked() == pytest.approx(0.75)
    again = jisi(*command, "--max-cost", "1")
    assert (again.exit_code, again.stdout, loopback.count()) == (0, "The answer is 9.\n", 1)


def test_ask_does_not_call_those_that_are_left(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    command = ("ask", QUESTION, "--mode", "aggregate", "--concurrency", "1", "--bank", small_bank, "--config", pool)
    run = jisi(*command, "--max-cost", "1", "--json")
    assert (run.exit_code, loopback.count()) == (5, 1)
    assert run.json["answer"] == "The answer is 9." and run.json["cost_usd"] == pytest.approx(0.75)


def test_a_bank_is_built_of_what_came_in(pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    rows = [
        {"dataset": "d", "index": n, "query": f"What is {n} plus 6?", "gt": "9", "grader": "numeric"} for n in range(3)
    ]
    source = write_lines(tmp_path / "q.jsonl", [{**row, "grader": "numeric"} for row in rows])
    build = ("bank", "build", source, "--call", "--config", pool, "--embedder", "hashing", "--concurrency", "1")
    run = jisi(*build, "-o", tmp_path / "bank", "--max-cost", "1")
    assert (run.exit_code, loopback.count(), len(run.errors)) == (5, 1, 1)
    assert "cost $0.750 by what was reported" in run.errors[0]
    bank = Bank(tmp_path / "bank")
    assert sum((bank.answers(model).status != "missing").sum() for model in bank.models) == 1
    one = ("bank", "build", source, "--call", "--config", pool, "--embedder", "hashing", "--models", "bob")
    run = jisi(*one, "--limit", "1", "-o", tmp_path / "whole", "--max-cost", "1")
    # The last call of all: nothing was left to refuse, and the run says so all the same.
    assert (run.exit_code, len(run.errors)) == (5, 1)
    assert Bank(tmp_path / "whole").models == ("bob",)


def test_a_live_evaluation_keeps_its_results(small_bank: Path, pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    rows = [
        {"dataset": "d", "index": n, "query": f"What is {n} plus 6?", "gt": "9", "grader": "numeric"} for n in range(3)
    ]
    source, results = write_lines(tmp_path / "q.jsonl", rows), tmp_path / "r.jsonl"
    command = ("eval", source, "--live", "-m", "model:ada", "--bank", small_bank, "--config", pool)
    run = jisi(*command, "--concurrency", "1", "--out", results, "--max-cost", "1")
    assert (run.exit_code, len(run.errors), loopback.count()) == (5, 1, 1)
    assert "cost $0.750 by what was reported" in run.errors[0]
    assert len([line for line in results.read_text().splitlines() if '"model:ada"' in line]) == 1


def test_a_probed_route_is_shown(small_bank: Path, pool: Path) -> None:
    run = jisi("route", QUESTION, "--probe", "--json", "--max-cost", "9", "--bank", small_bank, "--config", pool)
    assert (run.exit_code, len(run.errors)) == (5, 1)
    assert run.json["models"]


def test_a_judge_is_held_to_it_too(pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    rows = [{"dataset": "d", "index": 1, "query": QUESTION, "gt": "9"}]
    source = write_lines(tmp_path / "q.jsonl", rows)
    loopback.script("bob", text="9")
    build = ("bank", "build", source, "--call", "--config", pool, "--embedder", "hashing", "--models", "bob")
    run = jisi(*build, "--grader", "judge:ada", "-o", tmp_path / "bank", "--max-cost", "1")
    assert (run.exit_code, len(run.errors)) == (5, 1)
    assert "`ada` cost $0.750" in run.errors[0]
    assert (tmp_path / "bank" / "bank.json").exists()


@pytest.mark.parametrize("as_json", [False, True], ids=["footer", "JSON"])
def test_a_failed_call_that_may_have_cost_something_makes_the_sum_unknown(
    small_bank: Path, pool: Path, loopback: Loopback, as_json: bool
) -> None:
    loopback.script("ada", every=1, every_fault=Fault("malformed"))
    for model in ("bob", "cyd"):
        loopback.script(model, text="The answer is 9.")
    options: list[Any] = ["--json"] if as_json else []
    run = jisi("ask", QUESTION, "--mode", "route", "--bank", small_bank, "--config", pool, *options)
    assert run.exit_code == 0
    if as_json:
        assert run.json["cost_usd"] is None
    else:
        assert " + 1 unknown · " in run.stderr


def test_a_parameter_that_no_budget_can_hold_is_told_before_anything_is_sent(
    small_bank: Path, pool: Path, loopback: Loopback
) -> None:
    text = pool.read_text()
    pool.write_text(text.replace("params = {", 'params = { extra_body = { plugins = [{ id = "web" }] },', 1))
    run = jisi("ask", QUESTION, "--max-cost", "1", "--bank", small_bank, "--config", pool)
    assert (run.exit_code, len(run.errors), loopback.count()) == (2, 1, 0)
    assert "`extra_body.plugins`" in run.errors[0] and "leave --max-cost out" in run.errors[0]
