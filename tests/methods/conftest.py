"""A bank with test questions and a pool file, for what a user of the command line sees of methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import pool
from tests.cli.evaluation_data import build

__all__ = ["bank", "pool"]


@pytest.fixture(scope="package")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with 28 train and 12 test questions; not to be changed."""
    return build(tmp_path_factory.mktemp("evaluated"))
