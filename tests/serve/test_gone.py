"""Clients that go away: what was out for them is cut off, booked, and counted by the limits that outlive the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from jisi_cli.models.call import CUT_OFF
from jisi_cli.models.ledger import Ledger, LedgerEntry
from tests.serve.running import Running, serving


def body(question: str) -> dict[str, object]:
    return {"model": "jisi", "messages": [{"role": "user", "content": question}]}


async def until(happened: Callable[[], bool]) -> None:
    while not happened():
        await asyncio.sleep(0.01)


def booked(running: Running) -> list[LedgerEntry]:
    return list(Ledger(running.home / "data" / "ledger" / "calls.sqlite", warn=pytest.fail).rows())


def is_idle(running: Running) -> bool:
    return "jisi_running 0.0" in running.get("/metrics").text


def test_what_was_cut_off_is_booked_and_counts_for_the_day_of_the_next_server(tmp_path: Path) -> None:
    async def leave(running: Running) -> None:
        async with httpx.AsyncClient(timeout=300) as client:
            url = f"{running.api}/chat/completions"
            leaving = asyncio.create_task(client.post(url, json=body("What is 1 plus 1?")))
            await until(lambda: running.upstream.count() == 3)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        await until(lambda: is_idle(running))

    with serving(tmp_path, "--max-cost-per-day", "0.5") as running:
        running.upstream.hold_after = 0
        asyncio.run(leave(running))
        rows = booked(running)
        assert [(row.error, row.cost_usd, row.attempts) for row in rows] == [(CUT_OFF, None, 1)] * 3
        most = sum(row.most_cost_usd or 0.0 for row in rows)
        assert most > 0
    with serving(tmp_path, "--max-cost-per-day", str(most), bank=False) as running:
        found = running.chat("What is 1 plus 2?").json()["error"]
        assert found["code"] == "budget_exceeded"
        assert "of it by calls of which only the most is known" in found["message"]
        assert running.upstream.count() == 0


def test_a_call_that_another_client_waits_for_goes_on_and_is_paid_once(tmp_path: Path) -> None:
    async def both(running: Running) -> httpx.Response:
        async with httpx.AsyncClient(timeout=300) as client:
            url = f"{running.api}/chat/completions"
            leaving = asyncio.create_task(client.post(url, json=body("What is 2 plus 2?")))
            await until(lambda: running.upstream.count() == 3)
            staying = asyncio.create_task(client.post(url, json=body("What is 2 plus 2?")))
            await until(lambda: "jisi_running 2.0" in running.get("/metrics").text)
            # What a request does before it waits for the other's calls takes a moment.
            await asyncio.sleep(0.5)
            leaving.cancel()
            await until(lambda: "jisi_running 1.0" in running.get("/metrics").text)
            running.upstream.hold_after = None
            return await staying

    with serving(tmp_path) as running:
        running.upstream.hold_after = 0
        answer = asyncio.run(both(running)).json()
        assert answer["choices"][0]["message"]["content"] == "ada says so"
        paid = [row for row in booked(running) if not row.cached]
        assert len(paid) == running.upstream.count() == 3 + answer["jisi"]["mode"].count("aggregate")
        assert all(row.error is None for row in paid)
