"""Vectors of a bank, opened when they are needed: flat files, made from the Parquet parts, that are mapped into memory.

A map's name is a hash of the parts it was made of (contents, size, and the time at which this machine last changed the
file, so that a map inside a downloaded bank matches nothing). It appears whole or not at all, so any number of
processes may make it at once. Where none can be made (a folder of somebody else, a full disk), the vectors are read
into memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.manifest import PartFile, VectorDtype, part_path
from jisi_cli.bank.tables import file_sha256
from jisi_cli.scoring.exact_sums import Rows, RowVectors, longest_row

MAPS = ".maps"
_VERSION = 1
_LEAST_BYTES = 8 << 20
"""Smaller vectors are read from Parquet in no noticeable time."""
_ABANDONED_SECONDS = 3600
_BOUND = np.dtype(np.float64)

Pieces = Callable[[], Iterator[tuple[NDArray[np.intp], NDArray[np.floating]]]]
"""Gives rows and their vectors, piece by piece; what it does not give is zero."""


class VectorMap(NamedTuple):
    """Vectors (n, d), read-only.

    Attributes:
        vectors: The rows.
        longest: At least the norm of the longest row; None where it is not known yet.
    """

    vectors: NDArray[np.floating]
    longest: float | None


def map_vectors(
    bank: Path, what: str, parts: Sequence[PartFile], shape: tuple[int, int], dtype: VectorDtype, pieces: Pieces
) -> VectorMap:
    """Return vectors from their map, which is made if it is not there.

    Args:
        bank: The bank's folder.
        what: What the rows are, as part of the map's name.
        parts: What they are made of.
        shape: (n, d).
        dtype: Their precision.
        pieces: Reads them from the parts.

    Raises:
        BankError: A part is missing or broken.
    """
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    # A downloaded bank may have a link instead, to some folder outside of it.
    if size >= _LEAST_BYTES and not (bank / MAPS).is_symlink():
        with contextlib.suppress(OSError):
            path = bank / MAPS / f"{what}-{_name(bank, parts, shape, dtype)}"
            found = _open(path, shape, dtype)
            if found is None and all(file_sha256(part_path(bank, part)) == part.sha256 for part in parts):
                found = _make(path, part_path(bank, parts[0]), shape, dtype, pieces)
            if found is not None:
                return found
    vectors = np.zeros(shape, dtype=dtype)
    for rows, values in pieces():
        vectors[rows] = values
    vectors.setflags(write=False)
    return VectorMap(vectors, None)


def remove_maps(bank: Path) -> None:
    """Delete all maps; a process that has one open keeps it."""
    shutil.rmtree(bank / MAPS, ignore_errors=True)


def _name(bank: Path, parts: Sequence[PartFile], shape: tuple[int, int], dtype: VectorDtype) -> str:
    facts: list[object] = [_VERSION, sys.byteorder, shape, dtype]
    for part in parts:
        # A part that was changed by hand keeps its entry in bank.json, so the hash there is not enough.
        found = part_path(bank, part).stat()
        facts += [part.path, part.sha256, found.st_size, found.st_ctime_ns]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _open(path: Path, shape: tuple[int, int], dtype: VectorDtype) -> VectorMap | None:
    try:
        with path.open("rb") as file:
            return _mapped(file, shape, dtype)
    except (FileNotFoundError, ValueError):
        return None


def _mapped(file: IO[bytes], shape: tuple[int, int], dtype: VectorDtype) -> VectorMap:
    """Map a finished file.

    Raises:
        ValueError: It has another size.
    """
    end = shape[0] * shape[1] * np.dtype(dtype).itemsize
    if file.seek(0, 2) != end + _BOUND.itemsize:
        raise ValueError("not a whole map")
    file.seek(end)
    longest = float(np.frombuffer(file.read(_BOUND.itemsize), dtype=_BOUND)[0])
    if not longest >= 0:
        raise ValueError("not a norm")
    vectors = np.memmap(file, dtype=dtype, mode="r", shape=shape)
    # As a plain array: every row that is taken of a memmap would drag its Python attributes along.
    return VectorMap(vectors.view(np.ndarray), longest)


def _make(path: Path, like: Path, shape: tuple[int, int], dtype: VectorDtype, pieces: Pieces) -> VectorMap:
    """Write a map with the permissions of `like`, and rename it to `path`."""
    path.parent.mkdir(exist_ok=True)
    _tidy(path)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
        try:
            # Written, not filled as a map: on a full disk that would end in a signal instead of an error.
            for rows, values in pieces():
                _write(file, rows, np.ascontiguousarray(values, dtype=dtype))
            shutil.copymode(like, file.name)
            size = shape[0] * shape[1] * np.dtype(dtype).itemsize
            file.truncate(size)
            file.flush()
            longest = longest_row(np.memmap(file, dtype=dtype, mode="r", shape=shape)) if dtype == "float32" else np.inf
            file.seek(size)
            file.write(np.array([longest], dtype=_BOUND).tobytes())
            file.flush()
            found = _mapped(file, shape, dtype)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return found


def _write(file: IO[bytes], rows: NDArray[np.intp], values: NDArray[np.floating]) -> None:
    """Write rows at their positions, neighbours at once."""
    width = values.shape[1] * values.itemsize
    ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    start = 0
    for end in ends if len(rows) else ():
        file.seek(int(rows[start]) * width)
        file.write(values[start:end].tobytes())
        start = end


def _tidy(path: Path) -> None:
    """Delete maps of the same kind that are out of date, and what killed processes left behind."""
    kind = path.name.rpartition("-")[0]
    for other in path.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process has renamed or removed it
            abandoned = other.suffix == ".part" and time.time() - other.stat().st_mtime > _ABANDONED_SECONDS
            if abandoned or other.name.rpartition("-")[0] == kind:
                other.unlink()


class RowsOf:
    """Some rows of an array (n, d), taken when they are asked for: rows that are never asked for are never read.

    Args:
        vectors: All rows.
        rows: Which of them, n of them.
    """

    def __init__(self, vectors: NDArray[np.floating], rows: Rows) -> None:
        self._vectors, self._rows = vectors, rows

    def __getitem__(self, rows: Rows) -> NDArray[np.floating]:
        taken: NDArray[np.floating] = self._vectors[self._rows[rows]]
        return taken


class LazyVectors(Sequence[RowVectors]):
    """M arrays (n, d), each opened once and kept; of response vectors, only the candidates' ever are.

    Args:
        count: M.
        load: Returns the array of a model, by its index.
    """

    def __init__(self, count: int, load: Callable[[int], RowVectors]) -> None:
        self._count, self._load = count, load
        self._loaded: dict[int, RowVectors] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> RowVectors: ...
    @overload
    def __getitem__(self, index: slice) -> list[RowVectors]: ...
    def __getitem__(self, index: int | slice) -> RowVectors | list[RowVectors]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index not in self._loaded:
            self._loaded[index] = self._load(index)
        return self._loaded[index]
