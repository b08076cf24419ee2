"""A journal of batches that is damaged: it is said so, and no row of it makes or frees money."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jisi_cli.errors import InputError
from jisi_cli.models.batch.journal import BatchJournal

KEY, TAG = "a" * 64, "b" * 32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE requests SET worst_usd = -1", "a request may cost -1.0 dollars"),
        ("UPDATE requests SET worst_usd = 9e999", "a request may cost inf dollars"),
        ("UPDATE requests SET worst_usd = 'much'", "a request may cost 'much' dollars"),
        ("UPDATE batches SET began = '2026-01-01T00:00:00'", "a batch began at '2026-01-01T00:00:00'"),
        ("UPDATE batches SET began = 'once'", "a batch began at 'once'"),
        ("UPDATE batches SET attempt = 'x'", "a batch was submitted 'x' times"),
        ("UPDATE batches SET attempt = 0", "a batch was submitted 0 times"),
        ("UPDATE batches SET batch_id = x'00ff'", r"a provider calls a batch b'\x00\xff'"),
    ],
)
def test_a_journal_that_jisi_did_not_write_so_is_said_to_be_damaged(change: str, words: str, tmp_path: Path) -> None:
    journal = BatchJournal(tmp_path)
    try:
        journal.about_to_submit(TAG, "openai/ada", "c" * 64, 1, {KEY: 0.5})
        assert journal.promised_usd(datetime.now(UTC)) == 0.5
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as other, other:
            other.execute(change)
        with pytest.raises(InputError) as caught:
            journal.open_with([KEY])
        assert str(caught.value) == f"the journal of batches is damaged ({words}); move it away"
        if "cost" in words:
            with pytest.raises(InputError, match="is damaged"):
                journal.promised_usd(datetime.now(UTC))
    finally:
        journal.close()
