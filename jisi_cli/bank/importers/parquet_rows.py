"""Parquet: a few hundred rows at a time, so that the size of a file does not matter."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from jisi_cli.bank.importers.files import open_file, refuse_repeated
from jisi_cli.bank.importers.json_lines import LONGEST_LINE
from jisi_cli.bank.importers.protocol import Numbered, OnProblem, Place, Row
from jisi_cli.bank.parquet_bounds import UnfoldedError, bounded_memory, check_claims, require_size
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
            with bounded_memory(_size(stream)):
                names = list(pq.read_schema(stream).names)
        except (pa.ArrowException, OSError, UnicodeDecodeError, UnfoldedError) as error:
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
    for rows in _batches(source):
        for row in rows:
            number += 1
            place = Place(str(source), number)
            if isinstance(row, str):
                on_problem(place.problem(row))
            elif any(isinstance(value, str | bytes) and len(value) > LONGEST_LINE for value in row.values()):
                on_problem(place.problem(f"a value longer than {LONGEST_LINE // 2**20} MiB"))
            else:
                yield place, row


def _batches(source: Path) -> Iterator[list[Row | str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_file(source) as stream:
        size, unfolded = _size(stream), 0
        try:
            with bounded_memory(size):
                file = pq.ParquetFile(stream)
                check_claims(file.metadata, size)
                batches = file.iter_batches(batch_size=_BATCH)
            while True:
                with bounded_memory(size):
                    batch = next(batches, None)
                    rows = [] if batch is None else _batch_rows(batch)
                if batch is None:
                    return
                unfolded += sum(map(_length, rows))
                require_size(unfolded, size)
                yield rows
        except (pa.ArrowException, OSError, UnicodeDecodeError, UnfoldedError) as error:
            raise _damaged(source, error) from error


def _length(row: Row | str) -> int:
    """Return about how much a row holds: a text that a file has once may stand in every row."""
    return len(row) if isinstance(row, str) else sum(len(value) for value in row.values() if isinstance(value, Sized))


def _size(stream: BinaryIO) -> int:
    size = stream.seek(0, 2)
    stream.seek(0)
    return size


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
