"""`jisi bank calibrate`: what it tells, and that it writes only what is really gained."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import read_manifest, write_manifest
from jisi_cli.evaluation.calibration import Calibration, HeldOut
from jisi_cli.evaluation.statistics import Difference
from jisi_cli.hyperparameters import CascadeSettings, Hyperparameters
from jisi_cli.jisi import Jisi
from tests.cli.commands import Run, jisi, says_one_error, write_lines

TOPICS = ("acid", "bolt", "corn")
GENERALIST = "ada"
GAIN = Difference("paper settings", 0.1, 0.05, 0.15, wins=20, ties=70, losses=0, questions=90)


def answers(seed: int = 3) -> list[dict[str, Any]]:
    """Return questions on three topics of thirty each, of which each has a specialist, and ada knows a half of all.

    The paper's fifty neighbours reach beyond a topic, where ada is the best; twenty-five do not.
    """
    chance = random.Random(seed)
    lines = []
    for place, topic in enumerate(TOPICS):
        for number in range(30):
            right = {f"on-{other}": float(other == topic) for other in TOPICS}
            right[GENERALIST] = float(chance.random() < 0.5)
            lines.append(
                {
                    "dataset": "topics",
                    "index": 30 * place + number,
                    "query": f"tell me how much {topic} is there in case {number}",
                    "records": right,
                    "raw_output": {model: "some" for model in right},
                }
            )
    return lines


CALIBRATE = "jisi_cli.evaluation.calibration.calibrate"


def found(method: str, chosen: Any, default: Any, gain: Difference = GAIN) -> Calibration:
    """Return what a calibration found, without one."""
    held_out, defaults = HeldOut(0.6, 2.1), HeldOut(0.5, 2.2)
    return Calibration(method, chosen, default, 0.7, 2.0, 0.5, 2.2, held_out, defaults, gain, 96, 1.0)


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    source = write_lines(tmp_path / "answers.jsonl", answers())
    assert jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:256").exit_code == 0
    return tmp_path / "bank"


def calibrate(bank: Path, *words: str) -> Run:
    return jisi("bank", "calibrate", bank, "-m", "jisi-query", *words)


def test_a_gain_that_is_real_is_written_into_the_bank(bank: Path) -> None:
    told = calibrate(bank, "--json").json
    assert told["written"]
    assert told["changes"] == told["in_force"] == {"n_base": 25}
    assert 0 < told["gain"]["low"] <= told["gain"]["average"] <= told["gain"]["high"]
    assert told["average"] > told["paper_average"]
    gained = told["held_out"]["average"] - told["held_out_defaults"]["average"]
    assert told["gain"]["average"] == pytest.approx(gained)
    assert Bank(bank).hyperparameters("jisi-query").n_base == 25
    assert Bank(bank).hyperparameters() == Hyperparameters()


def test_a_bank_that_changed_meanwhile_is_not_written(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*arguments: Any, **settings: Any) -> Any:
        write_manifest(bank, replace(read_manifest(bank), hyperparameters={"k": 2}))
        return found("jisi-query", Hyperparameters(n_base=25), Hyperparameters())

    monkeypatch.setattr(CALIBRATE, changed)
    says_one_error(calibrate(bank), 3, "has changed meanwhile")
    assert read_manifest(bank).hyperparameters == {"k": 2}


def test_a_dry_run_tells_the_gain_and_writes_nothing(bank: Path) -> None:
    before = (bank / "bank.json").read_bytes()
    run = calibrate(bank, "--dry-run")
    assert run.exit_code == 0
    assert "jisi-query: n_base=25" in run.stdout
    assert "on questions that the choice never saw: " in run.stdout
    assert "gain: +" in run.stdout
    assert run.stderr.endswith("nothing was written\n")
    assert (bank / "bank.json").read_bytes() == before


def test_a_gain_that_may_be_none_is_not_written(small_bank: Path) -> None:
    before = (small_bank / "bank.json").read_bytes()
    run = calibrate(small_bank)
    assert run.exit_code == 0
    assert "not distinguishable from none, so nothing was written" in run.stderr
    assert "jisi-query has the paper's settings in this bank" in run.stderr
    assert (small_bank / "bank.json").read_bytes() == before


def test_a_method_that_a_replay_cannot_score_and_a_seed_out_of_bounds_are_refused(small_bank: Path) -> None:
    says_one_error(jisi("bank", "calibrate", small_bank, "-m", "jisi"), 2, "--method must be one of jisi-router")
    for seed in ("-1", "4294967296"):
        run = calibrate(small_bank, "--seed", seed)
        assert run.exit_code == 2
        assert "--seed" in run.stderr


@pytest.mark.slow
def test_what_is_chosen_for_the_cascade_is_its_own_and_leaves_the_papers_stages_alone(
    bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert calibrate(bank).exit_code == 0
    with monkeypatch.context() as patched:
        chosen = found("jisi-cascade", CascadeSettings(n_base=50, tau=0.9), CascadeSettings())
        patched.setattr(CALIBRATE, lambda *arguments, **settings: chosen)
        run = jisi("bank", "calibrate", bank, "-m", "jisi-cascade")
    assert "best of 96 settings for jisi-cascade: n_base=50, tau=0.9" in run.stdout
    assert "60.00 % at 2.1 calls each, with the default settings 50.00 % at 2.2" in run.stdout
    assert "written into" in run.stderr and "for jisi-cascade alone" in run.stderr
    own = {"jisi-query": {"n_base": 25}, "jisi-cascade": {"n_base": 50, "tau": 0.9}}
    assert read_manifest(bank).hyperparameters == own
    assert Bank(bank).hyperparameters() == Hyperparameters()
    with Jisi(bank, calls="ignored", method="jisi-cascade", tau=0.7) as opened:
        assert opened.settings == opened.settings | {"n_base": 50, "tau": 0.7, "max_calls": 5}
    assert calibrate(bank, "--seed", "43").exit_code == 0
    assert read_manifest(bank).hyperparameters["jisi-cascade"] == {"n_base": 50, "tau": 0.9}


def test_without_a_gain_the_defaults_hold_again_for_this_method_and_what_the_bank_held_is_named(
    small_bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, held = tmp_path / "own", {"n_base": 9, "jisi-vote": {"k": 5}, "jisi-cascade": {"tau": 0.7}}
    shutil.copytree(small_bank, own)
    write_manifest(own, replace(read_manifest(own), hyperparameters=held))
    defaults = Hyperparameters(switch="consensus")
    none = found("jisi-vote", replace(defaults, n_base=200), defaults, replace(GAIN, low=-0.01))
    monkeypatch.setattr(CALIBRATE, lambda *arguments, **settings: none)
    words = ("bank", "calibrate", own, "-m", "jisi-vote")
    assert "so nothing was written; jisi-vote has k=5 in this bank" in jisi(*words, "--dry-run").stderr
    assert read_manifest(own).hyperparameters == held
    assert "so k=5 was removed for jisi-vote alone; jisi-vote has n_base=9 in this bank" in jisi(*words).stderr
    assert read_manifest(own).hyperparameters == {"n_base": 9, "jisi-cascade": {"tau": 0.7}}
    data = jisi(*words, "--json").json
    assert (data["written"], data["removed"], data["in_force"]) == (False, {}, {"n_base": 9})
    assert data["changes"] == {"n_base": 200}
    assert data["held_out"] == {"average": 0.6, "calls": 2.1}


@pytest.mark.parametrize("chosen", [[1], {"tau": 3}, {"tau": "high"}, {"beta": 0.5}, {"unknown": 1}])
def test_settings_of_the_cascade_that_make_no_sense_are_a_bank_error(
    small_bank: Path, tmp_path: Path, chosen: Any
) -> None:
    own = tmp_path / "own"  # other tests share the small bank
    shutil.copytree(small_bank, own)
    write_manifest(own, replace(read_manifest(own), hyperparameters={"jisi-cascade": chosen}))
    says_one_error(jisi("route", "Why?", "--bank", own), 3, "jisi-cascade")


@pytest.mark.slow
def test_the_cascade_is_calibrated_from_the_command_line(bank: Path) -> None:
    told = jisi("bank", "calibrate", bank, "-m", "jisi-cascade", "--json").json
    assert told["method"] == "jisi-cascade"
    assert set(told["changes"]) <= {"n_base", "gamma", "prior", "tau", "max_calls"}
    assert told["chosen"]["max_calls"] in (3, 5)
    assert 1 <= told["gain_calls"] <= 5
