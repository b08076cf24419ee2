"""Vectors of a build under way, appended to one file, so that a killed build goes on where it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

_HASH_BYTES = 32


def text_key(text: str) -> bytes:
    """Return the key of a text: SHA-256 of its UTF-8 form."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class VectorJournal:
    """Fixed-width entries of (text hash, float32 vector); a half-written last one is cut off on opening.

    Args:
        path: The file; one per embedder specification.
        dimension: Width d of the vectors.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._entry = np.dtype([("key", np.void, _HASH_BYTES), ("vector", np.float32, (dimension,))])
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._count = self._file.seek(0, os.SEEK_END) // self._entry.itemsize
        self._file.truncate(self._count * self._entry.itemsize)
        self._entries: NDArray[np.void] = np.empty(0, dtype=self._entry)
        self._places: dict[bytes, int] = {}
        if self._count:
            self._map()
            self._places = {key.tobytes(): place for place, key in enumerate(self._entries["key"])}

    def __enter__(self) -> VectorJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Return the distinct texts that have no vector yet, in order of first appearance."""
        return [text for text in dict.fromkeys(texts) if text_key(text) not in self._places]

    def append(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Store the vectors (n, d) of n texts; they survive a kill from here on."""
        entries = np.empty(len(texts), dtype=self._entry)
        keys = [text_key(text) for text in texts]
        entries["key"] = np.frombuffer(b"".join(keys), dtype=np.dtype((np.void, _HASH_BYTES)))
        entries["vector"] = vectors
        self._file.write(entries.tobytes())
        self._file.flush()
        self._places.update({key: self._count + place for place, key in enumerate(keys)})
        self._count += len(keys)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, d) of texts that are all here."""
        if len(self._entries) < self._count:
            self._map()
        places = np.array([self._places[text_key(text)] for text in texts], dtype=np.intp)
        found: NDArray[np.float32] = self._entries["vector"][places]
        return found

    def _map(self) -> None:
        self._entries = np.memmap(self._file.name, dtype=self._entry, mode="r")
