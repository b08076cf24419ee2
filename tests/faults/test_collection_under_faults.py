"""The everyday share of `collection_under_faults.py`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.collection_under_faults import run
from tests.faults.forked import start


def test_a_collection_under_faults_ends_and_pays_for_no_answer_twice(tmp_path: Path) -> None:
    outcome = run(tmp_path, questions=30, share=0.4, seed=5, hangs=False, start=start)
    assert outcome.passed, outcome
    assert sum(outcome.faults.values()) > 30
    for reason, number in outcome.failed.most_common(5):
        words = f"{number} answer{'s' if number > 1 else ''} failed: {reason}"
        assert words in outcome.said
