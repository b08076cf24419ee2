"""What the shell is told: one test per exit code."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.errors import ExitCode
from tests.cli.commands import (
    MODELS,
    finish,
    interrupt,
    jisi,
    recorded_answers,
    says_one_error,
    start,
    wait_for,
    write_lines,
)
from tests.faults.afflictions import unhurried
from tests.faults.forked import start_here
from tests.loopback import Fault, Loopback

QUESTION = "What is 3 plus 6?"
EMBEDDER = ("--embedder", "hashing:64")


def test_0_when_all_went_well(small_bank: Path, pool: Path) -> None:
    assert jisi("ask", QUESTION, "--bank", small_bank, "--config", pool).exit_code == ExitCode.OK == 0
    for words in (("--help",), ("-h",), ("--version",), ("ask", "--help"), ("bank", "build", "-h")):
        assert jisi(*words).exit_code == 0


def small_files() -> None:
    """Let the files of a child be short, as on a disk that is nearly full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_1_when_the_machine_refuses(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    command = ("bank", "build", source, "-o", tmp_path / "bank", *EMBEDDER)
    run = finish(start(*command, preexec_fn=small_files))
    says_one_error(run, 1, "File too large")
    assert not (tmp_path / "bank" / "bank.json").exists()
    assert ExitCode.FAILED == 1
    assert jisi(*command).exit_code == 0
    assert len(Bank(tmp_path / "bank").questions) == 12


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_1_when_stdout_takes_no_more(small_bank: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start("route", QUESTION, "--bank", small_bank, "--json", stdout=full)
        run = finish(process)
    says_one_error(run, 1, os.strerror(28))


def test_2_when_the_input_cannot_be_used(small_bank: Path, pool: Path) -> None:
    says_one_error(jisi("ask", "", "--bank", small_bank, "--config", pool), ExitCode.INPUT)
    for words in (
        ("ask", "--no-such-option"),
        ("no-such-command",),
        ("bank", "build"),
        ("ask", QUESTION, "--k", "many"),
    ):
        run = jisi(*words)
        assert run.exit_code == ExitCode.INPUT == 2
        assert run.stdout == ""
        assert "Traceback" not in run.stderr


def test_3_when_the_bank_is_missing(pool: Path, tmp_path: Path) -> None:
    says_one_error(jisi("ask", QUESTION, "--bank", tmp_path / "none", "--config", pool), ExitCode.BANK)
    assert ExitCode.BANK == 3


def test_4_when_no_model_answers(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, every=1, every_fault=Fault("status", status=400))
    says_one_error(jisi("ask", QUESTION, "--bank", small_bank, "--config", pool), ExitCode.NO_ANSWER)
    assert ExitCode.NO_ANSWER == 4


def test_5_when_the_budget_ends_the_run(small_bank: Path, pool: Path) -> None:
    run = jisi("ask", QUESTION, "--max-cost", "0", "--bank", small_bank, "--config", pool)
    says_one_error(run, ExitCode.BUDGET, "--max-cost")
    assert ExitCode.BUDGET == 5


def test_6_when_a_score_is_below_what_was_demanded(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    assert jisi("bank", "build", source, "-o", tmp_path / "bank", "--split", "0.7", *EMBEDDER).exit_code == 0
    evaluate = ("eval", tmp_path / "bank", "--method", "best-single", "--bank", tmp_path / "bank")
    assert jisi(*evaluate, "--fail-under", "100").exit_code == 0
    assert jisi(*evaluate, "--models", "dee", "--fail-under", "100").exit_code == ExitCode.BELOW_THRESHOLD == 6


def test_130_after_ctrl_c(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, every=1, every_fault=Fault("hang"))
    process = start("ask", QUESTION, "--bank", small_bank, "--config", pool)
    wait_for(process, lambda: loopback.count() == 3)
    assert interrupt(process).exit_code == ExitCode.INTERRUPTED == 130
    # What was out is billed, and booked as what it can have cost.
    total = jisi("cost", "--json").json["total"]
    assert (total["calls"], total["failed_calls"], total["cost_usd"]) == (3, 3, None)
    assert total["most_cost_usd"] > 0


def test_a_build_that_is_interrupted_says_that_nothing_is_lost(tmp_path: Path, pool: Path, loopback: Loopback) -> None:
    loopback.hold_after = 1
    source = write_lines(tmp_path / "q.jsonl", [{"query": f"{n} + 1?", "gt": "1", "grader": "numeric"} for n in "123"])
    command = ("bank", "build", source, "--call", "-o", tmp_path / "bank", *EMBEDDER, "--config", pool)
    process = start_here(*command, prepare=unhurried)
    process.until(lambda: loopback.count() > 1)
    run = process.interrupt()
    assert run.exit_code == ExitCode.INTERRUPTED
    assert run.stderr.splitlines()[-2:] == [
        "every answer that came is kept: the same command goes on from there, and pays for none twice",
        "interrupted",
    ]


def test_help_names_the_exit_codes() -> None:
    shown = " ".join(jisi("--help").stdout.split())
    assert "0 ok, 1 failed, 2 unusable input, 3 bank, 4 no answer, 5 budget, 6 below threshold" in shown
