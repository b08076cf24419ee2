"""`jisi-cascade` on the command line: order and number of calls, how sure it is, failures, budgets, open questions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import jisi_cli as library
from tests.cli.commands import MODELS, Run, jisi, says_one_error, write_lines
from tests.cli.evaluation_data import SKILL, answers, build
from tests.faults.forked import start_here
from tests.loopback import Fault, Loopback

QUESTION = "What is 3 plus 6?"
CASCADE = ("--method", "jisi-cascade")


@pytest.fixture
def ask(small_bank: Path, pool: Path, loopback: Loopback) -> Any:
    """`jisi ask` with the cascade; every model answers 9 unless it was scripted otherwise."""
    for model in MODELS:
        loopback.script(model, text="The answer is 9.")

    def run(*arguments: str) -> Run:
        return jisi("ask", QUESTION, *CASCADE, *arguments, "--bank", small_bank, "--config", pool)

    return run


def called(loopback: Loopback) -> list[str]:
    return [request.model for request in loopback.requests]


# Order and number of calls.


def test_one_model_is_asked_where_one_is_sure_enough(ask: Any, loopback: Loopback) -> None:
    run = ask()
    assert (run.exit_code, run.stdout) == (0, "The answer is 9.\n")
    assert called(loopback) == ["ada"]
    assert re.match(r"94 % sure: one model asked · ada answered \(consensus\) · 1 call · ", run.stderr)


def test_the_next_is_asked_while_it_is_not_sure_enough(ask: Any, loopback: Loopback) -> None:
    run = ask("--tau", "0.97")
    assert called(loopback) == ["ada", "bob"]
    assert re.match(r"99 % sure: 2 of 2 agree · ada answered \(consensus\) · 2 calls · ", run.stderr)


def test_details_say_how_sure_it_is_after_each_answer(ask: Any) -> None:
    lines = ask("--tau", "0.97", "-v").stderr.splitlines()
    assert [line for line in lines if "sure" in line][:2] == ["94 % sure: one model asked", "99 % sure: 2 of 2 agree"]


def test_no_more_are_asked_than_max_calls(ask: Any, loopback: Loopback, pool: Path) -> None:
    for place, model in enumerate(MODELS):
        loopback.script(model, text=f"The answer is {place}.")
    run = ask("--tau", "1", "--max-calls", "3", "--aggregate", "never")
    assert called(loopback) == ["ada", "bob", "cyd"]
    assert "1 of 3 says so" in run.stderr
    pool.write_text(pool.read_text() + "\n[routing]\ntau = 1\n")
    run = ask("--calls", "2", "--aggregate", "never", "--no-cache")
    assert called(loopback)[3:] == ["ada", "bob"]
    assert "jisi-cascade: no train question to choose tau by, so at most 2 calls each" in run.stderr


def test_a_tau_that_was_chosen_is_named_where_calls_were_asked_for(tmp_path: Path, loopback: Loopback) -> None:
    from tests.cli.commands import pool_file

    lines = [*answers(1), *({**line, "dataset": f"more {line['dataset']}"} for line in answers(2))]
    bank, source = tmp_path / "bank", write_lines(tmp_path / "answers.jsonl", lines)
    assert jisi("bank", "build", source, "-o", bank, "--embedder", "hashing:64").exit_code == 0
    for model in SKILL:
        loopback.script(model, text="The answer is 9.")
    config = pool_file(tmp_path / "jisi.toml", loopback, tuple(SKILL))
    common = (*CASCADE, "--bank", bank, "--config", config, "--aggregate", "never")
    run = jisi("ask", QUESTION, *common, "--calls", "1.5", "--json")
    assert f"jisi-cascade: tau={run.json['settings']['tau']:.3f} keeps 1.5 calls a question on train" in run.stderr
    config.write_text(config.read_text() + "\n[routing]\nmean_calls = 1.5\n")
    assert "keeps 1.5 calls" not in jisi("ask", QUESTION, *common).stderr
    assert "keeps 1.5 calls" in jisi("ask", QUESTION, *common, "-v").stderr
    assert jisi("ask", QUESTION, *common, "--tau", "0.9", "--json").json["settings"]["tau"] == 0.9


def test_json_says_how_sure_and_what_ran(ask: Any) -> None:
    found = ask("--tau", "0.97", "--json").json
    assert found["confidence"] == found["decision"]["confidence"] == found["decision"]["groups"][0]["probability"]
    assert 0.97 <= found["confidence"] < 1
    assert found["decision"]["groups"] == [{"models": ["ada", "bob"], "probability": found["confidence"]}]
    assert (found["settings"]["tau"], found["settings"]["n_base"], found["settings"]["aggregate"]) == (
        0.97,
        100,
        "auto",
    )
    assert [call["role"] for call in found["calls"]] == ["probe", "probe"]


def test_other_methods_know_no_confidence(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    found = jisi("ask", QUESTION, "--bank", small_bank, "--config", pool, "--json").json
    assert found["confidence"] is found["decision"]["confidence"] is None
    assert found["decision"]["groups"] == []


# Failures, budgets, Ctrl-C.


@pytest.mark.parametrize("broken", MODELS[:3])
def test_any_model_may_fail_in_the_middle(ask: Any, loopback: Loopback, broken: str) -> None:
    loopback.script(broken, faults=(Fault("status", status=503),) * 9)
    run = ask("--tau", "1", "--max-calls", "3")
    assert run.exit_code == 0
    assert called(loopback) == list(MODELS)
    assert "3 of 3 agree" in run.stderr
    assert any(line.startswith(f"warning: {broken} did not answer") for line in run.warnings)


def test_when_all_fail_there_is_one_error(ask: Any, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, faults=(Fault("status", status=503),) * 9)
    says_one_error(ask(), 4, "no model could answer")


def test_a_budget_that_ends_in_the_middle_leaves_the_best_answer(ask: Any, loopback: Loopback) -> None:
    # A call may cost a little over 0.002 dollars and does cost 0.0011, so that two of them fit and no third.
    usage = {"prompt_tokens": 100, "completion_tokens": 500, "total_tokens": 600}
    for model in MODELS:
        loopback.script(model, text="The answer is 9.", usage=usage)
    run = ask("--tau", "1", "--max-cost", "0.0035", "--json")
    assert run.exit_code == 5
    assert (run.json["stopped_by_budget"], run.json["mode"], run.json["model"]) == (True, "fallback", "ada")
    assert called(loopback) == ["ada", "bob"]
    assert "2 of 2 agree; the budget left no room for another model" in run.json["reason"]
    says_one_error(ask("--no-cache", "--max-cost", "0.0000001"), 5, "raise --max-cost")


def test_ctrl_c_ends_it_at_once(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    loopback.script("ada", faults=(Fault("hang"),))
    process = start_here("ask", QUESTION, *CASCADE, "--bank", small_bank, "--config", pool)
    process.until(lambda: loopback.count("ada") == 1)
    run = process.interrupt()
    assert (run.exit_code, run.stdout) == (130, "")
    assert "Traceback" not in run.stderr
    assert called(loopback) == ["ada"]


def test_what_is_cached_costs_nothing_again(ask: Any, loopback: Loopback) -> None:
    ask("--tau", "0.97")
    run = ask("--tau", "0.97")
    assert loopback.count() == 2
    assert "2 calls (2 cached)" in run.stderr


# Where it ends unsure, and open questions.


def test_the_aggregator_writes_where_no_answer_is_sure_enough(ask: Any, loopback: Loopback) -> None:
    for place, model in enumerate(MODELS):
        loopback.script(model, text=f"The answer is {place}.")
    run = ask("--tau", "1", "--json")
    assert (run.json["mode"], run.json["model"]) == ("aggregate", "ada")
    assert called(loopback) == [*MODELS, "ada"]
    assert run.json["calls"][-1]["role"] == "aggregator"
    assert run.json["decision"]["answered"] == list(MODELS)


def test_an_open_question_takes_the_papers_path_and_pays_no_answer_twice(
    small_bank: Path, pool: Path, loopback: Loopback
) -> None:
    run = jisi("ask", QUESTION, *CASCADE, "--bank", small_bank, "--config", pool, "--json")
    assert run.json["mode"] in ("aggregate", "route")
    assert run.json["confidence"] is None
    assert run.json["decision"]["aggregatees"]
    questions = [call["model"] for call in run.json["calls"] if call["role"] != "aggregator"]
    assert sorted(questions) == sorted(set(questions)) and questions[0] == "ada"
    assert {"ada", "bob", "cyd"} <= set(questions)
    assert loopback.count() == len(run.json["calls"])
    never = jisi("ask", QUESTION, *CASCADE, "--aggregate", "never", "--bank", small_bank, "--config", pool, "--json")
    assert never.json["mode"] == "route"


# route.


def test_route_shows_the_order_of_asking_and_calls_nobody(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    common = (QUESTION, *CASCADE, "--bank", small_bank, "--config", pool)
    found = jisi("route", *common, "--json").json
    assert loopback.count() == 0
    assert [row["model"] for row in found["models"]] == list(MODELS)
    likely = [row["coarse_score"] for row in found["models"]]
    assert likely == sorted(likely, reverse=True) and all(0.02 <= p <= 0.98 for p in likely)
    assert (found["confidence"], found["groups"]) == (None, [])
    assert "asked in this order until an answer is so with a probability of 0.8" in jisi("route", *common).stderr


def test_route_with_a_probe_carries_the_cascade_out_without_the_aggregator(
    small_bank: Path, pool: Path, loopback: Loopback
) -> None:
    for place, model in enumerate(MODELS):
        loopback.script(model, text=f"The answer is {max(place, 1)}.")
    common = (QUESTION, *CASCADE, "--tau", "1", "--bank", small_bank, "--config", pool, "--probe")
    found = jisi("route", *common, "--json").json
    assert called(loopback) == list(MODELS)
    assert sum(group["probability"] for group in found["groups"]) < 1
    assert {tuple(group["models"]) for group in found["groups"]} == {("ada", "bob"), ("cyd",), ("dee",)}
    assert found["confidence"] == found["groups"][0]["probability"]
    said = jisi("route", *common).stderr
    assert re.search(r"\d+ % sure: .*; right with a probability of: .*; none of them \d+ %", said)


def test_route_takes_no_method_that_decides_nothing_beforehand(small_bank: Path, pool: Path) -> None:
    run = jisi("route", QUESTION, "--method", "moa", "--bank", small_bank, "--config", pool)
    says_one_error(run, 2, "`moa` does not decide by JiSi's stages")


# Options.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ask", QUESTION, "--tau", "0.5"), "--tau is a setting of jisi-cascade"),
        (("ask", QUESTION, *CASCADE, "--tau", "1.5"), "tau must be a number from 0 to 1"),
        (("ask", QUESTION, *CASCADE, "--calls", "0.5"), "--calls (mean_calls) must be a number from 1"),
        (("ask", QUESTION, *CASCADE, "--mode", "aggregate"), "leave them out with --method jisi-cascade"),
        (("ask", QUESTION, *CASCADE, "--aggregate", "always"), "--aggregate takes auto or never"),
        (("ask", QUESTION, *CASCADE, "--tau", "0.9", "--calls", "2"), "--calls (mean_calls) chooses tau"),
        (("ask", QUESTION, *CASCADE, "--calls=-1"), "--calls (mean_calls) must be a number from 0"),
        (("ask", QUESTION, "--calls", "2"), "--calls is a setting of jisi-cascade"),
    ],
)
def test_what_cannot_be_heeded_is_refused(arguments: tuple[str, ...], words: str, small_bank: Path, pool: Path) -> None:
    says_one_error(jisi(*arguments, "--bank", small_bank, "--config", pool), 2, words)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("cascade"))


def test_an_evaluation_keeps_how_sure_each_answer_is(bank: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    names = "jisi-cascade,jisi-cascade:tau=1,best-single"
    rows = jisi("eval", bank, "--method", names, "--tau", "0.6", "--out", results, "--json").json["methods"]
    found = {row["name"]: row for row in rows}
    assert found["jisi-cascade"]["settings"]["tau"] == 0.6
    assert found["jisi-cascade:tau=1"]["settings"]["tau"] == 1.0
    assert found["jisi-cascade"]["calls"] < found["jisi-cascade:tau=1"]["calls"] == 3
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    sure = [line["confidence"] for line in lines if line["method"] == "jisi-cascade"]
    assert len(sure) == 12 and all(0 < value < 1 for value in sure)
    assert {line["confidence"] for line in lines if line["method"] == "best-single"} == {None}
    # Another tau is another result.
    jisi("eval", bank, "--method", "jisi-cascade", "--tau", "0.9", "--out", results)
    assert len(results.read_text().splitlines()) == len(lines) + 12


def test_an_option_that_no_compared_method_heeds_is_refused(bank: Path) -> None:
    says_one_error(
        jisi("eval", bank, "--method", "knn,jisi-vote", "--tau", "0.9"), 2, "--tau is a setting of jisi-cascade"
    )


def test_a_curve_shows_it_at_eleven_thresholds_with_their_calls(bank: Path) -> None:
    points = jisi("eval", bank, "--method", "jisi-cascade", "--curve", "--json").json["curve"]["points"]
    assert len(points) == 11
    by_tau = {point["label"]: point for point in points}
    assert by_tau["jisi-cascade:tau=0"]["calls"] == 1
    assert by_tau["jisi-cascade:tau=1"]["calls"] == 3
    assert all(1 <= point["calls"] <= 3 and point["cost_usd"] > 0 for point in points)


def test_a_curve_is_the_same_whatever_ceiling_the_pool_file_sets(bank: Path, tmp_path: Path) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text("[routing]\nmean_calls = 2\n")
    curve = ("eval", bank, "--method", "jisi-cascade", "--curve", "--json")
    assert jisi(*curve, "--config", config).json["curve"] == jisi(*curve).json["curve"]


@pytest.mark.parametrize(
    ("method", "option"),
    [("jisi-cascade", "--calls=2"), ("jisi-cascade", "--tau=1"), ("jisi-router", "--price-weight=1")],
)
def test_a_curve_refuses_what_chooses_one_of_its_points(bank: Path, method: str, option: str) -> None:
    run = jisi("eval", bank, "--method", method, "--curve", option)
    says_one_error(run, 2, f"{option.partition('=')[0]} chooses one point of the curve")


def test_every_way_decides_alike_and_reports_the_same_settings(bank: Path, tmp_path: Path, loopback: Loopback) -> None:
    from tests.cli.commands import pool_file

    question = answers()[20]
    for model in SKILL:
        loopback.script(model, text=question["raw_output"][model])
    config = pool_file(tmp_path / "jisi.toml", loopback, tuple(SKILL))
    config.write_text(config.read_text() + "\n[routing]\nmax_calls = 2\n")
    common = (*CASCADE, "--bank", bank, "--config", config, "--tau", "0.95", "--n-base", "8", "--json")
    asked = jisi("ask", question["query"], *common).json
    routed = jisi("route", question["query"], *common, "--probe").json
    source = write_lines(tmp_path / "one.jsonl", [question])
    compared = jisi("eval", source, *common, "--live").json
    with library.open(bank, config, method="jisi-cascade", tau=0.95, n_base=8) as pool:
        outcome, settings = pool.ask(question["query"]), pool.settings
    (row,) = [row for row in compared["methods"] if row["name"] == "jisi-cascade"]
    assert asked["settings"] == routed["settings"] == row["settings"] == settings
    assert (asked["settings"]["tau"], asked["settings"]["n_base"], asked["settings"]["max_calls"]) == (0.95, 8, 2)
    assert asked["confidence"] == routed["confidence"] == outcome.confidence
    assert asked["decision"]["groups"] == routed["groups"]
    assert asked["model"] == outcome.answer.model
    assert row["calls"] == len(asked["calls"])
