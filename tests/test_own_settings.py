"""What a bank holds for one method: that method alone takes it, and what is stated wins over it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jisi_cli as library
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import read_manifest, write_manifest
from jisi_cli.bank.update import update_hyperparameters
from jisi_cli.hyperparameters import OWN_DEFAULTS, Hyperparameters
from jisi_cli.methods.registry import method_info
from tests.cli.commands import jisi, says_one_error
from tests.cli.evaluation_data import build

CHOSEN = {"k": 4, "probe_schedule": "2,1,1", "n_base": 7, "u": 0.5}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("own"), embedder="hashing:64")


@pytest.fixture
def bank(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "own")
    return tmp_path / "own"


def hold(bank: Path, **hyperparameters: Any) -> Path:
    write_manifest(bank, replace(read_manifest(bank), hyperparameters=hyperparameters))
    return bank


def settings(bank: Path, method: str, routing: str = "", **stated: Any) -> dict[str, Any]:
    """Return what a method runs with on a bank, under a pool file and options."""
    config = bank.parent / "jisi.toml"
    config.write_text(f"[routing]\n{routing}\n")
    with library.open(bank, config, calls="ignored", method=method, **stated) as opened:
        assert opened.settings is not None
        return opened.settings


def test_a_methods_own_settings_are_taken_by_it_alone_and_whole(bank: Path) -> None:
    before = {method: settings(bank, method) for method in ("jisi", "jisi-router", "jisi-query", "jisi-consensus")}
    hold(bank, **{"jisi-vote": CHOSEN})
    assert settings(bank, "jisi-vote").items() >= {**CHOSEN, "switch": "consensus", "gamma": 0.95}.items()
    assert {method: settings(bank, method) for method in before} == before
    hold(bank, gamma=0.5, **{"jisi-vote": CHOSEN})
    assert settings(bank, "jisi-vote")["gamma"] == 0.95, "chosen together, without the shared gamma"
    assert settings(bank, "jisi-consensus")["gamma"] == settings(bank, "jisi")["gamma"] == 0.5


def test_options_win_over_the_pool_file_and_that_over_a_methods_own_settings(bank: Path) -> None:
    hold(bank, **{"jisi-vote": CHOSEN})
    found = settings(bank, "jisi-vote", "n_base = 9\nu = 0.6", u=0.7)
    assert (found["n_base"], found["u"], found["k"]) == (9, 0.7, 4)
    assert settings(bank, "jisi-vote", 'switch = "paper"')["switch"] == "consensus", "its name fixes it"


@pytest.mark.parametrize(
    ("stated", "k", "schedule"),
    [
        ({"k": 2}, 2, ""),
        ({"k": 4}, 4, "2,1,1"),
        ({"probe_schedule": "2,1"}, 3, "2,1"),
        ({"probe_schedule": "3,1"}, 4, "3,1"),
        ({"probe_schedule": ""}, 4, ""),
        ({"k": 5, "probe_schedule": "3,2"}, 5, "3,2"),
        ({"n_base": 9}, 4, "2,1,1"),
    ],
)
def test_rounds_of_a_bank_give_way_to_a_number_of_candidates_that_is_stated(
    bank: Path, stated: dict[str, Any], k: int, schedule: str
) -> None:
    hold(bank, **{"jisi-vote": CHOSEN})
    found = settings(bank, "jisi-vote", **stated)
    assert (found["k"], found["probe_schedule"]) == (k, schedule)
    routing = "\n".join(f"{name} = {json.dumps(value)}" for name, value in stated.items())
    assert settings(bank, "jisi-vote", routing) == found


def test_rounds_that_do_not_fit_what_was_stated_beside_them_are_refused_as_on_any_bank(bank: Path) -> None:
    for held in ({}, {"jisi-vote": CHOSEN}):
        hold(bank, **held)
        with pytest.raises(library.InputError, match="must be numbers that add up to k=5"):
            settings(bank, "jisi-vote", k=5, probe_schedule="2,1")


def test_every_command_takes_a_methods_own_settings(bank: Path) -> None:
    hold(bank, **{"jisi-vote": CHOSEN})
    routed = jisi("route", "How many?", "--bank", bank, "--method", "jisi-vote", "--json").json
    compared = jisi("eval", bank, "--method", "jisi-vote,jisi", "--json").json
    rows = {row["name"]: row for row in compared["methods"]}
    assert routed["settings"] == rows["jisi-vote (calibrated)"]["settings"]
    assert routed["settings"].items() >= CHOSEN.items()
    assert rows["jisi-vote (default settings)"]["settings"]["k"] == rows["jisi"]["settings"]["k"] == 3
    stated = jisi("eval", bank, "--method", "jisi-vote", "--n-base", "9", "--json").json
    (row,) = [row for row in stated["methods"] if row["name"].startswith("jisi-vote")]
    assert (row["name"], row["settings"]["n_base"], row["settings"]["k"]) == ("jisi-vote", 9, 4)


def test_results_of_a_method_that_the_bank_holds_nothing_for_are_found_again(bank: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"

    def keys() -> set[tuple[str, str]]:
        jisi("eval", bank, "--method", "jisi-vote,jisi-query", "--out", results, "--json")
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        return {(line["method"], line["key"]) for line in lines if "key" in line}

    before = keys()
    assert len({method for method, _ in before}) == 3
    hold(bank, **{"jisi-vote": CHOSEN})
    added = {method for method, _ in keys() - before}
    assert added == {"jisi-vote (default settings)", "jisi-vote (calibrated)"}


def test_results_of_a_vote_that_were_kept_as_the_papers_are_found_again_as_the_defaults(
    bank: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    hold(bank, **{"jisi-vote": CHOSEN})

    def rows() -> list[tuple[str, float]]:
        found = jisi("eval", bank, "--method", "jisi-vote", "--out", results, "--json").json["methods"]
        return [(row["name"], row["averages"]["average"]) for row in found]

    first = rows()
    assert [name for name, _ in first] == ["jisi-vote (default settings)", "jisi-vote (calibrated)", "best-single"]
    earlier = results.read_text().replace("(default settings)", "(paper settings)")
    results.write_text(earlier)
    assert rows() == first
    assert results.read_text() == earlier


def test_what_the_paper_has_is_called_its_settings(bank: Path) -> None:
    hold(bank, n_base=7)
    rows = jisi("eval", bank, "--method", "jisi-router,jisi-vote", "--json").json["methods"]
    assert [row["name"] for row in rows][:3:2] == ["jisi-router (paper settings)", "jisi-vote (default settings)"]


@pytest.mark.parametrize("chosen", [[1], {"k": 0}, {"u": "high"}, {"tau": 0.5}, {"probe_schedule": "2,2"}])
def test_own_settings_that_make_no_sense_are_a_bank_error(bank: Path, chosen: Any) -> None:
    hold(bank, **{"jisi-vote": chosen})
    says_one_error(jisi("route", "Why?", "--bank", bank), 3, "jisi-vote")


def test_what_is_written_for_one_method_leaves_the_others_alone(bank: Path) -> None:
    update_hyperparameters(Bank(bank), {"gamma": 0.5}, "jisi-router")
    update_hyperparameters(Bank(bank), CHOSEN, "jisi-vote")
    update_hyperparameters(Bank(bank), {"tau": 0.9}, "jisi-cascade")
    held = {"gamma": 0.5, "jisi-vote": CHOSEN, "jisi-cascade": {"tau": 0.9}}
    assert read_manifest(bank).hyperparameters == held
    update_hyperparameters(Bank(bank), {"n_base": 25}, "jisi-router")
    assert read_manifest(bank).hyperparameters == {"n_base": 25, "jisi-vote": CHOSEN, "jisi-cascade": {"tau": 0.9}}
    update_hyperparameters(Bank(bank), {}, "jisi-vote")
    assert read_manifest(bank).hyperparameters == {"n_base": 25, "jisi-cascade": {"tau": 0.9}}


@pytest.mark.parametrize("method", OWN_DEFAULTS)
def test_the_defaults_of_a_method_are_what_its_name_fixes_and_else_the_papers(method: str) -> None:
    fixed = method_info(method).fixed
    assert OWN_DEFAULTS[method] == replace(Hyperparameters(), **fixed)  # type: ignore[arg-type]
