"""`jisi ask` and `jisi route` before there is a bank: the pool file's order stands in for the ranking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import jisi_cli as library
from tests.cli.commands import Run, jisi, pool_file, says_one_error
from tests.loopback import Fault, Loopback

QUESTION = "What is 3 plus 6?"
ORDER = ("dee", "ada", "cyd", "bob")
"""Neither the alphabet's nor that of any bank."""


@pytest.fixture
def pool(tmp_path: Path, loopback: Loopback) -> Path:
    for model in ORDER:
        loopback.script(model, text=f"{model} says so")
    return pool_file(tmp_path / "jisi.toml", loopback, ORDER)


@pytest.fixture
def ask(pool: Path) -> Any:
    def run(*arguments: str) -> Run:
        return jisi("ask", QUESTION, "--config", pool, *arguments)

    return run


def answers(loopback: Loopback, **texts: str) -> None:
    for model, text in texts.items():
        loopback.script(model, text=text)


def dead(loopback: Loopback, *models: str) -> None:
    for model in models:
        loopback.script(model, every=1, every_fault=Fault("status", status=400, message="I am gone"))


def test_the_first_k_are_asked_and_the_first_aggregates(ask: Any, loopback: Loopback) -> None:
    run = ask()
    assert (run.exit_code, run.stdout) == (0, "dee says so\n")
    note, footer = run.stderr.splitlines()
    assert "promised" not in footer
    assert note.startswith("note: without a bank, models are asked in the order of ") and "jisi bank build" in note
    assert footer.startswith("dee aggregated dee, ada, cyd · 4 calls · ")
    assert [request.model for request in loopback.requests].count("dee") == 2
    assert loopback.count("bob") == 0
    shown = str(loopback.requests[-1].body["messages"])
    assert all(f"{model} says so" in shown for model in ("dee", "ada", "cyd"))


def test_agreement_ends_it_without_an_aggregator(ask: Any, loopback: Loopback) -> None:
    answers(loopback, dee="The answer is 9.", ada="It is 3 + 6 = 9. The answer is 9", cyd="The answer is 9.0")
    data = ask("--json").json
    assert (data["mode"], data["model"], data["method"]) == ("consensus", "dee", "pool-order")
    assert len(data["calls"]) == 3
    assert data["decision"]["aggregatees"] == []
    answers(loopback, cyd="The answer is 8.")
    assert ask("--json", "--no-cache").json["mode"] == "aggregate"
    assert ask("--json", "--u", "0.6").json["mode"] == "consensus"


def test_open_answers_of_the_same_words_agree_and_need_no_aggregator(ask: Any, loopback: Loopback) -> None:
    answers(loopback, dee="Paris", ada="paris.", cyd="**Paris**")
    run = ask("--answers")
    assert run.stdout == "Paris\n" and "cannot be compared" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith("3 of 3 agree · dee answered (consensus) · 3 calls")
    answers(loopback, cyd="Lyon")
    assert ask("--json", "--no-cache").json["mode"] == "aggregate"


def test_one_who_agrees_with_nobody_is_no_agreement(ask: Any, loopback: Loopback) -> None:
    answers(loopback, dee="The answer is 9.", ada="I cannot say", cyd="Neither can I")
    assert ask("--json", "--u", "0").json["mode"] == "aggregate"


def test_k_and_the_modes_say_how_many_are_asked_and_whether_they_are_aggregated(ask: Any, loopback: Loopback) -> None:
    def outcome(*arguments: str) -> tuple[str, str, int]:
        data = ask("--json", "--no-cache", *arguments).json
        return data["mode"], data["model"], len(data["calls"])

    answers(loopback, dee="The answer is 9.", ada="The answer is 9.", cyd="The answer is 9.")
    assert outcome("--mode", "route") == ("route", "dee", 1)
    assert outcome("--aggregate", "never") == ("route", "dee", 1)
    assert outcome("--mode", "aggregate") == ("aggregate", "dee", 4)
    assert outcome("--k", "2") == ("consensus", "dee", 2)
    assert outcome("--k", "1") == ("route", "dee", 1)
    assert outcome("--k", "99", "--mode", "aggregate") == ("aggregate", "dee", 5)
    assert outcome("--models", "cyd,ada", "--mode", "aggregate") == ("aggregate", "ada", 3)


def test_the_json_has_the_keys_that_it_has_with_a_bank(ask: Any, small_bank: Path) -> None:
    def keys(data: Any) -> Any:
        if isinstance(data, dict):
            return {name: keys(value) for name, value in data.items() if name not in ("steps", "settings")}
        return None

    without, with_bank = ask("--json", "--mode", "aggregate").json, ask("--json", "--bank", str(small_bank)).json
    with_bank["decision"].pop("filtered_size")
    assert keys(without) == keys(with_bank)
    assert without["settings"] == {"k": 3, "u": 0.999, "max_aggregate_tokens": 13000, "aggregation": "always"}
    assert [row["model"] for row in without["decision"]["models"]] == list(ORDER)
    assert {row["coarse_score"] for row in without["decision"]["models"]} == {None}


def test_those_that_fail_are_left_out_and_others_stand_in(ask: Any, loopback: Loopback) -> None:
    dead(loopback, "dee")
    run = ask()
    assert run.stdout == "ada says so\n"
    assert "dee did not answer" in run.warnings[0] and "I am gone" in run.warnings[0]
    dead(loopback, "ada")
    assert ask("--json", "--no-cache").json["mode"] == "route"
    dead(loopback, "cyd")
    assert (ask("--json", "--no-cache").json["mode"], ask("--no-cache").stdout) == ("fallback", "bob says so\n")
    dead(loopback, "bob")
    says_one_error(ask("--no-cache"), 4, "dee", "I am gone")
    assert ask("--mode", "route", "--no-cache").exit_code == 4


def test_an_aggregator_that_fails_costs_no_answer(ask: Any, loopback: Loopback) -> None:
    for model in ORDER:
        loopback.script(
            model, faults=[None, *[Fault("status", status=400, message="not again")] * 9], text=f"{model} says so"
        )
    run = ask("--models", "dee,ada,cyd")
    assert run.exit_code == 0
    assert run.stdout == "dee says so\n" and "dee answered (fallback)" in run.stderr


def test_a_budget_a_cache_and_the_ledger_are_as_with_a_bank(ask: Any, loopback: Loopback) -> None:
    assert ask("--max-cost", "0.0000001").exit_code == 5
    assert loopback.count() == 0
    # An answer may take 1,000 tokens at 2 dollars a million; only an aggregation has a prompt of 1,000 besides.
    run = ask("--max-cost", "0.003", "--json")
    assert (run.exit_code, run.json["mode"]) == (5, "fallback")
    ask()
    before = loopback.count()
    assert "(4 cached)" in ask().stderr
    assert loopback.count() == before
    groups = jisi("cost", "--by", "role", "--json").json["groups"]
    assert {group["role"] for group in groups} == {"expert", "aggregator"}


def test_a_single_answer_is_streamed(ask: Any) -> None:
    assert ask("--mode", "route", "--stream").stdout == "dee says so\n"
    assert ask("--stream").stdout == "dee says so\n"


def test_route_shows_the_order_and_calls_no_model(pool: Path, loopback: Loopback) -> None:
    run = jisi("route", QUESTION, "--config", pool)
    assert run.exit_code == 0
    assert [line.split()[1] for line in run.stdout.splitlines()[1:]] == list(ORDER)
    assert "nan" not in run.stdout.lower() and "without a bank" in run.stderr
    data = jisi("route", QUESTION, "--config", pool, "--json", "--explain").json
    assert data["candidates"] == ["dee", "ada", "cyd"] and data["threshold"] is None and data["neighbours"] == []
    assert loopback.count() == 0
    probed = jisi("route", QUESTION, "--config", pool, "--json", "--probe").json
    assert probed["answered"] == ["dee", "ada", "cyd"] and loopback.count() == 3
    says_one_error(jisi("route", QUESTION, "--config", pool, "--html", pool.parent / "page.html"), 2, "--html")


def test_explain_says_why_and_shows_no_empty_table(ask: Any) -> None:
    lines = ask("--explain").stderr.splitlines()
    assert any(line.startswith("candidates: dee, ada, cyd; answered: dee, ada, cyd") for line in lines)
    assert not any("similarity" in line or "nan" in line for line in lines)


def test_what_means_nothing_without_a_bank_is_refused(ask: Any, loopback: Loopback) -> None:
    says_one_error(ask("--gamma", "0.9"), 2, "--gamma", "no bank")
    says_one_error(ask("--method", "knn"), 2, "--method knn", "--bank")
    says_one_error(ask("--method", "jisi-vote"), 2, "--method jisi-vote", "JISI_BANK")
    assert loopback.count() == 0


def test_a_bank_that_was_named_and_is_not_there_stays_an_error(ask: Any, tmp_path: Path) -> None:
    says_one_error(ask("--bank", str(tmp_path / "gone")), 3, "no bank at")


def test_without_pool_and_bank_every_place_that_was_looked_at_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "a" / "b", tmp_path / "home"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("JISI_CONFIG_HOME", str(home))
    for command in (("ask", QUESTION), ("route", QUESTION), ("models",)):
        line = says_one_error(jisi(*command), 2, "jisi.toml", "jisi init", "jisi demo")
        for place in (here, here.parent, tmp_path, home):
            assert f"{place}," in line or f"{place} or" in line or f"or {place};" in line
    says_one_error(jisi("bank", "inspect"), 2, "--bank", str(tmp_path), str(home))


def test_the_library_answers_without_a_bank_too(pool: Path) -> None:
    with library.open(config=pool, k=2) as opened:
        outcome = opened.ask(QUESTION)
        assert (outcome.answer.text, outcome.mode) == ("dee says so", "aggregate")
        assert opened.route([QUESTION, "Why?"])[1].candidates == ("dee", "ada")
        assert "".join(opened.stream(QUESTION)).endswith("dee says so")
    with pytest.raises(library.InputError, match="no bank was named"):
        library.evaluate(None, "best-single", config=pool)


def test_many_questions_are_asked_without_a_bank_too(pool: Path, loopback: Loopback) -> None:
    for model in ORDER:
        loopback.script(model, text="The answer is 9")
    lines = "".join(f'{{"query": "What is {n} plus 6?"}}\n' for n in range(3))
    run = jisi("ask", "--input", "-", "--config", pool, stdin=lines)
    assert run.exit_code == 0, run
    assert [json.loads(line)["model"] for line in run.stdout.splitlines()] == ["dee"] * 3
    assert loopback.count() == 9
