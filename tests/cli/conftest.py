"""The small bank and the pool file of most tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import MODELS, build_small_bank, pool_file
from tests.loopback import Loopback


@pytest.fixture(scope="session")
def small_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of twelve questions and four models, ranked ada, bob, cyd, dee; not to be changed."""
    return build_small_bank(tmp_path_factory.mktemp("small"))


@pytest.fixture
def pool(tmp_path: Path, loopback: Loopback) -> Path:
    """A pool file of the bank's four models; each answers `<name> says so` until it is scripted otherwise."""
    for model in MODELS:
        loopback.script(model, text=f"{model} says so")
    return pool_file(tmp_path / "jisi.toml", loopback)
