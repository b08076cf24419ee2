"""Vectors of a build under way, appended to one file, so that a killed build goes on where it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

_HASH_BYTES = 32
_READ_ENTRIES = 4096
"""Entries read at a time when a journal is opened."""

Positions = NDArray[np.intp]


def text_key(text: str) -> bytes:
    """Return the key of a text: SHA-256 of its UTF-8 form."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class VectorJournal:
    """Fixed-width entries of (text hash, float32 vector); a half-written last one is cut off on opening.

    Only the hashes are in memory. The file is read, not mapped: a map of all of it would count as memory.

    Args:
        path: The file; one per embedder specification.
        dimension: Width d of the vectors.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._entry = np.dtype([("key", np.void, _HASH_BYTES), ("vector", np.float32, (dimension,))])
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        self._count = self._file.seek(0, os.SEEK_END) // self._entry.itemsize
        self._file.truncate(self._count * self._entry.itemsize)
        self._keys = bytearray()
        self._index: _KeyIndex | None = None
        self._file.seek(0)
        for start in range(0, self._count, _READ_ENTRIES):
            self._keys += self._read(self._file, min(_READ_ENTRIES, self._count - start))["key"].tobytes()

    def __enter__(self) -> VectorJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._indexed().distinct

    def missing(self, texts: Iterable[str]) -> Positions:
        """Return where texts that have no vector yet stand for the first time, ascending."""
        keys = bytearray()
        for text in texts:
            keys += text_key(text)
        wanted = _KeyIndex(keys)
        firsts = wanted.firsts()
        return firsts[self._indexed().find(wanted.keys[firsts]) < 0]

    def append(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Store the vectors (n, d) of n texts; they survive a kill from here on."""
        entries = np.empty(len(texts), dtype=self._entry)
        keys = b"".join(map(text_key, texts))
        entries["key"] = np.frombuffer(keys, dtype=np.dtype((np.void, _HASH_BYTES)))
        entries["vector"] = vectors
        self._write(memoryview(entries.tobytes()))
        self._keys += keys
        self._count += len(texts)
        self._index = None

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, d) of texts that are all here; this may be asked of a closed journal, too.

        Raises:
            KeyError: One is not.
        """
        keys = bytearray().join(map(text_key, texts))
        positions = self._indexed().find(np.frombuffer(keys, dtype=np.uint64).reshape(-1, _HASH_BYTES // 8))
        if (positions < 0).any():
            raise KeyError(texts[int(np.argmax(positions < 0))])
        found = np.empty((len(texts), self._entry["vector"].shape[0]), dtype=np.float32)
        with self._path.open("rb", buffering=0) as file:
            for row in np.argsort(positions, kind="stable").tolist():
                file.seek(int(positions[row]) * self._entry.itemsize)
                found[row] = self._read(file, 1)["vector"][0]
        return found

    def _indexed(self) -> _KeyIndex:
        if self._index is None:
            self._index = _KeyIndex(bytes(self._keys))
        return self._index

    def _read(self, file: FileIO, count: int) -> NDArray[np.void]:
        wanted, data = count * self._entry.itemsize, bytearray()
        while len(data) < wanted:
            piece = file.read(wanted - len(data))
            if not piece:
                raise OSError(f"{self._path} has become shorter while it was read")
            data += piece
        return np.frombuffer(data, dtype=self._entry)

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[self._file.write(data) :]


class _KeyIndex:
    """Positions of hashes, found by their first eight bytes and then compared as a whole.

    Args:
        keys: Hashes, one after another (n).
    """

    def __init__(self, keys: bytes | bytearray) -> None:
        self.keys = np.frombuffer(keys, dtype=np.uint64).reshape(-1, _HASH_BYTES // 8)
        """As numbers (n, 4)."""
        # Sorted by the whole hash; equal ones stay in the order in which they came.
        self._order = np.lexsort(self.keys.T[::-1])
        self._heads = self.keys[self._order, 0]

    @property
    def distinct(self) -> int:
        """How many different hashes there are."""
        return len(self.firsts())

    def firsts(self) -> Positions:
        """Return the position of every hash's first occurrence, ascending."""
        ordered = self.keys[self._order]
        is_first = np.ones(len(ordered), dtype=bool)
        is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        return np.sort(self._order[is_first])

    def find(self, keys: NDArray[np.uint64]) -> Positions:
        """Return the last position of each hash (m, 4), -1 for one that is not here (m,)."""
        at = np.searchsorted(self._heads, keys[:, 0], side="right") - 1
        found = np.full(len(keys), -1, dtype=np.intp)
        looking = np.flatnonzero(at >= 0)
        while len(looking):
            positions = self._order[at[looking]]
            same = (self.keys[positions] == keys[looking]).all(axis=1)
            found[looking[same]] = positions[same]
            # Two different hashes with the same first eight bytes are neighbours.
            looking = looking[~same]
            at[looking] -= 1
            looking = looking[at[looking] >= 0]
            looking = looking[self._heads[at[looking]] == keys[looking, 0]]
        return found
