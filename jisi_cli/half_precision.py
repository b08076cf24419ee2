"""Half precision as fast as single: NumPy takes halves one by one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
