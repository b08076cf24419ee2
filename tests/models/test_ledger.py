"""The ledger: append-only, shared by processes, and silent about what was said."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from jisi_cli.errors import InputError
from jisi_cli.models.ledger import Ledger, LedgerEntry, ledger_path
from jisi_cli.paths import data_folder
from tests.models.asking import ledger_in

ROW = LedgerEntry(
    run="r1",
    time="2026-01-01T12:00:00.000+00:00",
    command="ask",
    role="probe",
    model="a",
    litellm="openai/a",
    prompt_tokens=10,
    completion_tokens=20,
    tokens_source="provider",
    cost_usd=0.5,
    list_cost_usd=0.5,
    price_source="pool",
    seconds=1.25,
    cached=False,
    attempts=1,
    error=None,
    dataset=None,
    query_hash="ab" * 32,
)


def test_rows_come_back_as_they_were_written_and_in_that_order(tmp_path: Path) -> None:
    unknown = replace(
        ROW, run="r2", cost_usd=None, prompt_tokens=None, error="HTTP 500: no", cached=True, dataset="gsm"
    )
    unknown = replace(unknown, most_cost_usd=0.75)
    ledger = ledger_in(tmp_path)
    for row in (ROW, unknown, ROW):
        ledger.append(row)
    assert list(ledger.rows()) == [ROW, unknown, ROW]
    assert list(ledger_in(tmp_path).rows(run="r2")) == [unknown]


def test_a_ledger_nobody_wrote_has_no_rows_and_is_not_made_by_reading(tmp_path: Path) -> None:
    assert list(ledger_in(tmp_path).rows()) == []
    assert list(tmp_path.iterdir()) == [] or not (tmp_path / "ledger").exists()


def test_it_lies_in_the_users_data_folder() -> None:
    assert ledger_path() == data_folder() / "ledger" / "calls.sqlite"


def test_its_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    ledger_in(tmp_path).append(ROW)
    assert stat.S_IMODE((tmp_path / "ledger").stat().st_mode) == 0o700


def test_a_ledger_that_cannot_be_written_is_said_once_and_the_calls_go_on(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    said: list[str] = []
    ledger = Ledger(tmp_path / "taken" / "calls.sqlite", warn=said.append)
    ledger.append(ROW)
    ledger.append(ROW)
    assert len(said) == 1
    assert "cannot be written" in said[0]


def test_a_file_that_is_no_ledger_is_an_error_to_read_and_a_note_to_write(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"rubbish" * 1000)
    said: list[str] = []
    ledger = Ledger(path, warn=said.append)
    ledger.append(ROW)
    assert len(said) == 1
    with pytest.raises(InputError, match="cannot be read as a ledger"):
        list(ledger.rows())
    assert path.read_bytes() == b"rubbish" * 1000


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    said: list[str] = []
    ledger = Ledger(path, warn=said.append)
    ledger.append(ROW)
    assert "newer jisi" in said[0]
    with pytest.raises(InputError, match="newer jisi"):
        list(ledger.rows())


APPEND = textwrap.dedent(
    """
    import sys
    from dataclasses import replace
    from pathlib import Path
    from tests.models.test_ledger import ROW
    from jisi_cli.models.ledger import Ledger

    ledger = Ledger(Path(sys.argv[1]), warn=sys.exit)
    for number in range(int(sys.argv[3])):
        ledger.append(replace(ROW, run=sys.argv[2], attempts=number))
        print(number, flush=True)
    """
)


def appending(path: Path, run: str, rows: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPEND, str(path), run, str(rows)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


@pytest.mark.slow
def test_many_processes_append_at_once_and_no_row_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "calls.sqlite"
    writers = [appending(path, f"r{n}", 200) for n in range(4)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    rows = list(ledger_in(tmp_path).rows())
    for n in range(4):
        assert [row.attempts for row in rows if row.run == f"r{n}"] == list(range(200))


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_rows_and_a_ledger_that_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "calls.sqlite"
    writer = appending(path, "killed", 100_000)
    assert writer.stdout is not None
    booked = [int(writer.stdout.readline()) for _ in range(50)]
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    booked += [int(line) for line in writer.stdout.read().splitlines()]
    writer.stdout.close()
    ledger = ledger_in(tmp_path)
    ledger.append(replace(ROW, run="after"))
    rows = list(ledger.rows())
    assert [row.attempts for row in rows[: len(booked)]] == booked
    assert len(rows) - len(booked) in (1, 2)  # The last one may be booked but not yet reported.
    assert rows[-1].run == "after"


@pytest.mark.slow
def test_writers_killed_among_others_lose_nothing_that_was_reported_and_stop_nobody(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "calls.sqlite"
    survivors = [appending(path, f"lives{n}", 300) for n in range(2)]
    booked = {}
    for n in range(5):
        victim = appending(path, f"dies{n}", 100_000)
        assert victim.stdout is not None
        reported = [victim.stdout.readline() for _ in range(7 * n + 1)]
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        booked[f"dies{n}"] = [int(line) for line in [*reported, *victim.stdout.read().splitlines()]]
        victim.stdout.close()
    for writer in survivors:
        writer.communicate()
        assert writer.returncode == 0
    rows = list(ledger_in(tmp_path).rows())
    for n in range(2):
        assert [row.attempts for row in rows if row.run == f"lives{n}"] == list(range(300))
    for run, numbers in booked.items():
        found = [row.attempts for row in rows if row.run == run]
        assert found[: len(numbers)] == numbers
        assert len(found) - len(numbers) in (0, 1)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
