"""The settings that a method reports are those that it runs with."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.errors import InputError
from jisi_cli.hyperparameters import CascadeSettings, Hyperparameters
from jisi_cli.methods.protocol import Silent, settings_json
from jisi_cli.methods.registry import all_methods, make_method, method_info
from tests.cli.commands import MODELS, jisi, says_one_error
from tests.loopback import Loopback
from tests.methods.synthetic import Setting, WritingPool, setting

OF_JISI = [name for name, info in all_methods().items() if info.takes_hyperparameters]
AGREEING = setting().with_settings(k=2)


def modes(name: str, given: Setting) -> set[str]:
    method = make_method(name, given.context)
    queries, pool = given.tests.queries, WritingPool(given.tests.pool)

    async def all_of_them() -> set[str]:
        found = [
            await method.answer(query, plan, pool, Silent())
            for query, plan in zip(queries, method.plan(queries), strict=True)
        ]
        return {outcome.mode for outcome in found}

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("name", OF_JISI)
@pytest.mark.parametrize("switch", ["paper", "consensus"])
def test_a_switch_is_run_where_it_is_reported_and_nowhere_else(name: str, switch: str) -> None:
    given = AGREEING.with_settings(switch=switch)
    reported = settings_json(make_method(name, given.context))
    assert reported is not None
    assert ("consensus" in modes(name, given)) == (reported["switch"] == "consensus")
    info = method_info(name)
    assert reported["switch"] == info.fixed.get("switch", switch)


def test_jisi_alone_takes_the_switch_that_is_asked_for() -> None:
    assert {name for name in OF_JISI if method_info(name).takes("switch")} == {"jisi"}


def test_settings_behind_a_name_are_reported_and_so_is_what_was_chosen_on_train() -> None:
    context = setting().context
    assert settings_json(make_method("moa:layers=2", context)) == {"proposers": 3, "layers": 2}
    assert settings_json(make_method("best-single", context)) is None
    original = settings_json(make_method("avengers:original=yes", context))
    assert original is not None and (original["clusters"], original["ties"]) == (32, "name")
    always = settings_json(make_method("jisi-static", context))
    assert always is not None and (always["t"], always["aggregation"]) == (0.0, "always")


@pytest.mark.parametrize("switch", ["paper", "consensus"])
def test_every_command_runs_and_reports_the_same_switch(
    bank: Path, pool: Path, loopback: Loopback, switch: str
) -> None:
    for model in MODELS:
        loopback.script(model, text="The answer is 9.")
    common: tuple[Any, ...] = ("--bank", bank, "--config", pool, "--switch", switch)
    asked = jisi("ask", "What is 3 plus 6?", "--json", *common).json
    routed = jisi("route", "What is 3 plus 6?", "--json", *common).json
    (compared, _) = jisi("eval", bank, "--method", "jisi", "--json", *common).json["methods"]
    assert (asked["mode"] == "consensus") == (switch == "consensus")
    assert asked["settings"] == routed["settings"] == compared["settings"]
    assert asked["settings"]["switch"] == switch
    assert ("consensus" in compared["modes"]) == (switch == "consensus")


def test_a_variant_reports_the_switch_of_its_name(bank: Path, pool: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, text="The answer is 9.")
    common = ("--bank", bank, "--config", pool, "--json")
    asked = jisi("ask", "What is 3 plus 6?", "--method", "jisi-consensus", *common).json
    assert (asked["mode"], asked["settings"]["switch"]) == ("consensus", "consensus")
    rows = jisi("eval", bank, "--method", "jisi-router,jisi-vote", "--switch", "consensus", *common).json["methods"]
    assert [row["settings"] and row["settings"]["switch"] for row in rows] == ["paper", "consensus", None]
    swept = jisi("eval", bank, "--method", "jisi-vote", "--sweep", "k=1,2", *common).json["sweep"]
    assert {row["settings"]["switch"] for row in swept} == {"consensus"}


def test_an_option_against_the_name_of_a_method_is_refused(bank: Path, pool: Path, loopback: Loopback) -> None:
    common = ("--bank", bank, "--config", pool)
    for name in ("jisi-router", "jisi-static", "jisi-query"):
        run = jisi("ask", "Why?", "--method", name, "--switch", "consensus", *common)
        says_one_error(run, 2, f"`{name}` fixes --switch to paper")
    says_one_error(
        jisi("ask", "Why?", "--method", "jisi-vote", "--switch", "paper", *common), 2, "fixes --switch to consensus"
    )
    says_one_error(
        jisi("eval", bank, "--method", "jisi-router", "--sweep", "switch=paper,consensus"), 2, "fixes --switch"
    )
    assert loopback.count() == 0
    with pytest.raises(InputError, match="--k is JiSi's"):
        method_info("knn").check_options({"k": 3})


def test_results_of_the_switch_that_was_not_run_before_are_not_taken_for_it(bank: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for extra in ((), ("--switch", "consensus")):
        jisi("eval", bank, "--method", "jisi", "--out", path, *extra)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    keys = [line["key"] for line in lines if line["method"] == "jisi"]
    assert len(keys) == len(set(keys)) == 24


@pytest.mark.parametrize("name", ["k", "n_base", "max_aggregate_tokens", "prior"])
def test_a_number_that_can_only_be_a_slip_is_refused(name: str) -> None:
    kind = float if name == "prior" else int
    assert getattr(Hyperparameters(**{name: kind(10**9)}), name) == 10**9
    with pytest.raises(InputError, match=f"{name} must be at most 1,000,000,000, not 1"):
        Hyperparameters(**{name: kind(10**10)})


@pytest.mark.parametrize("name", ["n_base", "max_calls", "prior", "mean_calls"])
def test_a_number_of_the_cascade_that_can_only_be_a_slip_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="must be at most 1,000,000,000"):
        CascadeSettings(**{name: 10**10})
