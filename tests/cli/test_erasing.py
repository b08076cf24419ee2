"""`jisi cost --erase`: what it erases, what it leaves, whom it asks, and that others go on meanwhile."""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from jisi_cli import paths
from jisi_cli.history.answers import Answers
from jisi_cli.history.conversations import Talk
from jisi_cli.history.feedback import Inbox
from jisi_cli.methods.protocol import Outcome
from jisi_cli.models.json_disk import JsonCache, open_cache
from jisi_cli.models.ledger import Ledger, ledger_path
from jisi_cli.models.live import Run as LiveRun
from jisi_cli.models.outstanding import Mark
from jisi_cli.types import Answer
from tests.cli.commands import ROOT, Run, jisi, says_one_error
from tests.cli.test_cost import ASK

SECRET = "a-question-nobody-may-read"
PLACES = ["cached answers", "cached vectors", "calls of the ledger", "runs with calls out", "trained methods"]
REMEMBERED = ["turns of conversations", "remembered answers", "pieces of feedback"]


def warn(message: str) -> None:
    raise AssertionError(message)


def cache(name: str) -> JsonCache:
    return open_cache(paths.cache_folder() / name, warn=warn)


@pytest.fixture
def answers() -> Iterator[JsonCache]:
    """Something in every place, and the cache of answers still open."""
    open_one = cache("answers")
    for number in range(50):
        open_one.set(f"{SECRET}-{number}", {"text": SECRET * 100})
    vectors = cache("vectors")
    vectors.set(SECRET, "AAAA")
    vectors.close()
    ledger = Ledger(ledger_path(), warn=warn)
    ledger.append(ASK)
    ledger.append(ASK)
    ledger.close()
    mark = Mark(LiveRun("aaaa1111", "ask", SECRET))
    mark.add(1.0)
    mark.close()
    talk = Talk()
    talk.add(SECRET, SECRET)
    talk.close()
    said, inbox = Answers(), Inbox()
    call = Answer("ada", text=SECRET)
    said.add(SECRET, SECRET, Outcome(call, "route", SECRET, (call,)), "run")
    inbox.add(said, "last", 1.0, note=SECRET)
    said.close()
    inbox.close()
    trained = paths.cache_folder() / "trained"
    trained.mkdir()
    np.savez(trained / f"{SECRET}-{'0' * 32}.npz", weights=np.zeros(3), training_seconds=np.array(1.0))
    yield open_one
    open_one.close()


def left_of(words: str) -> list[Path]:
    """Return the files of jisi's folders that have words in them, or in their names."""
    files = [file for folder in (paths.cache_folder(), paths.data_folder()) for file in folder.rglob("*")]
    return [file for file in files if words in file.name or (file.is_file() and words.encode() in file.read_bytes())]


def test_all_of_it_is_erased_and_told(answers: JsonCache) -> None:
    assert left_of(SECRET)
    run = jisi("cost", "--erase", "--yes", "--json")
    assert run.exit_code == 0, run
    assert [(found["what"], found["entries"]) for found in run.json["erased"]] == list(
        zip([*PLACES, *REMEMBERED], (50, 1, 2, 1, 1, 1, 1, 1), strict=True)
    )
    assert run.json["bytes_freed"] > 0
    assert run.stderr.startswith(
        "erased: 50 cached answers, 1 cached vectors, 2 calls of the ledger, 1 runs with calls out, "
        "1 trained methods, 1 turns of conversations, 1 remembered answers, 1 pieces of feedback"
    )
    assert left_of(SECRET) == left_of("aaaa1111") == []
    again = jisi("cost", "--erase", "-y")
    assert (again.exit_code, again.stderr) == (0, "nothing was kept\n")
    assert "no call was made yet" in jisi("cost").stderr


def test_whoever_has_it_open_goes_on(answers: JsonCache) -> None:
    ledger = Ledger(ledger_path(), warn=warn)
    ledger.append(ASK)
    assert jisi("cost", "--erase", "--yes").exit_code == 0
    assert answers.get(f"{SECRET}-1") is None
    answers.set("new", {"text": "kept"})
    ledger.append(ASK)
    ledger.close()
    assert len(list(Ledger(ledger_path(), warn=warn).rows())) == 1
    other = cache("answers")
    assert other.get("new") == {"text": "kept"}
    other.close()


def test_what_another_process_still_reads_is_told(answers: JsonCache) -> None:
    reader = sqlite3.connect(paths.cache_folder() / "answers" / "cache.db")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM Cache").fetchone()
    says_one_error(jisi("cost", "--erase", "--yes"), 1, "still reads", "run this again")
    reader.close()
    assert jisi("cost", "--erase", "--yes").exit_code == 0
    assert left_of(SECRET) == []


def test_nothing_is_made_where_nothing_was() -> None:
    assert jisi("cost", "--erase").stderr == "nothing was kept\n"
    assert not paths.cache_folder().exists() and not paths.data_folder().exists()


def test_where_nobody_can_answer_nothing_is_erased_without_yes(answers: JsonCache) -> None:
    says_one_error(jisi("cost", "--erase"), 2, "--yes")
    assert answers.get(f"{SECRET}-1") is not None


@pytest.mark.parametrize(
    "words",
    [
        ("--yes",),
        ("--erase", "--by", "model"),
        ("--erase", "last"),
        ("--erase", "--csv"),
        ("-y", "--since", "2026-01-01"),
    ],
)
def test_options_about_a_bill_are_refused_beside_it(answers: JsonCache, words: tuple[str, ...]) -> None:
    says_one_error(jisi("cost", *words), 2, "leave")
    assert answers.get(f"{SECRET}-1") is not None


def test_a_database_that_is_none_or_lies_elsewhere_is_left(tmp_path: Path) -> None:
    ledger_path().parent.mkdir(parents=True)
    ledger_path().write_bytes(b"no database at all, but long enough to be looked at" * 10)
    says_one_error(jisi("cost", "--erase", "-y"), 1, str(ledger_path()), "delete")
    ledger_path().unlink()
    elsewhere = tmp_path / "elsewhere.sqlite"
    sqlite3.connect(elsewhere).close()
    elsewhere.write_bytes(b"")
    ledger_path().symlink_to(elsewhere)
    says_one_error(jisi("cost", "--erase", "-y"), 1, "is a link to somewhere else")


def test_only_what_a_method_learned_is_deleted_from_its_folder(answers: JsonCache, tmp_path: Path) -> None:
    trained = paths.cache_folder() / "trained"
    (mine,) = trained.iterdir()
    thesis = tmp_path / "thesis.npz"
    np.savez(thesis, chapters=np.zeros(3), training_seconds=np.array(1.0))
    others = {
        "notes.txt": b"mine",
        f"knn-{'1' * 32}.npz": b"no archive",
        "tmpabcdefgh.part": b"begun by another program",
        "thesis.npz": thesis.read_bytes(),
    }
    for name, content in others.items():
        (trained / name).write_bytes(content)
    (trained / f"knn-{'2' * 32}.npz").symlink_to(thesis)
    np.savez(trained / f"knn-{'3' * 32}.npz", chapters=np.zeros(3))
    os.mkfifo(trained / f"knn-{'4' * 32}.npz")
    kept = {path.name for path in trained.iterdir()} - {mine.name}
    run = jisi("cost", "--erase", "--yes")
    assert run.exit_code == 0 and "1 trained methods" in run.stderr
    assert {path.name for path in trained.iterdir()} == kept
    assert {name: (trained / name).read_bytes() for name in others} == others


@pytest.mark.parametrize("name", ["trained", "answers", "vectors"])
def test_a_folder_that_is_a_link_keeps_what_it_leads_to(answers: JsonCache, tmp_path: Path, name: str) -> None:
    answers.close()
    folder = paths.cache_folder() / name
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)
    before = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
    says_one_error(jisi("cost", "--erase", "--yes"), 1, str(folder), "is a link to somewhere else")
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == before


@pytest.mark.parametrize(
    ("place", "table"),
    [
        ("cache/answers/cache.db", "Cache"),
        ("cache/vectors/cache.db", "Cache"),
        ("data/ledger/calls.sqlite", "calls"),
        ("data/history/conversations.sqlite", "conversations"),
        ("data/history/answers.sqlite", "answers"),
        ("data/history/feedback.sqlite", "feedback"),
    ],
)
def test_a_database_of_another_program_is_left_with_all_its_rows(tmp_path: Path, place: str, table: str) -> None:
    path = tmp_path / f"jisi_{place}"
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.execute(f"CREATE TABLE {table} (words TEXT)")
        rows.execute("CREATE TABLE Settings (key TEXT, value)")
        rows.execute(f"INSERT INTO {table} VALUES ('mine')")
    says_one_error(jisi("cost", "--erase", "--yes"), 1, str(path), "did not write")
    with closing(sqlite3.connect(path)) as rows:
        assert rows.execute(f"SELECT * FROM {table}").fetchall() == [("mine",)]


def on_a_terminal(answer: bytes | None) -> Run:
    """Run it with a person at stdin and stderr, who types an answer, or presses Ctrl-C."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "jisi_cli", "cost", "--erase"]
    env = os.environ | {"TERM": "xterm"}
    process = subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=slave, cwd=ROOT, env=env)
    os.close(slave)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(master, 4096)
    if answer is None:
        process.send_signal(signal.SIGINT)
    else:
        os.write(master, answer)
    out, _ = process.communicate(timeout=60)
    shown += os.read(master, 4096)
    os.close(master)
    return Run(process.returncode, out.decode(), shown.decode())


@pytest.mark.parametrize(("answer", "exit_code"), [(b"y\n", 0), (b"\n", 1), (b"\x04", 1), (None, 130)])
def test_a_person_is_asked_and_only_yes_erases(answers: JsonCache, answer: bytes | None, exit_code: int) -> None:
    run = on_a_terminal(answer)
    assert "Erase 50 cached answers, 1 cached vectors" in run.stderr
    assert "paid for again" in run.stderr
    assert run.exit_code == exit_code, run
    assert (answers.get(f"{SECRET}-1") is None) == (exit_code == 0)
    assert "Traceback" not in run.stderr
