"""The folder of an answer's program, whatever it did there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jisi_cli.grading.processes import ScratchFolder


def test_nothing_is_left_however_deep_it_lies_and_whatever_it_forbids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    with ScratchFolder() as folder:
        monkeypatch.chdir(folder.path)
        Path("file").touch(0)
        Path("link").symlink_to(kept)
        for _ in range(1050):
            Path("down").mkdir()
            os.chdir("down")
        Path("shut").mkdir(0)
        os.chdir(tmp_path)
        (folder.path / "down").chmod(0)
    assert not folder.path.exists()
    assert (kept / "file").read_text() == "kept"


def test_too_many_files_too_many_bytes_and_those_out_of_sight_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScratchFolder() as folder:
        (folder.path / "inner").mkdir()
        (folder.path / "inner" / "file").write_bytes(bytes(1000))
        size = (folder.path / "inner").stat().st_size + 1000
        assert not folder.holds_more_than(2, size)
        assert folder.holds_more_than(1, size)
        assert folder.holds_more_than(2, size - 1)
        monkeypatch.chdir(folder.path)
        for _ in range(25):
            Path("x" * 200).mkdir()
            os.chdir("x" * 200)
        os.chdir(tmp_path)
        assert folder.holds_more_than(1000, 1 << 30)
