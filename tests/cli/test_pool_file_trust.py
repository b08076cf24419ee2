"""A pool file that merely lies in the current folder is announced, and reaches nobody before it is trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from jisi_cli import trust
from jisi_cli.config import config_in_force
from tests.cli.commands import jisi, pool_file
from tests.loopback import Loopback

QUESTION = "What is 6 plus 9?"


def test_only_a_file_of_the_current_folder_is_not_the_user_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home):
        folder.mkdir()
        (folder / "jisi.toml").write_text('bank = "x"\n')
    monkeypatch.setenv("JISI_CONFIG_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    assert config_in_force().trusted
    monkeypatch.chdir(home)
    assert config_in_force().trusted
    monkeypatch.chdir(here)
    assert config_in_force(Path("jisi.toml")).trusted
    assert not config_in_force().trusted

    trust.trust("pool_files", config_in_force().identity, "here")
    assert config_in_force().trusted
    (here / "jisi.toml").write_text('bank = "y"\n')
    assert not config_in_force().trusted
    monkeypatch.setenv("JISI_CONFIG", "jisi.toml")
    assert config_in_force().trusted


def test_a_pool_file_that_is_not_the_user_s_own_is_named_on_stderr(
    small_bank: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pool_file(tmp_path / "jisi.toml", loopback)
    monkeypatch.chdir(tmp_path)
    run = jisi("route", QUESTION, "--bank", small_bank, "--quiet")
    assert run.exit_code == 0
    assert any("jisi.toml" in line and str(tmp_path) in line and "jisi trust" in line for line in run.warnings)
    assert jisi("route", QUESTION, "--bank", small_bank, "--config", path).warnings == []
