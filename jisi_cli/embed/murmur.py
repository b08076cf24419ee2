"""MurmurHash3 of many short keys at a time (Austin Appleby's MurmurHash3_x86_32, in the public domain)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_C1, _C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
_N = np.uint32(0xE6546B64)
_MIX_1, _MIX_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)


def murmur3(keys: Sequence[bytes]) -> NDArray[np.int32]:
    """Hash keys with seed 0.

    Args:
        keys: n keys; those of one length are hashed together.

    Returns:
        Signed hashes (n,), as scikit-learn's `murmurhash3_bytes_s32` returns them.
    """
    found = np.empty(len(keys), dtype=np.int32)
    places: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(len(key), []).append(place)
    for length, those in places.items():
        together = np.frombuffer(b"".join(keys[place] for place in those), dtype=np.uint8)
        found[those] = _hashed(together.reshape(len(those), length)).view(np.int32)
    return found


def _hashed(keys: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Hash the rows of an array; arithmetic on uint32 is modulo 2^32."""
    count, length = keys.shape
    whole = length // 4 * 4
    hashes = np.zeros(count, dtype=np.uint32)
    for start in range(0, whole, 4):
        block = np.ascontiguousarray(keys[:, start : start + 4]).view("<u4")[:, 0].astype(np.uint32)
        hashes = _rotated(hashes ^ _scrambled(block), 13) * np.uint32(5) + _N
    if length > whole:
        rest = np.zeros(count, dtype=np.uint32)
        for place in range(whole, length):
            rest |= keys[:, place].astype(np.uint32) << np.uint32(8 * (place - whole))
        hashes ^= _scrambled(rest)
    hashes ^= np.uint32(length)
    hashes = (hashes ^ (hashes >> np.uint32(16))) * _MIX_1
    hashes = (hashes ^ (hashes >> np.uint32(13))) * _MIX_2
    mixed: NDArray[np.uint32] = hashes ^ (hashes >> np.uint32(16))
    return mixed


def _scrambled(block: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return _rotated(block * _C1, 15) * _C2


def _rotated(numbers: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return (numbers << np.uint32(bits)) | (numbers >> np.uint32(32 - bits))
