"""Reading a fixture with everything that was reported about it."""

from __future__ import annotations

from pathlib import Path

from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.record import Record
from jisi_cli.formats.registry import read_records

FIXTURES = Path(__file__).parents[1] / "fixtures"


def read_all(source: Path, format: str | None = None) -> tuple[list[Record], list[ImportIssue]]:
    problems: list[ImportIssue] = []
    return list(read_records(source, format, on_issue=problems.append)), problems


def by_answer(records: list[Record]) -> dict[tuple[str, str, str], Record]:
    return {(record.dataset, record.index, record.model): record for record in records}
