"""Results that the cache cannot keep: the provider's copy stays, and the next run takes it at no further cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.models.batch.journal import BatchJournal
from jisi_cli.models.live import LivePool
from tests.loopback import Loopback
from tests.models.asking import cache_in, ledger_in, pool
from tests.models.test_batches import Lab


class ForgetfulLab(Lab):
    """A lab whose cache may fail."""

    def pool(self, **options: Any) -> LivePool:
        cache = cache_in(self.folder, self.warned.append)
        return pool(*self.models, cache=cache, ledger=ledger_in(self.folder), **options)

    @property
    def uncollected(self) -> list[tuple[int, float | None]]:
        """How many requests of each batch are still to be collected, and what they may cost."""
        found = BatchJournal(self.folder / "batches").uncollected()
        return [(batch.requests, batch.most_usd) for batch in found]


@pytest.fixture
def lab(loopback: Loopback, tmp_path: Path) -> ForgetfulLab:
    loopback.script("a", text="four words of answer")
    return ForgetfulLab(loopback, tmp_path)


def take_its_folder(folder: Path) -> None:
    (folder / "cache").write_text("a file where the folder should be")


def give_its_folder_back(folder: Path) -> None:
    (folder / "cache").unlink()


def fill_the_disk_after_one_answer(folder: Path) -> None:
    cache = cache_in(folder)
    assert cache.set("another", 1)
    cache.close()
    with sqlite3.connect(folder / "cache" / "cache.db") as rows:
        rows.execute(
            "CREATE TRIGGER full BEFORE INSERT ON Cache WHEN (SELECT COUNT(*) FROM Cache) >= 2 "
            "BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        )


def make_room(folder: Path) -> None:
    with sqlite3.connect(folder / "cache" / "cache.db") as rows:
        rows.execute("DROP TRIGGER full")


@pytest.mark.parametrize(
    ("spoil", "mend", "unkept"),
    [(take_its_folder, give_its_folder_back, 3), (fill_the_disk_after_one_answer, make_room, 2)],
)
def test_they_stay_at_the_provider_and_are_paid_for_booked_and_collected_once(
    lab: ForgetfulLab, spoil: Callable[[Path], None], mend: Callable[[Path], None], unkept: int
) -> None:
    desk = lab.server.batches
    spoil(lab.folder)
    assert sum(answer.ok for answer in lab.run().answers.values()) == 3
    assert [line for line in lab.told if f"{unkept} of the answers of batch_1 could not be kept" in line]
    assert (len(lab.warned), desk.deleted) == (1, [])
    assert (lab.uncollected, len(lab.rows())) == ([(unkept, 0.0)], 3)
    assert BatchJournal(lab.folder / "batches").promised_usd(datetime.now(UTC)) == 0.0, "it is in the ledger"
    paid = lab.paid()
    mend(lab.folder)
    again = lab.run().answers.values()
    assert [(answer.text, answer.cost_usd) for answer in again] == [("four words of answer", 0.0)] * unkept
    assert list(desk.asked().values()) == [1, 1, 1]
    assert (lab.uncollected, len(lab.rows()), lab.paid()) == ([], 3, paid)
    assert desk.files == {}
    assert lab.run().answers == {}, "all of it is kept now"


def test_what_the_provider_loses_before_the_cache_can_be_written_is_billed_once(lab: ForgetfulLab) -> None:
    take_its_folder(lab.folder)
    lab.run()
    paid = lab.paid()
    lab.server.batches.hidden.add("batch_1")
    assert len(lab.run().unasked) == 3
    assert (len(lab.rows()), lab.paid(), lab.uncollected) == (3, paid, [])
