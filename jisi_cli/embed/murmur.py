"""MurmurHash3 of many short keys at a time (Austin Appleby's MurmurHash3_x86_32, in the public domain)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_C1, _C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
_N = np.uint32(0xE6546B64)
_REST = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], dtype=np.uint32)
"""Masks of what is left behind the last whole block."""
_MIX_1, _MIX_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)


def murmur3(data: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.int32]:
    """Hash keys that lie in a buffer, with seed 0; arithmetic on uint32 is modulo 2^32.

    Args:
        data: The buffer.
        starts: Where each key begins (n,).
        ends: Where each ends (n,).

    Returns:
        Signed hashes (n,), as scikit-learn's `murmurhash3_bytes_s32` returns them.
    """
    lengths = ends - starts
    longest = int(lengths.max(initial=0))
    # The longest first, so that the keys that have a further block are the first ones; small numbers sort faster.
    order = np.argsort((longest - lengths).astype(np.min_scalar_type(longest)), kind="stable")
    starts, lengths = starts[order], lengths[order]
    blocks = _blocks(data)
    hashes = np.zeros(len(starts), dtype=np.uint32)
    for place, count in enumerate(np.cumsum(np.bincount(lengths // 4)[:0:-1])[::-1].tolist()):
        mixed = hashes[:count] ^ _scrambled(blocks[starts[:count] + 4 * place])
        hashes[:count] = _rotated(mixed, 13) * np.uint32(5) + _N
    hashes ^= _scrambled(blocks[starts + lengths // 4 * 4] & _REST[lengths % 4])
    hashes ^= lengths.astype(np.uint32)
    hashes = (hashes ^ (hashes >> np.uint32(16))) * _MIX_1
    hashes = (hashes ^ (hashes >> np.uint32(13))) * _MIX_2
    found = np.empty(len(hashes), dtype=np.uint32)
    found[order] = hashes ^ (hashes >> np.uint32(16))
    return found.view(np.int32)


def _blocks(data: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the four bytes from every place on as a number, with zeros after the end (n + 1,)."""
    padded = np.concatenate([data, np.zeros(4, dtype=np.uint8)])
    return np.ndarray(len(data) + 1, dtype="<u4", buffer=padded, strides=(1,)).astype(np.uint32)


def _scrambled(block: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return _rotated(block * _C1, 15) * _C2


def _rotated(numbers: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return (numbers << np.uint32(bits)) | (numbers >> np.uint32(32 - bits))
