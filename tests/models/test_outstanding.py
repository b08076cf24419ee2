"""What runs have out: written down before it goes out, seen by other runs, withdrawn when it is booked."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jisi_cli import days
from jisi_cli.config import Config
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.models.allowance import RunLimit
from jisi_cli.models.ledger import Ledger, ledger_path
from jisi_cli.models.limits import Budget, Reservation
from jisi_cli.models.live import Run
from jisi_cli.models.outstanding import Mark, out_since, outstanding, outstanding_path
from jisi_cli.types import Sampling
from tests.cli.test_cost import ASK
from tests.loopback import Loopback
from tests.models.asking import ask, entry, pool
from tests.tiers import examples

ROW = replace(ASK, command="test")


class OneRun:
    """A run with a limit a day, as far as its money is concerned: what goes out, and what is booked."""

    def __init__(self, name: str, limit_usd: float) -> None:
        self.run = Run(name, "test")
        self.mark, self.ledger = Mark(self.run), Ledger(ledger_path(), warn=pytest.fail)
        limit = RunLimit(Config(budget={"max_cost_per_day": limit_usd}), self.ledger, name)
        first = limit.now(0.0, outstanding())
        self.budget = Budget(first.usd, first.setting, first.about, limit.now, mark=self.mark)
        self.out: list[tuple[Reservation, float]] = []

    def start(self, usd: float) -> bool:
        """Let a call go out if it may; its worst case is so many dollars."""
        try:
            found = self.budget.reserve_now("a", usd)
        except BudgetError:
            return False
        if found is not None:
            self.out.append((found, usd))
        return found is not None

    def end(self, share: float) -> float:
        """Let the oldest call end, at a share of its worst case, and book it; return what it cost."""
        reservation, worst = self.out.pop(0)
        reservation.settle(share * worst)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.ledger.append(replace(ROW, run=self.run.id, time=now, cost_usd=share * worst))
        reservation.booked()
        return share * worst

    def close(self) -> None:
        self.mark.close()
        self.ledger.close()


@contextmanager
def runs(*names: str, limit_usd: float = 1.0) -> Iterator[list[OneRun]]:
    opened = [OneRun(name, limit_usd) for name in names]
    try:
        yield opened
    finally:
        for run in opened:
            run.close()
        for path in outstanding_path().parent.glob("*"):
            path.unlink()


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["start", "start", "end"]), st.floats(0.01, 0.4), st.floats(0, 1)),
    min_size=10,
    max_size=40,
)


@settings(max_examples=examples(8))
@given(STEPS)
def test_what_runs_spend_and_have_out_together_never_passes_a_days_limit(
    steps: list[tuple[int, str, float, float]],
) -> None:
    with runs("aa", "bb", "cc") as three:
        spent = 0.0
        for number, what, usd, share in steps:
            run = three[number]
            if what == "start":
                run.start(usd)
            elif run.out:
                spent += run.end(share)
            out = math.fsum(worst for other in three for _, worst in other.out)
            assert spent + out <= 1.0 + 1e-9
            for other in three:
                seen = sum(found.usd for found in outstanding() if found.run == other.run.id)
                assert math.fsum(worst for _, worst in other.out) <= seen + 1e-9, "nothing is out that is not seen"


def test_what_another_run_has_left_over_can_be_spent() -> None:
    with runs("aa", "bb") as (one, other):
        assert one.start(0.4)
        assert not other.start(0.7)
        one.end(0.25)
        one.mark.close()
        assert other.start(0.9)
        assert not one.start(0.2)


def test_a_run_that_is_alone_may_spend_all_of_its_day() -> None:
    with runs("aa") as (one,):
        for _ in range(10):
            assert one.start(0.1)
            one.end(1.0)
        assert not one.start(0.001)


def test_a_run_that_was_refused_leaves_nothing_written() -> None:
    with runs("aa", "bb") as (one, other):
        one.start(0.3)
        assert not other.start(2.0)
        assert [found.run for found in outstanding()] == ["aa"]
        one.end(1.0)
        for run in (one, other):
            run.mark.close()
        assert outstanding() == []


def test_few_calls_write_anything() -> None:
    with runs("aa", limit_usd=1000.0) as (one,):
        written: list[str] = []
        one.mark._database.read(lambda connection: connection.set_trace_callback(written.append), None)
        for _ in range(16):
            one.start(0.01)
        for _ in range(400):
            one.end(0.1)
            one.start(0.01)
        assert sum(statement.startswith("INSERT") for statement in written) <= 16


def test_what_is_booked_is_withdrawn_once_nothing_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jisi_cli.models.outstanding._IDLE_SECONDS", 0.0)
    with runs("aa") as (one,):
        one.start(0.1)
        one.start(0.1)
        one.end(1.0)
        assert [found.usd for found in outstanding()] == [pytest.approx(0.2)]
        one.end(1.0)
        timer = one.mark._timer
        if timer is not None:
            timer.join()
        assert outstanding() == []


def test_a_run_that_ended_without_booking_counts_for_the_day_and_the_month_in_which_it_was_cut_off() -> None:
    now = days.now()
    with runs("aa") as (one,):
        one.start(0.3)
        (found,) = outstanding()
        assert (found.run, found.command, found.is_under_way) == ("aa", "test", True)
        tomorrow = days.start_of_day(now + timedelta(days=1))
        assert out_since([found], tomorrow) == found.usd, "it is out then, too"
        assert one.mark._let_go is not None
        one.mark._let_go()  # as the system does when a process is killed
        one.mark._let_go = None
        (found,) = outstanding()
        assert not found.is_under_way
        assert out_since([found], days.start_of_day(now)) == found.usd >= 0.3
        assert out_since([found], tomorrow) == 0.0
        other = OneRun("bb", 1.0)
        assert not other.start(1.0 - found.usd + 0.01)
        assert "calls of other runs, under way or cut off, may cost $0." in str(other.budget._about)
        assert other.start(1.0 - found.usd - 0.01)
        other.close()


def test_a_file_that_is_not_ours_is_refused_and_one_that_cannot_be_written_stops_no_call() -> None:
    outstanding_path().parent.mkdir(parents=True)
    with sqlite3.connect(outstanding_path()) as rows:
        rows.execute("CREATE TABLE runs (run, usd, time, command, label, ended)")
        rows.execute("INSERT INTO runs VALUES ('../../x', 'much', 't', 'c', NULL, 0)")
        rows.execute("PRAGMA user_version = 1")
    with pytest.raises(InputError, match=r"out\.sqlite cannot be read .*'much'.*move it away"):
        outstanding()
    with sqlite3.connect(outstanding_path()) as rows:
        rows.execute("UPDATE runs SET usd = 0.5")
    (found,) = outstanding()  # a name that no run of ours has leads to no file
    assert (found.run, found.usd, found.is_under_way) == ("../../x", 0.5, False)
    outstanding_path().unlink()
    outstanding_path().mkdir()
    mark = Mark(Run("aa", "test"))
    mark.add(1.0)
    mark.release(1.0)
    mark.close()


def test_with_a_limit_a_day_nothing_goes_out_that_other_runs_cannot_see() -> None:
    outstanding_path().mkdir(parents=True)
    limit = RunLimit(Config(budget={"max_cost_per_day": 1.0}), Ledger(ledger_path(), warn=pytest.fail), "aa")
    mark = Mark(Run("aa", "test"))
    budget = Budget(1.0, todays=limit.now, mark=mark)
    for _ in range(2):
        with pytest.raises(BudgetError, match=r"out\.sqlite cannot be written .* make room or allow it"):
            budget.reserve_now("a", 0.1)
    mark.close()


def test_calls_without_any_limit_are_written_down_until_they_are_booked(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", text="five words and no more")
    loopback.hold_after = 0
    mark, ledger = Mark(Run("aa", "test")), Ledger(ledger_path(), warn=pytest.fail)
    asked = pool(entry(loopback), mark=mark, ledger=ledger, run=Run("aa", "test"))

    async def run() -> float:
        async with asked:
            calls = [asyncio.create_task(ask(asked, f"{n}", sampling=Sampling(max_tokens=20))) for n in range(3)]
            while loopback.count() < 3:
                await asyncio.sleep(0.01)
            seen = outstanding()[0].usd
            loopback.hold_after = None
            await asyncio.gather(*calls)
            return seen

    seen = asyncio.run(run())
    assert seen >= 3 * 20 * 2e-6
    assert mark.out_usd == 0.0
    mark.close()
    assert outstanding() == []


def test_threads_share_one_mark() -> None:
    with runs("aa", limit_usd=1e6) as (one,):
        threads = [threading.Thread(target=lambda: [one.budget.reserve_now("a", 1.0) for _ in range(50)]) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.mark.out_usd == pytest.approx(100.0)
        assert outstanding()[0].usd >= 100.0
