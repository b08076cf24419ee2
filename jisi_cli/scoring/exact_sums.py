"""Sums and dot products whose value depends on the numbers alone: not on their order, not on the machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# Half precision as fast as single: NumPy takes halves one by one.


_KEPT = np.int32(-0x70000001)
"""All bits but 28 to 30, which the sign was copied into."""
_SCALE = np.float32(2.0**112)
_LARGEST = float(np.finfo(np.float16).max)
_SMALLEST = np.array([1], dtype=np.int32) << 13
"""The smallest subnormal half, where single precision has its bits."""
_INFINITE = 0x7C00
"""The bits of infinity; those of what is no number are larger."""


def to_single(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return what `halves.astype(np.float32)` does, several times as fast as NumPy, which takes them one by one.

    A half is a sign, five bits of exponent with a bias of 15 and ten of fraction. Where single precision has its own
    (bias 127), they are 2^-112 times the number, subnormal ones included, and to multiply by a power of two is exact.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _KEPT
    singles: NDArray[np.float32] = bits.view(np.float32)
    singles *= _SCALE
    # Infinity and what is no number come out as numbers; and a thread may flush subnormal numbers to zero.
    is_finite = not singles.size or max(float(singles.max()), -float(singles.min())) <= _LARGEST
    if is_finite and (_SMALLEST.view(np.float32) * _SCALE)[0] > 0:
        return singles
    return halves.astype(np.float32)


def are_finite(halves: NDArray[np.float16]) -> bool:
    """Return what `np.isfinite(halves).all()` does."""
    return not halves.size or int((halves.view(np.uint16) & 0x7FFF).max()) < _INFINITE


Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_DOT_NUMBERS = 1 << 16
"""Numbers that are multiplied at a time: what fits into a processor's own cache, as float64."""
_FEW_NUMBERS = 1000
"""Fewer are added up one by one: it is faster then."""
_MOST_PARTS = 8
ONE = np.zeros(1, dtype=np.intp)
"""Where a single piece begins."""
_TILE = 32
"""Queries that are multiplied at once with the rows of all of them, at most."""
_SHARED_NUMBERS = 1 << 21
"""Numbers of those rows that are held at a time, at most: 16 MiB of them as float64."""
_GRID = 2.0**24
"""What makes halves whole numbers."""
_LONGEST = 16.0
"""Squares of norms up to here leave 53 bits room enough."""


class RowVectors(Protocol):
    """Vectors (n, d) of which only rows are taken."""

    def __getitem__(self, rows: Rows, /) -> NDArray[np.floating]:
        """Return some rows."""
        ...


def column_sums(values: Floats, starts: Rows = ONE) -> Floats:
    """Sum each column of consecutive pieces, correctly rounded, as `math.fsum` does.

    Args:
        values: The pieces, one below the other (n, M); none is empty unless there is but one.
        starts: Where each of the B pieces begins (B,).

    Returns:
        The sums (B, M).
    """
    ends = np.append(starts[1:], len(values))
    if values.size < _FEW_NUMBERS or not np.isfinite(values).all():
        return _added_one_by_one(values, starts, ends)
    # Rump, Ogita and Oishi, "Accurate floating-point summation part I" (SIAM J. Sci. Comput. 31, 2008), lemma 3.2:
    # with sigma a power of two and n + 2 <= 2^m, |x| <= 2^-m sigma, the part q = (sigma + x) - sigma is a multiple
    # of 2^-53 sigma, x - q is exact, and so is any sum of the q, because no partial sum exceeds sigma. What is left
    # is at most 2^-53 sigma; when nothing is left, the exact sum is that of the few sums of the parts.
    rest, parts = values, [np.zeros((len(starts), values.shape[1]))]
    spread = math.ceil(math.log2(int((ends - starts).max()) + 2))
    while rest.any():
        exponent = math.frexp(float(np.abs(rest).max()))[1] + spread
        if not -900 < exponent < 1000 or len(parts) == _MOST_PARTS:
            return _added_one_by_one(values, starts, ends)
        sigma = math.ldexp(1.0, exponent)
        high = (sigma + rest) - sigma
        parts.append(np.add.reduceat(high, starts, axis=0))
        rest = rest - high
    of_each = np.stack(parts, axis=-1).reshape(-1, len(parts)).tolist()
    return np.array(list(map(math.fsum, of_each))).reshape(parts[0].shape)


def _added_one_by_one(values: Floats, starts: Rows, ends: Rows) -> Floats:
    pieces = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.array([[math.fsum(column) for column in values[start:end].T.tolist()] for start, end in pieces])


def block_dots(vectors: RowVectors, rows: Rows, starts: Rows, queries: NDArray[np.floating]) -> Floats:
    """Return what `row_dots` does for each of a block of queries, laid end to end (n,).

    Queries that share rows are multiplied with all of them at once, where that changes no bit of the products.

    Args:
        vectors: Of which rows are taken (N, d).
        rows: The rows that each query is multiplied with, ascending, laid end to end (n,).
        starts: Where those of each query begin (B,).
        queries: The queries (B, d).
    """
    out = np.empty(len(rows))
    pieces = list(map(slice, starts.tolist(), [*starts[1:].tolist(), len(rows)]))
    is_short = len(pieces) > 1 and _are_short(queries)
    for tile in _neighbours(rows, pieces) if is_short else [[place] for place in range(len(pieces))]:
        if len(tile) == 1 or not _multiply(vectors, rows, [pieces[place] for place in tile], queries[tile], out):
            for place in tile:
                out[pieces[place]] = row_dots(vectors, rows[pieces[place]], queries[place].astype(np.float64))
    return out


def _neighbours(rows: Rows, pieces: Sequence[slice]) -> Iterator[list[int]]:
    """Yield places of queries that share half their rows with the others of a tile."""
    is_there = np.zeros(int(rows.max(initial=0)) + 1, dtype=bool)
    tile: list[int] = []
    for place in sorted(range(len(pieces)), key=rows[[piece.start for piece in pieces]].tolist().__getitem__):
        own = rows[pieces[place]]
        if tile and (len(tile) == _TILE or 2 * np.count_nonzero(is_there[own]) < len(own)):
            yield tile
            is_there[:], tile = False, []
        is_there[own] = True
        tile.append(place)
    yield tile


def _multiply(
    vectors: RowVectors, rows: Rows, pieces: Sequence[slice], queries: NDArray[np.floating], out: Floats
) -> bool:
    """Fill in the dot products of a tile of queries from matrix products, unless these might change a bit of them."""
    shared, places = np.unique(np.concatenate([rows[piece] for piece in pieces]), return_inverse=True)
    exact, products, end = queries.astype(np.float64), np.empty((len(pieces), len(shared))), 0
    for start in range(0, len(shared), step := max(1, _SHARED_NUMBERS // max(1, queries.shape[1]))):
        part = vectors[shared[start : start + step]]
        if not _are_short(part):
            return False
        single = to_single(part) if part.dtype == np.float16 else part
        products[:, start : start + step] = exact @ single.astype(np.float64).T
    for product, piece in zip(products, pieces, strict=True):
        start, end = end, end + piece.stop - piece.start
        out[piece] = product[places[start:end]]
    return True


def _are_short(vectors: NDArray[np.floating]) -> bool:
    """Whether dot products of such vectors (n, d) with one another are exact, in whatever order they are added up.

    So they are of unit vectors in half precision, in whatever precision they are held: their numbers are multiples of
    2^-24, products of 2^-48, and as no partial sum exceeds the product of the norms, 53 bits hold each of them.
    """
    precision = np.float64 if vectors.dtype == np.float64 else np.float32
    for part in _parts(vectors, precision):
        with np.errstate(over="ignore"):
            scaled = part * precision(_GRID)
            squares = np.einsum("nd,nd->n", part, part)
        if not ((squares <= _LONGEST).all() and (scaled == np.rint(scaled)).all()):
            return False
    return True


def row_dots(vectors: RowVectors, rows: Rows, vector: Floats) -> Floats:
    """Row-wise float64 dot products whose value depends on the two vectors alone, not on their company."""
    out = np.empty(len(rows))
    step = max(2, _DOT_NUMBERS // max(1, len(vector)))
    for start in range(0, len(rows), step):
        part = vectors[rows[start : start + step]]
        if part.dtype == np.float16:
            part = to_single(part)  # exact, and a faster step towards float64 than NumPy's own
        # einsum sums each row on its own in an order that the width alone decides, which BLAS does not; but a single
        # row wider than NumPy's buffer (8192) it sums in another order, so that one gets company.
        pair = np.repeat(part, 2, axis=0) if len(part) == 1 else part
        out[start : start + step] = np.einsum("nd,d->n", pair.astype(np.float64), vector)[: len(part)]
    return out


def longest_row(vectors: NDArray[np.floating]) -> float:
    """Return a number that is at least the largest norm of the rows (n, d), float32 or float64."""
    width: int = vectors.shape[1]
    for precision in (np.float32, np.float64):
        if np.dtype(precision).itemsize < vectors.itemsize:
            continue  # rounding the rows themselves is outside the bound below
        limits = np.finfo(precision)
        with np.errstate(over="ignore"):
            squares = [np.einsum("nd,nd->n", part, part) for part in _parts(vectors, precision)]
        largest = max((float(part.max()) for part in squares), default=0.0)
        if math.isfinite(largest):
            break
    # A sum of d squares comes out at least (1 - d u) times the exact one (u = eps/2), but for what underflows.
    return math.sqrt(largest + 2 * width * float(limits.tiny)) * (1 + width * float(limits.eps))


def _parts(vectors: NDArray[np.floating], precision: type[np.floating]) -> Iterator[NDArray[np.floating]]:
    step = max(1, 8 * _DOT_NUMBERS // max(1, vectors.shape[1]))
    for start in range(0, len(vectors), step):
        part = vectors[start : start + step]
        # From halves by way of single precision: NumPy takes them one by one.
        yield (to_single(part) if part.dtype == np.float16 else part).astype(precision, copy=False)
