"""One writer at a time, whoever comes and goes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jisi_cli.bank import lock
from jisi_cli.bank.lock import exclusive
from jisi_cli.errors import BankError, InputError


def test_an_empty_folder_goes_with_its_lock_and_one_with_files_stays(tmp_path: Path) -> None:
    with exclusive(tmp_path / "bank"):
        pass
    assert not (tmp_path / "bank").exists()
    with exclusive(tmp_path / "bank"):
        (tmp_path / "bank" / "file").touch()
    assert (tmp_path / "bank" / "file").exists()


def test_a_folder_that_its_last_holder_takes_away_in_between_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = []

    def end_of_the_other(path: Path) -> None:
        times.append(path)
        if len(times) < 3:
            path.rmdir()

    monkeypatch.setattr(lock, "_refuse_links", end_of_the_other)
    with exclusive(tmp_path / "bank"):
        assert (tmp_path / "bank" / lock.LOCK_NAME).exists()
    assert len(times) == 3


def test_a_place_where_no_folder_can_be_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place in ("file", "file/bank", "link"):
        with pytest.raises(InputError, match="cannot be written"), exclusive(tmp_path / place):
            pass


_HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""
"""How jisi 0.1 locks a bank."""
_TRY = """
import fcntl, sys
file = open(sys.argv[1], "a")
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("refused")
"""


@contextmanager
def locked_by_jisi_0_1(bank: Path) -> Iterator[subprocess.Popen[str]]:
    bank.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, bank / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        yield holder


@pytest.mark.skipif(sys.platform == "win32", reason="jisi 0.1 locks nothing on Windows")
def test_a_process_of_jisi_0_1_and_this_one_exclude_each_other(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    with locked_by_jisi_0_1(bank), pytest.raises(BankError, match="another build is at work"), exclusive(bank):
        pass
    with exclusive(bank):
        tried = subprocess.run([sys.executable, "-c", _TRY, bank / ".lock"], capture_output=True, text=True, check=True)
        assert tried.stdout == "refused\n"


@pytest.mark.skipif(sys.platform == "win32", reason="jisi 0.1 locks nothing on Windows")
def test_a_waiting_build_goes_on_when_the_holder_ends(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    with locked_by_jisi_0_1(bank) as holder:
        told: list[str] = []

        def release() -> None:
            told.append("waiting")
            assert holder.stdin is not None
            holder.stdin.close()

        with exclusive(bank, on_wait=release):
            assert told == ["waiting"]


def test_a_process_cannot_lock_a_bank_twice(tmp_path: Path) -> None:
    with exclusive(tmp_path / "bank"), pytest.raises(BankError, match="another build"), exclusive(tmp_path / "bank"):
        pass
