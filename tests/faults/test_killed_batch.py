"""The everyday share of `killed_batch.py`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.forked import start
from tests.faults.killed_batch import run


def test_a_batch_that_is_killed_at_each_step_is_submitted_and_paid_for_once(tmp_path: Path) -> None:
    outcome = run(tmp_path, requests=20, start=start)
    assert outcome.passed, outcome
