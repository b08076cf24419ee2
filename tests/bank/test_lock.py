"""One writer at a time, whoever comes and goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from jisi_cli.bank import lock
from jisi_cli.bank.lock import exclusive
from jisi_cli.errors import InputError


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
