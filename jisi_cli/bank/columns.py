"""Numbers in and out of Arrow columns, and texts into them.

Arrow's own `array`, `to_numpy` and `pyarrow.compute` import pandas wherever it is installed, which takes longer than
all else that a question needs of Arrow; so columns are made of, and read as, the memory that they lie in.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.manifest import VectorDtype
from jisi_cli.bank.row_file import Texts
from jisi_cli.errors import BankError
from jisi_cli.scoring.exact_sums import are_finite

if TYPE_CHECKING:
    import pyarrow as pa

_LARGEST = float(np.finfo(np.float16).max)
_NUMPY_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64"}


def vector_column(vectors: NDArray[np.floating], dtype: VectorDtype) -> pa.Array:
    """Return rows (n, d) as an Arrow column.

    What has no vector is a row of zeros and not null: before its release 26, Arrow can neither write nor read null
    lists of a fixed size in Parquet.
    """
    import pyarrow as pa

    flat = np.ascontiguousarray(vectors, dtype=dtype).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(from_numbers(flat), vectors.shape[1])


def from_numbers(values: NDArray[Any], is_unknown: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return numbers (n,) as an Arrow column of their type, null where they are unknown (n,)."""
    import pyarrow as pa

    buffers = [_validity(is_unknown), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def from_texts(texts: Texts) -> pa.Array:
    """Return texts in UTF-8 as an Arrow column, null where there is none.

    Raises:
        ValueError: One is not UTF-8, as half of a surrogate pair is not.
    """
    import pyarrow as pa

    ends = np.zeros(len(texts.sizes) + 1, dtype=np.int32)
    np.cumsum(np.maximum(texts.sizes, 0), out=ends[1:])
    is_unknown = texts.sizes < 0
    buffers = (pa.py_buffer(ends), pa.py_buffer(texts.data), _validity(is_unknown))
    column = pa.StringArray.from_buffers(len(texts.sizes), *buffers)
    column.validate(full=True)
    return column


def _validity(is_unknown: NDArray[np.bool_] | None) -> pa.Buffer | None:
    import pyarrow as pa

    if is_unknown is None or not is_unknown.any():
        return None
    return pa.py_buffer(np.packbits(~is_unknown, bitorder="little"))


def column_vectors(column: pa.ChunkedArray, part: Path) -> NDArray[np.floating]:
    """Return an Arrow vector column as rows (n, d); null rows become zero.

    Args:
        column: The column.
        part: Where it was read.

    Raises:
        BankError: A vector holds something that is not a number, or a number so large that sums would overflow.
    """
    dimension: int = column.type.list_size
    parts = []
    for chunk in column.chunks:
        flat, whole = _values(chunk.values.slice(chunk.offset * dimension, len(chunk) * dimension))
        rows = (flat if whole is None else np.where(whole, flat, flat.dtype.type(np.nan))).reshape(-1, dimension)
        if chunk.null_count:
            known = _bits(chunk.buffers()[0], chunk.offset, chunk.offset + len(chunk))
            rows = np.where(known[:, np.newaxis], rows, rows.dtype.type(0))
        if not (are_finite(rows) if rows.dtype == np.float16 else _are_bounded(rows)):
            raise BankError(f"{part} holds vectors that are no numbers; build the bank again with --force")
        parts.append(rows)
    empty: NDArray[np.floating] = np.empty((0, dimension), dtype=np.float32)
    return np.concatenate(parts) if parts else empty


def _are_bounded(rows: NDArray[np.floating]) -> bool:
    """Whether all values are numbers that float16 could hold; a NaN shows in both bounds."""
    return bool(rows.max(initial=0) <= _LARGEST and rows.min(initial=0) >= -_LARGEST)


def coded(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct texts of a column, and for each row the position of its own among them; -1 for null."""
    numbers: dict[str, int] = {}
    parts = [np.empty(0, dtype=np.int64)]
    for chunk in column.chunks:
        here = [numbers.setdefault(text, len(numbers)) for text in chunk.dictionary.to_pylist()]
        indices, known = _values(chunk.indices)
        parts.append(np.array([*here, -1], dtype=np.int64)[indices if known is None else np.where(known, indices, -1)])
    return list(numbers), np.concatenate(parts)


def number_column(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column of numbers (n,); null becomes NaN."""
    parts = [np.empty(0)]
    for chunk in column.chunks:
        values, known = _values(chunk)
        parts.append(values.astype(np.float64) if known is None else np.where(known, values, np.nan))
    return np.concatenate(parts)


def row_numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return a column of whole numbers without nulls (n,)."""
    return np.concatenate([np.empty(0, dtype=np.int64), *(_values(chunk)[0] for chunk in column.chunks)])


def _values(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the numbers of an Arrow array as they lie in memory, and which of them count; None where all do."""
    dtype = np.dtype(_NUMPY_NAMES.get(str(array.type), str(array.type)))
    bits, data = array.buffers()[:2]
    end = array.offset + len(array)
    values = np.frombuffer(data or b"", dtype=dtype, count=end if data else 0)[array.offset :]
    if not array.null_count:
        return values, None
    return values, _bits(bits, array.offset, end)


def _bits(bits: pa.Buffer, start: int, end: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=end, bitorder="little")[start:].astype(bool)
