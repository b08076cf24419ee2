"""The bank's Parquet schemas, and vectors in and out of Arrow columns."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.manifest import MANIFEST_NAME, PartFile, VectorDtype
from jisi_cli.errors import BankError

if TYPE_CHECKING:
    import pyarrow as pa

_VECTOR_LEAF = "vector.list.element"
_ROW_GROUP = 8192
"""Rows per Parquet row group: few enough that a reader's memory stays bounded at 3584-wide vectors."""

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
            ("prompt_tokens", pa.int64()),
            ("completion_tokens", pa.int64()),
            ("cost_usd", pa.float64()),
            ("error", pa.string()),
            ("response", pa.string()),
            ("vector", _vector_type(dimension, dtype)),
        ]
    )


def vector_column(
    vectors: NDArray[np.floating], dtype: VectorDtype, known: NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return unit rows (n, d) as an Arrow column; rows that are not known become null."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(vectors, dtype=dtype).reshape(-1))
    mask = None if known is None else pa.array(~known)
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=mask)


def column_vectors(column: pa.ChunkedArray, dimension: int) -> NDArray[np.floating]:
    """Return an Arrow vector column as rows (n, d); null rows become zero.

    Raises:
        BankError: The column is not made of vectors of that width.
    """
    import pyarrow as pa

    if not pa.types.is_fixed_size_list(column.type) or column.type.list_size != dimension:
        raise BankError(f"the bank holds {column.type} where vectors of width {dimension} belong; build it again")
    parts = []
    for chunk in column.chunks:
        flat = chunk.values.slice(chunk.offset * dimension, len(chunk) * dimension)
        rows = flat.to_numpy(zero_copy_only=False).reshape(-1, dimension)
        if chunk.null_count:
            rows = np.where(chunk.is_valid().to_numpy(zero_copy_only=False)[:, np.newaxis], rows, rows.dtype.type(0))
        parts.append(rows)
    empty: NDArray[np.floating] = np.empty((0, dimension), dtype=np.float32)
    return np.concatenate(parts) if parts else empty


def write_part(bank: Path, folder: str, stem: str, table: pa.Table) -> PartFile:
    """Write an immutable part under a name that its contents decide; return how the manifest calls it.

    The file is complete and on disk under its final name, or not there at all.
    """
    import pyarrow.parquet as pq

    target_folder = bank / folder
    target_folder.mkdir(parents=True, exist_ok=True)
    temporary = target_folder / f".{stem}.{os.getpid()}.part"
    leaves = [_VECTOR_LEAF if name == "vector" else name for name in table.column_names]
    # Vectors are noise to a dictionary and to a compressor: plain pages are read several times as fast.
    others = [leaf for leaf in leaves if leaf != _VECTOR_LEAF]
    pq.write_table(
        table,
        temporary,
        row_group_size=_ROW_GROUP,
        compression={leaf: "none" if leaf == _VECTOR_LEAF else "zstd" for leaf in leaves},
        use_dictionary=others,
        write_statistics=others,
    )
    digest = file_sha256(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    # Only a bank's first table of questions has the plain name: under a name that comes again with other
    # contents, a reader of the bank before would find the rows of the bank after.
    plain = stem == "queries" and not (bank / MANIFEST_NAME).exists()
    target = target_folder / (f"{stem}.parquet" if plain else f"{stem}-{digest[:12]}.parquet")
    temporary.replace(target)
    return PartFile(target.relative_to(bank).as_posix(), table.num_rows, digest)


def read_part(bank: Path, part: PartFile, columns: list[str], required: pa.Schema) -> pa.Table:
    """Read some columns of a part.

    Raises:
        BankError: The file is missing, truncated, or of another shape than the manifest says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = bank / part.path
    try:
        file = pq.ParquetFile(path, memory_map=True)
        if file.metadata.num_rows != part.rows:
            raise _other_than_said(bank, path)
        table = file.read(columns=columns)
        # Bytes that are no text would come up as an error in whoever reads them.
        texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
        table.select(texts).validate(full=True)
    except FileNotFoundError:
        raise BankError(
            f"{path} is missing; if the bank was replaced just now, try again, else build it again with --force"
        ) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BankError(f"{path} is broken ({reason}); build the bank again with --force") from error
    wanted = pa.schema([required.field(name) for name in columns])
    has_gaps = any(table.column(name).null_count for name in table.column_names if name in _NEVER_NULL)
    if table.num_rows != part.rows or not _same_fields(table.schema, wanted) or has_gaps:
        raise _other_than_said(bank, path)
    return table


def _other_than_said(bank: Path, path: Path) -> BankError:
    return BankError(f"{path} does not hold what {bank / MANIFEST_NAME} says; build the bank again with --force")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _vector_type(dimension: int, dtype: VectorDtype) -> pa.DataType:
    import pyarrow as pa

    return pa.list_(pa.float16() if dtype == "float16" else pa.float32(), dimension)


def _same_fields(found: pa.Schema, wanted: pa.Schema) -> bool:
    def shape(schema: pa.Schema) -> list[tuple[str, Any]]:
        return [(field.name, _kind(field.type)) for field in schema]

    return shape(found) == shape(wanted)


def _kind(data_type: pa.DataType) -> object:
    """The type without the name that Parquet gives to list items."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(data_type):
        return (data_type.list_size, data_type.value_type)
    return data_type
