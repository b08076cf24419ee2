"""The rows of a file whichever way it keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jisi_cli.bank.importers.contents import kind_of
from jisi_cli.bank.importers.csv_rows import csv_rows
from jisi_cli.bank.importers.json_lines import file_json_rows
from jisi_cli.bank.importers.parquet_rows import parquet_rows
from jisi_cli.bank.importers.protocol import Numbered, OnProblem


def read_rows(source: Path, on_problem: OnProblem) -> Iterator[Numbered]:
    """Yield the rows of a file: Parquet, CSV, TSV, JSONL or a JSON list, packed with gzip or not.

    Raises:
        InputError: The file cannot be opened, or is no such file.
    """
    match kind_of(source):
        case "parquet":
            return parquet_rows(source, on_problem)
        case "csv":
            return csv_rows(source, on_problem)
        case "json":
            return file_json_rows(source, on_problem)
