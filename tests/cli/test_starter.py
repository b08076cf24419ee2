"""`jisi bank build --starter`: questions for those who have none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.cli.help import with_number
from jisi_cli.collect.question_sources import LEVELS, TASKS, starter_questions
from jisi_cli.grading.registry import Submission, load_grader
from tests.cli.commands import ROOT, jisi, pool_file, says_one_error, write_lines
from tests.loopback import Loopback

HASHING = ("--embedder", "hashing:32")

# Importing it takes seconds, so it is only looked for.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="the extra `starter` is not installed"),
]


@pytest.fixture
def pool(loopback: Loopback, tmp_path: Path) -> Path:
    loopback.script("ada", text="I count.\nAnswer: 4")
    loopback.script("bob", text="Answer: Monday")
    return pool_file(tmp_path / "jisi.toml", loopback, ("ada", "bob"))


def test_questions_are_of_many_kinds_and_three_levels_and_each_text_is_there_once() -> None:
    questions = starter_questions(150, 42).questions
    assert len({question.query for question in questions}) == len({question.key for question in questions}) == 150
    assert len({question.dataset for question in questions}) >= 10
    levels = Counter(question.index.split("-")[1] for question in questions)
    assert set(levels) == set(LEVELS) and min(levels.values()) > 40
    assert {question.index.split("-")[0] for question in questions} == {task.generator for task in TASKS}


def test_the_reference_is_right_to_the_grader_and_another_answer_is_wrong() -> None:
    for question in starter_questions(80, 7).questions:
        grader = load_grader(question.grader or "")
        for answer, score in ((question.reference, 1.0), ("99999999", 0.0)):
            reply = Submission(question.query, question.reference or "", f"Well.\n\nAnswer: {answer}", "x")
            assert grader.grade(reply) == score, question


def test_a_seed_decides_in_any_process_and_fewer_questions_are_the_first_of_more() -> None:
    script = (
        "import json; from jisi_cli.collect.question_sources import starter_questions as s;"
        "f = s(60, 42); print(json.dumps([f.sha256, *(q.query for q in f.questions)]))"
    )
    command = [sys.executable, "-c", script]
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    digest, *texts = json.loads(subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True).stdout)
    here = starter_questions(60, 42)
    assert (here.sha256, [question.query for question in here.questions]) == (digest, texts)
    assert starter_questions(20, 42).questions == here.questions[:20]
    assert starter_questions(20, 43).questions != here.questions[:20]


def test_the_pool_answers_them_and_the_bank_says_where_they_came_from(
    pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    call = ("bank", "build", "--starter", "30", "--call", "--config", pool, *HASHING)
    assert jisi(*call, "-o", tmp_path / "bank").exit_code == 0
    bank = Bank(tmp_path / "bank")
    assert bank.rows == 30 and loopback.count() == 60
    (source,) = bank.manifest.sources
    assert (source.format, source.records) == ("starter", 60)
    assert source.name == f"reasoning-gym {metadata.version('reasoning-gym')}, seed 42"
    assert set(bank.verdicts("ada")) == {0.0, 1.0}

    # The same questions are in the cache; ten more cost ten more.
    again = jisi(*call, "-o", tmp_path / "again")
    assert again.exit_code == 0 and loopback.count() == 60
    assert jisi(*("bank", "build", "--starter", "40", *call[4:]), "-o", tmp_path / "bank", "--append").exit_code == 0
    assert loopback.count() == 80 and Bank(tmp_path / "bank").rows == 40


def test_a_number_is_optional_and_a_dry_run_calls_no_model(pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    mine = write_lines(tmp_path / "mine.jsonl", [{"query": "What is 2 + 2?", "gt": "4", "grader": "numeric"}])
    out = ("--call", "--dry-run", "--json", "-o", tmp_path / "bank", "--config", pool, *HASHING)
    run = jisi("bank", "build", "--starter", mine, *out)
    assert run.exit_code == 0 and run.json["questions"] == 201
    assert loopback.count() == 0


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        (["--starter"], ["--starter=200"]),
        (["--starter", "5"], ["--starter", "5"]),
        (["--starter", "-1"], ["--starter", "-1"]),
        (["--starter=5", "--call"], ["--starter=5", "--call"]),
        (["--starter", "--call"], ["--starter=200", "--call"]),
        (["a.jsonl", "--starter", "b.jsonl"], ["a.jsonl", "--starter=200", "b.jsonl"]),
    ],
)
def test_only_an_option_without_a_number_gets_one(given: list[str], completed: list[str]) -> None:
    assert with_number(given, "--starter") == completed


def test_questions_that_nobody_would_be_asked_are_refused(tmp_path: Path) -> None:
    says_one_error(jisi("bank", "build", "--starter", "-o", tmp_path / "bank"), 2, "--starter", "--call", "--dry-run")
    says_one_error(jisi("bank", "build", "-o", tmp_path / "bank"), 2, "SOURCE", "--starter")


def test_without_the_library_the_error_names_the_extra(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    run = jisi("bank", "build", "--starter", "--call", "--config", pool, *HASHING, "-o", tmp_path / "bank")
    says_one_error(run, 2, "--starter needs", 'pip install "jisi[starter]"')
