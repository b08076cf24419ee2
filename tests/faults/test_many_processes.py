"""The everyday share of `many_processes.py`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.forked import start
from tests.faults.many_processes import run


def test_many_processes_on_one_cache_ledger_and_bank_lose_nothing_and_pay_once(tmp_path: Path) -> None:
    outcome = run(tmp_path, goes_on=lambda begun, _: begun < 18, processes=6, seed=2, start=start)
    assert outcome.passed, outcome
