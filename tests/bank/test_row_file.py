"""Rows that wait in a file come back as they were, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.bank import staging as row_file
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.staging import RowFile
from tests.bank.making import records

VALUES = st.none() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=[]))


@given(st.lists(st.lists(VALUES, max_size=4), max_size=12), st.sampled_from([0, 50, 10_000]), st.randoms())
def test_rows_come_back_as_they_were_in_any_order(rows: list[list[object]], kept: int, chance: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_file, "_IN_MEMORY", kept)
        file = RowFile()
        places = [(file.append(row), row) for row in rows]
        chance.shuffle(places)  # type: ignore[attr-defined]
        for (start, size), row in places:
            assert file.read(start, size) == row


def test_the_file_has_no_name_and_its_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_file, "_IN_MEMORY", 0)
    folder = tmp_path / "bank" / ".building"
    staging = stage_records(records(6), folder=folder)
    assert not folder.exists()
    assert staging == stage_records(records(6))
    assert list((tmp_path / "bank").iterdir()) == []


def test_a_folder_that_is_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_file, "_IN_MEMORY", 0)
    (tmp_path / "a.vectors").write_text("a journal")
    assert stage_records(records(6), folder=tmp_path).records == 18
    assert [file.name for file in tmp_path.iterdir()] == ["a.vectors"]


@pytest.mark.slow
def test_a_disk_that_takes_only_a_part_is_an_error_and_no_row_is_lost_in_silence() -> None:
    """The limit falls into the middle of a write, of which the system takes the first half without a word."""
    script = (
        "import resource\n"
        "from jisi_cli.bank import staging\n"
        "staging._IN_MEMORY = 10_000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, 15_000))\n"
        "file = staging.RowFile()\n"
        "places = [file.append(['x' * 1000]) for _ in range(20)]\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "OSError: [Errno 27]" in done.stderr
