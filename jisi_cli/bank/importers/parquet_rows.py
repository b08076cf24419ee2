"""Parquet: a few hundred rows at a time, so that the size of a file does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jisi_cli.bank.importers.files import open_file, refuse_repeated
from jisi_cli.bank.importers.protocol import Numbered, OnProblem, Place, Row
from jisi_cli.errors import InputError

if TYPE_CHECKING:
    from pyarrow import RecordBatch

_BATCH = 512


def parquet_columns(source: Path) -> list[str]:
    """Return the column names of a Parquet file.

    Raises:
        InputError: The file is not Parquet, or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_file(source) as stream:
        try:
            names = list(pq.read_schema(stream).names)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _damaged(source, error) from error
    refuse_repeated(source, names)
    return names


def parquet_rows(source: Path, on_problem: OnProblem) -> Iterator[Numbered]:
    """Yield the rows of a Parquet file, numbered from 1.

    Raises:
        InputError: The file is not Parquet, or is damaged.
    """
    parquet_columns(source)
    number = 0
    for batch in _batches(source):
        for row in _batch_rows(batch):
            number += 1
            place = Place(str(source), number)
            if isinstance(row, str):
                on_problem(place.problem(row))
            else:
                yield place, row


def _batches(source: Path) -> Iterator[RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_file(source) as stream:
        try:
            yield from pq.ParquetFile(stream).iter_batches(batch_size=_BATCH)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _damaged(source, error) from error


def _damaged(source: Path, error: Exception) -> InputError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return InputError(f"{source}: cannot be read as Parquet: {reason}")


def _batch_rows(batch: RecordBatch) -> list[Row | str]:
    """Return the rows of one batch; for one that cannot be used, why."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            return ["not UTF-8" if isinstance(error, UnicodeDecodeError) else f"a value out of range: {error}"]
        return [row for offset in range(batch.num_rows) for row in _batch_rows(batch.slice(offset, 1))]
