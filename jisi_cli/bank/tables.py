"""The bank's Parquet schemas, and parts written and read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.manifest import MANIFEST_NAME, PartFile, VectorDtype, forbidden, part_path
from jisi_cli.copies import is_copy
from jisi_cli.errors import BankError, JisiError
from jisi_cli.files import open_plain
from jisi_cli.formats.parquet import UnfoldedError, bounded_memory, check_claims

if TYPE_CHECKING:
    import pyarrow as pa

_CORRUPT = re.compile(r"corrupt|checksum|\bcrc\b|unexpected end", re.IGNORECASE)
"""How Arrow and its decompressors say that a file is corrupt, as opposed to too large for memory."""
_VECTOR_LEAF = "vector.list.element"
_ROW_GROUP = 8192
"""Rows per Parquet row group: few enough that a reader's memory stays bounded at 3584-wide vectors."""
_PIECE = 1024
"""Rows that are read at a time where little memory is to be used."""
_ROW_GROUP_TEXT = 1 << 26
"""Bytes of text in a row group."""

_LATER_COLUMNS = frozenset({"finish_reason", "score_source"})
"""Columns that banks made before do not have: nothing is known there."""
_NEVER_NULL = frozenset({"row", "dataset", "index", "query", "status"})


def query_schema(dimension: int, dtype: VectorDtype) -> pa.Schema:
    """One row a question, in bank order; `row` is its position and never changes."""
    import pyarrow as pa

    return pa.schema(
        [
            ("row", pa.int64()),
            ("dataset", pa.string()),
            ("index", pa.string()),
            ("order", pa.int64()),
            ("split", pa.string()),
            ("query", pa.string()),
            ("reference", pa.string()),
            ("grader", pa.string()),
            ("vector", _vector_type(dimension, dtype)),
        ]
    )


def response_schema(dimension: int, dtype: VectorDtype) -> pa.Schema:
    """One row an answer of one model; `row` names the question. Unknown is null."""
    import pyarrow as pa

    return pa.schema(
        [
            ("row", pa.int64()),
            ("status", pa.string()),
            ("score", pa.float64()),
            ("score_source", pa.string()),
            ("prompt_tokens", pa.int64()),
            ("completion_tokens", pa.int64()),
            ("cost_usd", pa.float64()),
            ("error", pa.string()),
            ("finish_reason", pa.string()),
            ("response", pa.string()),
            ("vector", _vector_type(dimension, dtype)),
        ]
    )


def row_groups(sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Yield slices of rows that make one row group each, so that neither writer nor reader needs much memory.

    Args:
        sizes: Bytes of text in each row (n,).
    """
    start = 0
    while start < len(sizes):
        total = np.cumsum(sizes[start : start + _ROW_GROUP])
        end = start + max(1, int(np.searchsorted(total, _ROW_GROUP_TEXT, side="right")))
        yield slice(start, end)
        start = end


@dataclass(frozen=True, slots=True)
class StagedPart:
    """A part that is complete and on disk, under a hidden name that readers of the bank ignore.

    Attributes:
        part: How the manifest names it.
        temporary: Where it is.
    """

    part: PartFile
    temporary: Path

    def publish(self, bank: Path) -> None:
        """Give it the name that the manifest uses."""
        self.temporary.replace(bank / self.part.path)


def write_part(bank: Path, folder: str, stem: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> PartFile:
    """Write an immutable part under a name that its contents decide; return how the manifest names it.

    The file is complete and on disk under its final name, or not there at all. See `stage_part` for the arguments.
    """
    staged = stage_part(bank, folder, stem, schema, tables)
    staged.publish(bank)
    return staged.part


def stage_part(bank: Path, folder: str, stem: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> StagedPart:
    """Write a part that will be published later, together with others.

    Args:
        bank: The bank's folder.
        folder: The part's, inside it.
        stem: How its name begins.
        schema: Of every table.
        tables: The rows, in pieces that are made as they are written.
    """
    target_folder = bank / folder
    target_folder.mkdir(parents=True, exist_ok=True)
    temporary = target_folder / f".{stem}.{os.getpid()}.part"
    try:
        rows = _write_tables(temporary, schema, tables)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    digest = file_sha256(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    # Only a bank's first table of questions has the plain name: under a name that comes again with other
    # contents, a reader of the bank before would find the rows of the bank after. In an object store, where several
    # may write one bank at a time, that name could come again, too.
    plain = stem == "queries" and not (bank / MANIFEST_NAME).exists() and not is_copy(bank)
    target = target_folder / (f"{stem}.parquet" if plain else f"{stem}-{digest[:12]}.parquet")
    return StagedPart(PartFile(target.relative_to(bank).as_posix(), rows, digest), temporary)


def _write_tables(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write tables one after another; return how many rows that were."""
    import pyarrow.parquet as pq

    leaves = [_VECTOR_LEAF if name == "vector" else name for name in schema.names]
    # Vectors are noise to a dictionary and to a compressor: plain pages are read several times as fast.
    others = [leaf for leaf in leaves if leaf != _VECTOR_LEAF]
    compression = {leaf: "none" if leaf == _VECTOR_LEAF else "zstd" for leaf in leaves}
    rows = 0
    with pq.ParquetWriter(
        path, schema, compression=compression, use_dictionary=others, write_statistics=others
    ) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=_ROW_GROUP)
            rows += table.num_rows
    return rows


def read_part(
    bank: Path, part: PartFile, columns: list[str], required: pa.Schema, codes: Sequence[str] = ()
) -> pa.Table:
    """Read some columns of a part.

    Args:
        bank: The bank's folder.
        part: The part.
        columns: Names of columns.
        required: The schema that they must have.
        codes: Columns that are read as codes, for `coded`.

    Raises:
        BankError: The file is missing, truncated, or of another shape than the manifest says.
        JisiError: Memory does not suffice to read it.
    """
    with _opened(bank, part, codes) as file:
        with bounded_memory(_size(bank, part)):
            found = file.read(columns=columns)
        table = _checked(bank, part, found, columns, required)
        if table.num_rows != part.rows:
            raise _other_than_said(bank, bank / part.path)
        return table


def read_pieces(bank: Path, part: PartFile, columns: list[str], required: pa.Schema) -> Iterator[pa.Table]:
    """Yield some columns of a part, so many rows at a time that little memory is needed.

    Raises:
        BankError: The file is missing, truncated, or of another shape than the manifest says.
        JisiError: Memory does not suffice to read it.
    """
    import pyarrow as pa

    rows = 0
    with _opened(bank, part) as file:
        batches = file.iter_batches(batch_size=_PIECE, columns=columns)
        while True:
            with bounded_memory(_size(bank, part)):
                batch = next(batches, None)
            if batch is None:
                break
            rows += batch.num_rows
            yield _checked(bank, part, pa.Table.from_batches([batch]), columns, required)
    if rows != part.rows:
        raise _other_than_said(bank, bank / part.path)


def read_rows(bank: Path, part: PartFile, rows: NDArray[np.intp], columns: list[str], required: pa.Schema) -> pa.Table:
    """Read some columns of some rows of a part, of which only the row groups that hold them are touched.

    Args:
        bank: The bank's folder.
        part: The part.
        rows: Rows of the part, counted from 0, ascending.
        columns: Names of columns.
        required: The schema that they must have.

    Raises:
        BankError: The file is missing, truncated, or of another shape than the manifest says.
        JisiError: Memory does not suffice to read it.
    """
    import pyarrow as pa

    with _opened(bank, part) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        ends = np.cumsum(sizes)
        groups = np.searchsorted(ends, rows, side="right")
        found = []
        for group in sorted(set(groups.tolist())):  # np.unique imports numpy.ma, which takes longer than all of this
            with bounded_memory(_size(bank, part)):
                read = file.read_row_group(group, columns=columns)
            table = _checked(bank, part, read, columns, required)
            found += _runs(table, rows[groups == group] - (ends[group] - sizes[group]))
        return pa.concat_tables(found) if found else required.empty_table().select(columns)


def _runs(table: pa.Table, rows: NDArray[np.intp]) -> list[pa.Table]:
    """Return some rows as slices; Arrow's `take` imports pandas where it is installed, which takes half a second."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return [table.slice(int(run[0]), len(run)) for run in runs if len(run)]


@contextlib.contextmanager
def _opened(bank: Path, part: PartFile, codes: Sequence[str] = ()) -> Iterator[Any]:
    """Open a part as a `ParquetFile`, and say in one line what is wrong with it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = part_path(bank, part)
    try:
        with open_plain(path), bounded_memory(size := _size(bank, part)):
            try:
                file = pq.ParquetFile(path, memory_map=True, read_dictionary=list(codes))
            except KeyError:  # a part from before there were all of these columns
                codes = [name for name in codes if name not in _LATER_COLUMNS]
                file = pq.ParquetFile(path, memory_map=True, read_dictionary=codes)
        check_claims(file.metadata, size)
        if file.metadata.num_rows != part.rows:
            raise _other_than_said(bank, path)
        yield file
    except KeyError:  # what is to be read as codes is not there
        raise _other_than_said(bank, path) from None
    except FileNotFoundError:
        raise BankError(
            f"{path} is missing; if the bank was replaced just now, try again, else build it again with --force"
        ) from None
    except PermissionError as error:
        raise forbidden(path) from error
    except UnfoldedError as error:
        raise BankError(f"{path} is not a part of a bank ({error}); do not use a bank from that source") from error
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not isinstance(error, ValueError) and not _CORRUPT.search(reason) and _is_as_written(path, part):
            raise JisiError(
                f"{path} is whole, but this machine cannot read it ({reason}); give jisi more memory, and run it again"
            ) from error
        raise BankError(f"{path} is broken ({reason}); build the bank again with --force") from error


def _size(bank: Path, part: PartFile) -> int:
    return part_path(bank, part).stat().st_size


def _is_as_written(path: Path, part: PartFile) -> bool:
    """Tell a damaged file from one that memory, or threads, do not suffice to read: Arrow has one error for both."""
    try:
        return file_sha256(path) == part.sha256
    except MemoryError:
        return True
    except OSError:
        return False


def _checked(bank: Path, part: PartFile, table: pa.Table, columns: list[str], required: pa.Schema) -> pa.Table:
    """Return a table that was read of a part, if it is what the schema says."""
    import pyarrow as pa

    for number, name in enumerate(columns):
        if name in _LATER_COLUMNS and name not in table.column_names:
            table = table.add_column(number, required.field(name), pa.nulls(table.num_rows, pa.string()))
    # Bytes that are not UTF-8 would raise an error later, in the code that reads them.
    texts = [field.name for field in table.schema if pa.types.is_string(_value_type(field.type))]
    table.select(texts).validate(full=True)
    wanted = pa.schema([required.field(name) for name in columns])
    has_gaps = any(table.column(name).null_count for name in table.column_names if name in _NEVER_NULL)
    if not _same_fields(table.schema, wanted) or has_gaps:
        raise _other_than_said(bank, bank / part.path)
    return table


def _other_than_said(bank: Path, path: Path) -> BankError:
    return BankError(f"{path} does not hold what {bank / MANIFEST_NAME} says; build the bank again with --force")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with open_plain(path) as file:
        # Not `file_digest`, which refuses what is empty and only looks like a file.
        digest = hashlib.sha256()
        while piece := file.read(1 << 16):
            digest.update(piece)
        return digest.hexdigest()


def _vector_type(dimension: int, dtype: VectorDtype) -> pa.DataType:
    import pyarrow as pa

    return pa.list_(pa.float16() if dtype == "float16" else pa.float32(), dimension)


def _same_fields(found: pa.Schema, wanted: pa.Schema) -> bool:
    def shape(schema: pa.Schema) -> list[tuple[str, Any]]:
        return [(field.name, _kind(field.type)) for field in schema]

    return shape(found) == shape(wanted)


def _value_type(data_type: pa.DataType) -> pa.DataType:
    """The type of a column's values, also where they are read as codes."""
    import pyarrow as pa

    return data_type.value_type if pa.types.is_dictionary(data_type) else data_type


def _kind(data_type: pa.DataType) -> object:
    """The type without the name that Parquet gives to list items."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(data_type):
        return (data_type.list_size, data_type.value_type)
    return _value_type(data_type)
