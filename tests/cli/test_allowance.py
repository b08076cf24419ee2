"""Budgets of a day and a month: over all runs, from the ledger, and never raised by a project's own file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import jisi_cli
from jisi_cli import days
from jisi_cli.models.ledger import Ledger, ledger_path
from jisi_cli.models.outstanding import outstanding
from jisi_cli.paths import config_folder
from tests.cli.commands import MODELS, jisi, pool_file, says_one_error, write_lines
from tests.cli.test_cost import ASK
from tests.loopback import Loopback

QUESTION = "What is 3 plus 6?"


@pytest.fixture
def booked() -> Iterator[Ledger]:
    """The ledger, closed in the end."""
    ledger = Ledger(ledger_path(), warn=pytest.fail)
    yield ledger
    ledger.close()


def book(ledger: Ledger, cost: float | None, when: datetime) -> None:
    time = when.astimezone(UTC).isoformat(timespec="milliseconds")
    ledger.append(replace(ASK, time=time, cost_usd=cost, list_cost_usd=cost))


def limited(tmp_path: Path, loopback: Loopback, extra: str) -> Path:
    for model in MODELS:
        loopback.script(model, text=f"{model} says so")
    return pool_file(tmp_path / "jisi.toml", loopback, extra=extra + "\n")


def ask(small_bank: Path, pool: Path, *words: str):
    return jisi("ask", QUESTION, "--bank", small_bank, "--config", pool, *words)


def test_a_day_whose_money_is_spent_ends_a_run_and_says_what_was_spent(
    small_bank: Path, tmp_path: Path, loopback: Loopback, booked: Ledger
) -> None:
    book(booked, 0.75, days.now())
    book(booked, 0.25, days.now())
    book(booked, None, days.now())
    pool = limited(tmp_path, loopback, "max_cost_per_day = 1")
    run = ask(small_bank, pool)
    line = says_one_error(
        run, 5, "$1.00 of $1.00 are spent today", "and 1 call of unknown cost", "jisi cost --since today"
    )
    assert f"raise max_cost_per_day in {pool}, or go on tomorrow" in line
    assert loopback.count() == 0


def test_yesterday_does_not_count_for_today_but_for_the_month(
    small_bank: Path, tmp_path: Path, loopback: Loopback, booked: Ledger
) -> None:
    now = days.now()
    book(booked, 5.0, days.start_of_day(now) - timedelta(minutes=1))
    assert ask(small_bank, limited(tmp_path, loopback, "max_cost_per_day = 1")).exit_code == 0
    book(booked, 5.0, days.start_of_month(now))
    run = ask(small_bank, limited(tmp_path, loopback, "max_cost_per_month = 5"), "--no-cache")
    says_one_error(run, 5, "are spent this month", "go on next month")
    book(booked, 100.0, days.start_of_month(now) - timedelta(minutes=1))
    assert ask(small_bank, limited(tmp_path, loopback, "max_cost_per_month = 1000")).exit_code == 0


def test_every_command_that_calls_keeps_to_it(
    small_bank: Path, tmp_path: Path, loopback: Loopback, booked: Ledger
) -> None:
    book(booked, 1.0, days.now())
    pool = limited(tmp_path, loopback, "max_cost_per_day = 1")
    questions = write_lines(tmp_path / "q.jsonl", [{"query": "1 + 1?", "gt": "2", "grader": "numeric"}])
    answers = small_bank.parent / "answers.jsonl"
    common = ("--config", pool)
    for words in (
        ("ask", QUESTION, "--bank", small_bank),
        ("route", QUESTION, "--probe", "--bank", small_bank),
        ("eval", answers, "--live", "--grader", "contains", "--method", "best-single", "--bank", small_bank),
        ("bank", "build", questions, "--call", "-o", tmp_path / "new", "--embedder", "hashing:64"),
    ):
        run = jisi(*words, *common)
        assert run.exit_code == 5, (words, run)
        assert "are spent today" in run.stderr
    assert loopback.count() == 0


def test_the_smaller_of_a_runs_limit_and_what_is_left_of_the_day_counts(
    small_bank: Path, tmp_path: Path, loopback: Loopback, booked: Ledger
) -> None:
    book(booked, 0.5, days.now())
    pool = limited(tmp_path, loopback, "max_cost_per_day = 1")
    says_one_error(ask(small_bank, pool, "--max-cost", "0"), 5, "raise --max-cost")
    assert ask(small_bank, pool, "--max-cost", "100").exit_code == 0
    book(booked, 0.499999, days.now())
    says_one_error(ask(small_bank, pool, "--max-cost", "100", "--no-cache"), 5, "are spent today")


def test_a_projects_file_cannot_raise_ones_own_limit(
    small_bank: Path, tmp_path: Path, loopback: Loopback, booked: Ledger
) -> None:
    book(booked, 0.5, days.now())
    own = config_folder() / "jisi.toml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("[budget]\nmax_cost_per_day = 0.5\n")
    run = ask(small_bank, limited(tmp_path, loopback, "max_cost_per_day = 1000"))
    says_one_error(run, 5, f"raise max_cost_per_day in {own}")
    own.write_text("[budget]\nmax_cost_per_day = 1000\n")
    run = ask(small_bank, limited(tmp_path, loopback, "max_cost_per_day = 0.5"))
    says_one_error(run, 5, f"raise max_cost_per_day in {tmp_path / 'jisi.toml'}")  # a file may lower it


@pytest.mark.parametrize("value", ['"1"', "-1", "true", "nan", "inf"])
def test_a_limit_that_is_no_number_of_dollars_is_refused(
    small_bank: Path, tmp_path: Path, loopback: Loopback, value: str
) -> None:
    pool = limited(tmp_path, loopback, f"max_cost_per_month = {value}")
    says_one_error(ask(small_bank, pool), 2, "[budget] max_cost_per_month must be a number of dollars")
    assert loopback.count() == 0


def test_without_such_a_limit_the_ledger_is_not_read(small_bank: Path, pool: Path) -> None:
    ledger_path().parent.mkdir(parents=True, exist_ok=True)
    ledger_path().write_bytes(b"no database at all")
    assert ask(small_bank, pool).exit_code == 0
    with_limit = pool.read_text().replace("[budget]", "[budget]\nmax_cost_per_day = 1")
    pool.write_text(with_limit)
    says_one_error(ask(small_bank, pool, "--no-cache"), 2, "cannot be read as a ledger")


@pytest.mark.parametrize("setting", ["max_cost_per_day", "max_cost_per_month"])
def test_a_ledger_that_cannot_be_written_ends_a_run_with_such_a_limit_before_it_pays(
    small_bank: Path, tmp_path: Path, loopback: Loopback, setting: str
) -> None:
    ledger_path().parent.parent.mkdir(parents=True, exist_ok=True)
    ledger_path().parent.write_text("a file where the folder should be")
    pool = limited(tmp_path, loopback, f"{setting} = 1")
    line = says_one_error(ask(small_bank, pool), 2, f"the ledger at {ledger_path()} cannot be written")
    assert f"{setting} in {pool} cannot hold: make room, allow it, or move away what is in its place" in line
    assert loopback.count() == 0
    assert jisi("route", QUESTION, "--bank", small_bank, "--config", pool).exit_code == 0, "which calls nobody"
    assert ask(small_bank, limited(tmp_path, loopback, "max_cost = 1")).exit_code == 0


def test_a_ledger_that_fails_lets_no_other_call_out_and_other_runs_count_what_it_lacks(
    small_bank: Path, tmp_path: Path, loopback: Loopback, booked: Ledger
) -> None:
    pool = limited(tmp_path, loopback, "max_cost_per_day = 1\nconcurrency = 1")
    with jisi_cli.Jisi(small_bank, config=pool) as opened:
        assert opened.ask(QUESTION).answer.text
        fill_the_disk(full=True)
        before = loopback.count()
        answered = opened.ask("What is 4 plus 6?")
        assert (answered.stopped_by_budget, len(answered.answer.text) > 0) == (True, True)
        assert loopback.count() == before + 1, "the call that could not be booked"
        with pytest.raises(
            jisi_cli.BudgetError, match=r"cannot be written any more \(database or disk is full\).* kept"
        ):
            opened.ask("What is 5 plus 6?")
        assert loopback.count() == before + 1
    fill_the_disk(full=False)
    (lost,) = outstanding()
    assert lost.usd > 0 and not lost.is_under_way
    run = ask(small_bank, limited(tmp_path, loopback, f"max_cost_per_day = {lost.usd}"), "--no-cache")
    says_one_error(run, 5, "calls of other runs, under way or cut off, may cost")
    assert loopback.count() == before + 1


def fill_the_disk(*, full: bool) -> None:
    """Have SQLite refuse rows of the ledger as it does on a full disk, or take them again."""
    with sqlite3.connect(ledger_path()) as rows:
        if full:
            rows.execute(
                "CREATE TRIGGER full BEFORE INSERT ON calls BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
            )
        else:
            rows.execute("DROP TRIGGER full")


def test_who_goes_on_past_midnight_has_the_new_days_money(
    small_bank: Path, tmp_path: Path, loopback: Loopback, booked: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = days.now()
    book(booked, 1.0, today)
    pool = limited(tmp_path, loopback, "max_cost_per_day = 1\nmax_cost_per_month = 1000")
    with jisi_cli.Jisi(small_bank, config=pool) as opened:
        with pytest.raises(jisi_cli.BudgetError, match="are spent today"):
            opened.ask(QUESTION)
        assert loopback.count() == 0
        tomorrow = days.start_of_day(today) + timedelta(hours=30)
        monkeypatch.setattr(days, "now", lambda: tomorrow)
        assert opened.ask(QUESTION).answer.text
        book(booked, 1.0, tomorrow + timedelta(days=1))
        monkeypatch.setattr(days, "now", lambda: tomorrow + timedelta(days=1, minutes=1))
        with pytest.raises(jisi_cli.BudgetError, match=r"\$1.00 of \$1.00 are spent today"):
            opened.ask("What is 4 plus 6?")
