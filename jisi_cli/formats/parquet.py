"""Parquet from anywhere, a few hundred rows at a time, so that the size of a file does not matter.

A few kilobytes may claim a trillion rows or unfold to hundreds of gigabytes. What a file claims is checked before it is
read. What a page, a dictionary or a list unfolds to is known only when it is there, so meanwhile the system is asked to
give this process no more than a certain amount of memory.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from jisi_cli.errors import InputError
from jisi_cli.formats.blocks import Block, Column, ColumnBlock
from jisi_cli.formats.files import LONGEST_LINE, open_file, refuse_repeated
from jisi_cli.formats.issues import Location, OnIssue, Row

if TYPE_CHECKING:
    from pyarrow import RecordBatch


_ROWS_PER_BYTE = 100
_ROWS = 2**20
_SIZE_PER_BYTE = 200
_SIZE = 2**30
"""What any file may hold, and what more it may for each of its bytes: texts that repeat take little room."""
_MEMORY = 3 * 2**30
_PER_BYTE = 16
"""Memory that one reading may take, and what more for each byte of the file; Arrow sets a gigabyte aside at once."""
_turn = threading.RLock()


class UnfoldedError(Exception):
    """A file that would unfold to more than its size allows."""


def check_claims(metadata: Any, size: int) -> None:  # noqa: ANN401 - pyarrow has no types
    """Refuse a file whose own list of contents is beyond reason.

    Args:
        metadata: A `FileMetaData`.
        size: Bytes of the file.

    Raises:
        UnfoldedError: It is.
    """
    if metadata.num_rows > _ROWS + _ROWS_PER_BYTE * size:
        raise UnfoldedError(f"{size:,} bytes claim {metadata.num_rows:,} rows")
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    require_size(sum(group.total_byte_size for group in groups), size)


def require_size(unfolded: int, size: int) -> None:
    """Refuse what has unfolded to more than a file of that size can mean.

    Raises:
        UnfoldedError: It has.
    """
    if unfolded > _SIZE + _SIZE_PER_BYTE * size:
        raise UnfoldedError(f"{size:,} bytes unfold to more than {(_SIZE + _SIZE_PER_BYTE * size) >> 20:,} MiB")


@contextlib.contextmanager
def bounded_memory(size: int) -> Iterator[None]:
    """Let this process take only so much more memory while a file of that many bytes is read; on Linux alone.

    One reading at a time: the limit is the process's own.

    Raises:
        UnfoldedError: It did not suffice.
    """
    import pyarrow as pa

    with _turn:
        taken = _taken()
        if taken is None:
            yield
            return
        import resource

        addresses, data = taken
        more = _MEMORY + _PER_BYTE * size
        before = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [(before[0], data), (resource.getrlimit(resource.RLIMIT_AS)[0], addresses)]
        is_tighter = all(limit == resource.RLIM_INFINITY or limit - used > more for limit, used in limits)
        if is_tighter:
            resource.setrlimit(resource.RLIMIT_DATA, (data + more, before[1]))
        try:
            yield
        except (MemoryError, pa.ArrowMemoryError) as error:
            if not is_tighter:
                raise
            raise UnfoldedError(f"{size:,} bytes take more than {more >> 20:,} MiB to read") from error
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, before)


def _taken() -> tuple[int, int] | None:
    """Return the bytes of addresses and of data that count now; None where the system does not say."""
    if sys.platform != "linux":
        return None
    import resource

    try:
        pages = Path("/proc/self/statm").read_text().split()
        return int(pages[0]) * resource.getpagesize(), int(pages[5]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None


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


def parquet_blocks(source: Path, on_issue: OnIssue) -> Iterator[Block]:
    """Yield the rows of a Parquet file, numbered from 1, as columns wherever all of them can be used.

    Raises:
        InputError: The file is not Parquet, or is damaged.
    """
    parquet_columns(source)
    number = 1
    for columns, rows, length in _batches(source):
        if columns is not None and length <= LONGEST_LINE:
            block = ColumnBlock(str(source), number, columns)
            yield block
            number += len(block)
            continue
        for row in _rows_of(columns) if columns is not None else rows:
            place = Location(str(source), number)
            number += 1
            if isinstance(row, str):
                on_issue(place.issue(row))
            elif length > LONGEST_LINE and _has_long_value(row):
                on_issue(place.issue(f"a value longer than {LONGEST_LINE // 2**20} MiB"))
            else:
                yield Block([(place, row)])


def _has_long_value(row: Row) -> bool:
    return any(isinstance(value, str | bytes) and len(value) > LONGEST_LINE for value in row.values())


def _rows_of(columns: Mapping[str, Column]) -> list[Row | str]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _batches(source: Path) -> Iterator[tuple[Mapping[str, Column] | None, list[Row | str], int]]:
    """Yield the columns of each batch, or its rows where some cannot be used; and about how much it holds."""
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
                    columns = None if batch is None else _batch_columns(batch)
                    rows = [] if batch is None or columns is not None else _batch_rows(batch)
                if batch is None:
                    return
                if columns is not None:
                    length = sum(map(_length, columns.values()))
                else:
                    length = sum(len(row) if isinstance(row, str) else _length(row.values()) for row in rows)
                unfolded += length
                require_size(unfolded, size)
                yield columns, rows, length
        except (pa.ArrowException, OSError, UnicodeDecodeError, UnfoldedError) as error:
            raise _damaged(source, error) from error


def _length(values: Collection[object]) -> int:
    """Return about how much some values hold: a text that a file has once may stand in every row."""
    kinds = set(map(type, values))
    if kinds <= {int, float, bool, type(None)}:
        return 0
    if kinds <= {str, type(None)}:
        return sum(map(len, filter(None, cast("Collection[str]", values))))
    return sum(len(cast("Sized", value)) for value in values if hasattr(value, "__len__"))


def _size(stream: BinaryIO) -> int:
    size = stream.seek(0, 2)
    stream.seek(0)
    return size


def _damaged(source: Path, error: Exception) -> InputError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return InputError(f"{source}: cannot be read as Parquet: {reason}")


def _batch_columns(batch: RecordBatch) -> Mapping[str, Column] | None:
    """Return the columns of one batch; None where there are none, or a value cannot be used."""
    try:
        return cast("Mapping[str, Column]", batch.to_pydict()) or None
    except (ValueError, OverflowError):
        return None


def _batch_rows(batch: RecordBatch) -> list[Row | str]:
    """Return the rows of one batch; for one that cannot be used, why."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            return ["not UTF-8" if isinstance(error, UnicodeDecodeError) else f"a value out of range: {error}"]
        return [row for offset in range(batch.num_rows) for row in _batch_rows(batch.slice(offset, 1))]
