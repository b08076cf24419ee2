"""A bank from elsewhere whose folder holds links: it may be read, and nothing outside it is written or deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from jisi_cli.bank.lock import LOCK_NAME
from jisi_cli.bank.manifest import model_folder
from tests.cli.commands import build_small_bank, jisi, says_one_error, write_lines

PRECIOUS = "keep this"


@pytest.mark.parametrize("name", [LOCK_NAME, ".building", ".building/journal.vectors", "queries-of-mine.parquet"])
def test_a_link_in_a_bank_is_never_written_through(tmp_path: Path, name: str) -> None:
    bank, target = build_small_bank(tmp_path), tmp_path / "elsewhere"
    target.write_text(PRECIOUS)
    (bank / name).parent.mkdir(exist_ok=True)
    (bank / name).unlink(missing_ok=True)
    (bank / name).symlink_to(target)
    more = write_lines(
        tmp_path / "more.jsonl", [{"query": "new?", "records": {"ada": 1}, "raw_output": {"ada": "yes"}}]
    )
    for command in (
        ("bank", "build", more, "-o", bank, "--append", "--embedder", "hashing:64"),
        ("bank", "build", more, "-o", bank, "--force", "--embedder", "hashing:64"),
        ("bank", "grade", bank, "--grader", "contains"),
    ):
        says_one_error(jisi(*command), 3, name, "is a link")
    assert target.read_text() == PRECIOUS
    assert jisi("bank", "inspect", bank).exit_code == 0


def test_a_models_folder_that_is_a_link_keeps_what_it_leads_to(tmp_path: Path) -> None:
    bank, elsewhere = build_small_bank(tmp_path), tmp_path / "elsewhere"
    folder = bank / model_folder("ada")
    folder.rename(elsewhere)
    (elsewhere / "mine.parquet").write_text(PRECIOUS)
    folder.symlink_to(elsewhere)
    says_one_error(jisi("bank", "grade", bank, "--grader", "contains"), 3, "is a link")
    assert (elsewhere / "mine.parquet").read_text() == PRECIOUS
