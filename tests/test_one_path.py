"""One path: the commands and the library decide alike under the same options, and report the settings that ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import jisi_cli as library
from tests.cli.commands import jisi, pool_file, write_lines
from tests.cli.evaluation_data import SKILL, answers, build
from tests.loopback import Loopback

QUESTION = answers()[20]
"""A test question of the bank, so that its recorded answers can be replayed and asked for."""

SHARED: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "k": ("--k", "2"),
    "n-base": ("--n-base", "5"),
    "gamma": ("--gamma", "0.2"),
    "beta": ("--beta", "1.0"),
    "weights": ("--epsilon", "1", "--sigma", "0", "--delta", "0"),
    "t": ("--t", "0.1"),
    "max-aggregate-tokens": ("--max-aggregate-tokens", "10"),
    "compat": ("--compat", "openjisi"),
    "switch": ("--switch", "consensus"),
    "u": ("--switch", "consensus", "--u", "0.5"),
    "probe-schedule": ("--switch", "consensus", "--probe-schedule", "2,1"),
    "price-weight": ("--price-weight", "0.5"),
    "models": ("--models", "ada,bob"),
    "failed": ("--failed", "unscored"),
    "embedder": ("--embedder", "hashing:64"),
}
"""Every option that `ask`, `route` and `eval` share."""


def keywords(options: tuple[str, ...]) -> dict[str, Any]:
    """Return options of the command line as the library takes them."""
    pairs = {name.removeprefix("--").replace("-", "_"): value for name, value in zip(*[iter(options)] * 2, strict=True)}
    kinds = {name: type(value) for name, value in vars_of_defaults().items()}
    found: dict[str, Any] = {name: kinds.get(name, str)(value) for name, value in pairs.items()}
    return {**found, "models": found["models"].split(",")} if "models" in found else found


def vars_of_defaults() -> dict[str, Any]:
    from jisi_cli.hyperparameters import Hyperparameters

    return Hyperparameters().to_json()


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("one-path"), embedder="hashing:64")


@pytest.fixture
def config(tmp_path: Path, loopback: Loopback) -> Path:
    for model in SKILL:
        loopback.script(model, text=QUESTION["raw_output"][model])
    return pool_file(tmp_path / "jisi.toml", loopback, tuple(SKILL))


def told(bank: Path, config: Path, tmp_path: Path, options: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return what each way says of one question: candidates, support and settings; and how it ended."""
    query = QUESTION["query"]
    common = ("--bank", bank, "--config", config, *options)
    asked = jisi("ask", query, *common, "--no-stream", "--json").json
    routed = jisi("route", query, *common, "--json").json
    source = write_lines(tmp_path / "one.jsonl", [QUESTION])
    results = tmp_path / "results.jsonl"
    compared = jisi("eval", source, *common, "--method", "jisi", "--live", "--out", results, "--json").json
    (row,) = [json.loads(line) for line in results.read_text().splitlines() if json.loads(line)["method"] == "jisi"]
    (method,) = [method for method in compared["methods"] if method["name"] == "jisi"]
    with library.open(bank, config, **keywords(options)) as pool:
        outcome, decision = pool.ask(query), pool.route(query)
        settings = pool.settings
    assert outcome.decision is not None
    return {
        "ask": {**decided(asked["decision"]), "settings": asked["settings"]},
        "route": {**decided(routed), "settings": routed["settings"]},
        "eval": {"support_size": row["support_size"], "settings": method["settings"]},
        "library": {**decided(decision.to_json()), "settings": settings},
        "ask ends": {"mode": asked["mode"], "model": asked["model"]},
        "eval ends": {"mode": row["mode"], "model": row["model"]},
        "library ends": {"mode": outcome.mode, "model": outcome.answer.model},
    }


def decided(decision: dict[str, Any]) -> dict[str, Any]:
    """Return stage 1 of a decision, which needs no call."""
    coarse = {row["model"]: row["coarse_score"] for row in decision["models"]}
    return {"support_size": decision["support_size"], "candidates": decision["candidates"], "coarse": coarse}


@pytest.mark.parametrize("options", SHARED.values(), ids=SHARED)
def test_an_option_means_the_same_on_every_way(
    bank: Path, config: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    found = told(bank, config, tmp_path, options)
    assert found["ask"] == found["route"] == found["library"]
    assert found["eval"] == {name: found["ask"][name] for name in ("support_size", "settings")}
    assert found["ask ends"] == found["eval ends"] == found["library ends"]
    for name, value in keywords(options).items():
        if name in vars_of_defaults():
            assert found["ask"]["settings"][name] == value


def test_a_pool_files_routing_means_the_same_on_every_way(bank: Path, config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text() + '\n[routing]\nk = 2\nswitch = "consensus"\nu = 0.5\n')
    found = told(bank, config, tmp_path, ())
    settings = found["ask"]["settings"]
    assert found["ask"] == found["route"] == found["library"]
    assert found["eval"]["settings"] == settings
    assert (settings["k"], settings["switch"], settings["u"]) == (2, "consensus", 0.5)
    assert found["ask ends"] == found["eval ends"] == found["library ends"]


def test_the_command_line_wins_over_the_pool_file_and_that_over_the_bank(
    bank: Path, config: Path, tmp_path: Path
) -> None:
    import shutil

    calibrated = tmp_path / "calibrated"
    shutil.copytree(bank, calibrated)
    manifest = json.loads((calibrated / "bank.json").read_text())
    manifest["hyperparameters"] = {"gamma": 0.5, "n_base": 7, "k": 1}
    (calibrated / "bank.json").write_text(json.dumps(manifest))
    config.write_text(config.read_text() + "\n[routing]\nn_base = 9\nk = 2\n")
    asked = jisi("ask", QUESTION["query"], "--bank", calibrated, "--config", config, "--k", "3", "--json").json
    routed = jisi("route", QUESTION["query"], "--bank", calibrated, "--config", config, "--k", "3", "--json").json
    with library.open(calibrated, config, k=3) as pool:
        settings = pool.settings
    assert asked["settings"] == routed["settings"] == settings
    assert settings is not None
    assert (settings["gamma"], settings["n_base"], settings["k"]) == (0.5, 9, 3)


@pytest.mark.parametrize("method", ["jisi-router", "jisi-vote", "jisi-consensus", "knn"])
def test_a_method_reports_the_settings_that_its_name_fixes(
    bank: Path, config: Path, tmp_path: Path, method: str
) -> None:
    common = ("--bank", bank, "--config", config, "--json")
    asked = jisi("ask", QUESTION["query"], *common, "--method", method).json
    source = write_lines(tmp_path / "one.jsonl", [QUESTION])
    compared = jisi("eval", source, *common, "--method", method, "--live").json
    with library.open(bank, config, method=method) as pool:
        outcome, settings = pool.ask(QUESTION["query"]), pool.settings
    row = next(row for row in compared["methods"] if row["name"] == method)
    assert asked["settings"] == row["settings"] == settings
    assert asked["model"] == outcome.answer.model
    if method in ("jisi-vote", "jisi-consensus"):
        assert settings is not None and settings["switch"] == "consensus"
