"""Two processes that write the same bank or the same results: one at a time, and nobody is blocked by the dead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jisi_cli.bank.bank import Bank
from tests.bank.making import everything
from tests.cli.commands import (
    build_small_bank,
    jisi,
    pool_file,
    recorded_answers,
    says_one_error,
    write_lines,
)
from tests.faults.forked import start_here as start
from tests.faults.scene import EMBEDDER, cached_answers, write_questions
from tests.loopback import Fault, Loopback

MODELS = ("ada", "bob")


@pytest.fixture
def pool(tmp_path: Path, loopback: Loopback) -> Path:
    """Two models; the first call of `ada` hangs."""
    loopback.script("ada", "ada says {question}", faults=[Fault("hang")])
    loopback.script("bob", "bob says {question}")
    return pool_file(tmp_path / "jisi.toml", loopback, MODELS)


def test_the_second_of_two_collections_into_one_bank_is_told_before_it_pays(
    loopback: Loopback, pool: Path, tmp_path: Path
) -> None:
    first_source, second_source = (write_questions(tmp_path / f"{name}.jsonl", 4) for name in ("first", "second"))
    command = ("--call", "-o", tmp_path / "bank", "--config", pool, *EMBEDDER)
    first = start("bank", "build", first_source, *command)
    first.until(lambda: loopback.count() == 5 and cached_answers(tmp_path / "jisi_cache" / "answers") == 4)
    second = jisi("bank", "build", second_source, *command)
    says_one_error(second, 3, "another build is at work", "wait for it or name another folder")
    assert loopback.count() == 5
    first.kill()
    first.finish()
    # What was answered is in the cache. The first call of a model goes alone, so ada's others come only now.
    assert jisi("bank", "build", second_source, *command).exit_code == 0
    assert loopback.count() == 9
    assert len(Bank(tmp_path / "bank").questions) == 4


def test_builds_that_extend_one_bank_wait_for_each_other_and_lose_nothing(tmp_path: Path) -> None:
    bank = build_small_bank(tmp_path, {"ada": 12})
    names = [f"model-{number}" for number in range(5)]
    sources = [write_lines(tmp_path / f"{name}.jsonl", recorded_answers({name: 6})) for name in names]
    started = [start("bank", "build", source, "-o", bank, "--append", "--json") for source in sources]
    while any(process.poll() is None for process in started):
        everything(Bank(bank))  # a reader finds a whole bank at any time
    for run in (process.finish() for process in started):
        assert run.exit_code == 0, run
        assert run.json["questions_added"] == 0
    assert sorted(Bank(bank).models) == ["ada", *names]


def test_a_build_that_waits_goes_on_when_the_other_is_killed(loopback: Loopback, pool: Path, tmp_path: Path) -> None:
    bank = build_small_bank(tmp_path, {"ada": 12})
    questions = write_questions(tmp_path / "questions.jsonl", 2)
    holder = start("bank", "build", questions, "--call", "-o", bank, "--force", "--config", pool, *EMBEDDER)
    holder.until(lambda: loopback.count() == 3)
    source = write_lines(tmp_path / "more.jsonl", recorded_answers({"eve": 6}))
    waiting = start("bank", "build", source, "-o", bank, "--append")
    waiting.until(lambda: "another build is at work" in waiting.said()[1])
    assert "eve" not in Bank(bank).models
    holder.kill()
    holder.finish()
    assert waiting.finish().exit_code == 0
    assert Bank(bank).models == ("ada", "eve")


def test_a_collection_that_nobody_answered_leaves_no_folder(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("ada", every=1, every_fault=Fault("status", status=400, message="no"))
    pool = pool_file(tmp_path / "jisi.toml", loopback, ["ada"])
    source = write_questions(tmp_path / "questions.jsonl", 2)
    run = jisi("bank", "build", source, "--call", "-o", tmp_path / "bank", "--config", pool, *EMBEDDER)
    assert run.exit_code == 4
    assert not (tmp_path / "bank").exists()


def test_the_second_of_two_evaluations_into_one_file_is_told_so(loopback: Loopback, pool: Path, tmp_path: Path) -> None:
    bank = build_small_bank(tmp_path, {"ada": 12, "bob": 6})
    source, results = write_questions(tmp_path / "test.jsonl", 4), tmp_path / "results.jsonl"
    command = ("eval", source, "--bank", bank, "--config", pool, "--live", "--method", "model:ada,model:bob")
    first = start(*command, "--out", results)
    first.until(lambda: results.exists() and len(results.read_bytes().splitlines()) == 3)
    second = jisi(*command, "--out", results)
    says_one_error(second, 2, "another `jisi eval` is writing it", "name another file with --out")
    first.kill()
    first.finish()
    assert jisi(*command, "--out", results).exit_code == 0
    assert len([json.loads(line) for line in results.read_text().splitlines()]) == 8
    assert loopback.count() == 9
