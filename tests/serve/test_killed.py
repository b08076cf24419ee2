"""A server that is killed in the middle: what was paid for is booked, and is not asked again."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from jisi_cli.models.ledger import Ledger
from tests.cli.commands import MODELS
from tests.serve.running import Running, serving

QUESTIONS = [f"What is {number} plus 1, and why?" for number in range(30)]


def booked(running: Running) -> int:
    """Count the calls in the ledger that were paid for."""
    ledger = Ledger(running.home / "data" / "ledger" / "calls.sqlite", warn=pytest.fail)
    return sum(not row.cached for row in ledger.rows())


def test_a_server_that_is_killed_has_booked_and_kept_what_it_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        for model in MODELS:
            running.upstream.script(model, f"{model} says so", delay=0.05)
        answered: list[str] = []

        def ask(question: str) -> None:
            try:
                if running.chat(question).status_code == 200:
                    answered.append(question)
            except httpx.TransportError:
                pass  # the server has gone

        with ThreadPoolExecutor(8) as clients:
            for question in QUESTIONS:
                clients.submit(ask, question)
            while len(answered) < 8:
                time.sleep(0.01)
            running.process.send_signal(signal.SIGKILL)
        sent = len(running.upstream.complete)
        running.process.finish()
        assert 8 <= len(answered) < len(QUESTIONS)
        # Every answer that a client has is booked; what upstream had just sent may not have been read.
        assert len(answered) <= booked(running) <= sent
        asked = running.upstream.count()
        with running.again() as again:
            for question in answered:
                assert again.chat(question).json()["jisi"]["cost_usd"] == 0
        assert running.upstream.count() == asked
