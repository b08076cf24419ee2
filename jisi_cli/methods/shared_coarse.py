"""Stage 1 of a block of queries, computed once for all methods of a comparison that want the same."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Coarse, coarse_block

CoarseBlock = Callable[[BankArrays, NDArray[np.floating], Hyperparameters], Iterator[Coarse]]
"""`scoring.coarse_block`, or what stands in for it."""

_ROOM = 1 << 27
_OVERHEAD = 1024
"""Bytes that one result takes besides its arrays, about."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Stage 1 of one block.

    Attributes:
        results: For each query.
        seconds: What computing them took.
        size: Bytes that they take.
    """

    results: tuple[Coarse, ...]
    seconds: float
    size: int


class SharedCoarse:
    """Stands in for `scoring.coarse_block` and keeps what it returned, for the next method that asks for the same.

    What is kept is of one bank at a time. When there is no more room, what was not asked for longest goes.

    Args:
        room: Bytes that are kept at most.

    Attributes:
        saved: Seconds that computing took of all that was found again.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self.saved = 0.0
        self._room = room
        self._bank: BankArrays | None = None
        self._kept: dict[tuple[object, ...], _Found] = {}

    def __call__(
        self, bank: BankArrays, query_vectors: NDArray[np.floating], settings: Hyperparameters
    ) -> Iterator[Coarse]:
        """Yield exactly what `scoring.coarse_block` does."""
        if bank is not self._bank:
            self._bank = bank
            self._kept.clear()
        key = _key(query_vectors, settings)
        found = self._kept.pop(key, None)
        if found is None:
            found = _compute(bank, query_vectors, settings)
        else:
            self.saved += found.seconds
        self._keep(key, found)
        return (replace(result, k=settings.k) for result in found.results)

    def _keep(self, key: tuple[object, ...], found: _Found) -> None:
        if found.size > self._room:
            return
        self._kept[key] = found
        while sum(kept.size for kept in self._kept.values()) > self._room:
            del self._kept[next(iter(self._kept))]


def _key(query_vectors: NDArray[np.floating], settings: Hyperparameters) -> tuple[object, ...]:
    """What decides stage 1 of one bank; how many candidates there are is read off the ranking."""
    content = hashlib.sha256(np.ascontiguousarray(query_vectors).data).hexdigest()
    asked = (content, query_vectors.shape, query_vectors.dtype.str)
    return (*asked, settings.n_base, settings.gamma, settings.compat)


def _compute(bank: BankArrays, query_vectors: NDArray[np.floating], settings: Hyperparameters) -> _Found:
    started = time.perf_counter()
    results = tuple(coarse_block(bank, query_vectors, settings))
    seconds = time.perf_counter() - started
    size = sum(part.rows.nbytes + part.similarities.nbytes + part.scores.nbytes + _OVERHEAD for part in results)
    return _Found(results, seconds, size)
