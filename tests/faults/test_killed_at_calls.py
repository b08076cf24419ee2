"""The everyday share of `killed_at_calls.py`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.killed_at_calls import COMMANDS, run


def test_a_command_that_is_killed_at_any_call_leaves_nothing_half_done(tmp_path: Path) -> None:
    outcome = run(tmp_path, kills=10, seed=3)
    assert not outcome.wrong, outcome
    assert min(outcome.kills[command] for command in COMMANDS) == 2
