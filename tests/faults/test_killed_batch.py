"""The everyday share of `killed_batch.py`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.faults.afflictions import looks_at_once
from tests.faults.forked import start
from tests.faults.killed_batch import run


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "bedrock", "vertex_ai"])
def test_a_batch_that_is_killed_at_each_step_is_submitted_and_paid_for_once(tmp_path: Path, provider: str) -> None:
    if provider == "vertex_ai":
        pytest.importorskip("google.auth")
    outcome = run(tmp_path, requests=20, provider=provider, start=partial(start, prepare=looks_at_once))
    assert outcome.passed, outcome
