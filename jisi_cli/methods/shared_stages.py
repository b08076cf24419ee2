"""The stages of a decision, computed once for all methods of a comparison that want the same."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Coarse, Fine, Probes, coarse_block, fine

T = TypeVar("T")

CoarseBlock = Callable[[BankArrays, NDArray[np.floating], Hyperparameters], Iterator[Coarse]]
"""`scoring.coarse_block`, or what stands in for it."""


FineStage = Callable[[BankArrays, Coarse, Probes, Hyperparameters, NDArray[np.bool_] | None], Fine]
"""`scoring.fine`, or what stands in for it."""

_COARSE_ROOM = 1 << 27
_FINE_ROOM = 1 << 26
_OVERHEAD = 1024
"""Bytes that one result takes besides its arrays, about."""


@dataclass(frozen=True, slots=True)
class _Found(Generic[T]):
    """What was computed.

    Attributes:
        results: The results.
        seconds: What computing them took.
        size: Bytes that they take.
    """

    results: T
    seconds: float
    size: int


class Shared(Generic[T]):
    """Keeps what was computed, for the next method that asks for the same.

    It keeps results of one bank at a time. When room runs out, it drops the least recently used.

    Args:
        room: Bytes that are kept at most.

    Attributes:
        saved: Seconds that it took to compute everything that was found again.
    """

    def __init__(self, room: int) -> None:
        self.saved = 0.0
        self._room, self._taken = room, 0
        self._bank: BankArrays | None = None
        self._kept: dict[tuple[object, ...], _Found[T]] = {}

    def _find(self, bank: BankArrays, key: tuple[object, ...], compute: Callable[[], T], size: Callable[[T], int]) -> T:
        if bank is not self._bank:
            self._bank, self._taken = bank, 0
            self._kept.clear()
        found = self._kept.pop(key, None)
        if found is None:
            started = time.perf_counter()
            results = compute()
            found = _Found(results, time.perf_counter() - started, size(results))
        else:
            self._taken -= found.size
            self.saved += found.seconds
        self._keep(key, found)
        return found.results

    def _keep(self, key: tuple[object, ...], found: _Found[T]) -> None:
        if found.size > self._room:
            return
        self._kept[key] = found
        self._taken += found.size
        while self._taken > self._room:
            self._taken -= self._kept.pop(next(iter(self._kept))).size


class SharedCoarse(Shared[tuple[Coarse, ...]]):
    """Stands in for `scoring.coarse_block`; the number of candidates is read off the ranking."""

    def __init__(self, room: int = _COARSE_ROOM) -> None:
        super().__init__(room)

    def __call__(
        self, bank: BankArrays, query_vectors: NDArray[np.floating], settings: Hyperparameters
    ) -> Iterator[Coarse]:
        """Yield exactly what `scoring.coarse_block` does."""
        key = (*_content(query_vectors), settings.n_base, settings.gamma, settings.compat, settings.prior)
        found = self._find(bank, key, lambda: tuple(coarse_block(bank, query_vectors, settings)), _coarse_bytes)
        return (replace(result, k=settings.k) for result in found)


class SharedFine(Shared[Fine]):
    """Stands in for `scoring.fine`."""

    def __init__(self, room: int = _FINE_ROOM) -> None:
        super().__init__(room)

    def __call__(
        self,
        bank: BankArrays,
        first: Coarse,
        probes: Probes,
        settings: Hyperparameters,
        answerable: NDArray[np.bool_] | None,
    ) -> Fine:
        """Return exactly what `scoring.fine` does."""
        given = [first.rows, first.similarities, probes.vectors, probes.completion_tokens]
        decides = (settings.epsilon, settings.sigma, settings.delta, settings.beta, settings.t)
        key = (*_content(*given), probes.models, *decides, settings.compat, settings.prior)
        if answerable is not None:
            key = (*key, answerable.tobytes())
        return self._find(bank, key, lambda: fine(bank, first, probes, settings, answerable), _fine_bytes)


def _content(*arrays: NDArray[Any]) -> tuple[object, ...]:
    """Return what is equal for equal arrays alone."""
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).data)
    return (content.digest(), *((array.shape, array.dtype.str) for array in arrays))


def _coarse_bytes(found: Sequence[Coarse]) -> int:
    return sum(part.rows.nbytes + part.similarities.nbytes + part.scores.nbytes + _OVERHEAD for part in found)


def _fine_bytes(found: Fine) -> int:
    arrays = (found.response_similarities, found.cost_similarities, found.mixed, found.kept, found.scores)
    return sum(array.nbytes for array in arrays) + _OVERHEAD
