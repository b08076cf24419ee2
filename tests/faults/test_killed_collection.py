"""The everyday share of `killed_collection.py`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.forked import start
from tests.faults.killed_collection import run


def test_a_collection_that_is_killed_pays_twice_for_the_calls_in_flight_alone(tmp_path: Path) -> None:
    outcome = run(tmp_path, kills=4, questions=12, seed=1, start=start)
    assert outcome.passed, outcome
