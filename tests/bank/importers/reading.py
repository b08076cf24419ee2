"""Reading a fixture with everything that was reported about it."""

from __future__ import annotations

from pathlib import Path

from jisi_cli.bank.importers.protocol import Problem
from jisi_cli.bank.importers.registry import read_records
from jisi_cli.bank.records import Record

FIXTURES = Path(__file__).parents[2] / "fixtures"


def read_all(source: Path, format: str | None = None) -> tuple[list[Record], list[Problem]]:
    problems: list[Problem] = []
    return list(read_records(source, format, on_problem=problems.append)), problems


def by_answer(records: list[Record]) -> dict[tuple[str, str, str], Record]:
    return {(record.dataset, record.index, record.model): record for record in records}
