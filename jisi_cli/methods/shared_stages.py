"""The stages of a decision, computed once for all methods of a comparison that want the same."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Coarse, Fine, Probes, coarse_block, fine_block
from jisi_cli.scoring.bank_arrays import runs

T = TypeVar("T")

Key = tuple[object, ...]
"""What is equal where results would be."""

CoarseBlock = Callable[[BankArrays, NDArray[np.floating], Hyperparameters], Iterator[Coarse]]
"""`scoring.coarse_block`, or what stands in for it."""


FineStage = Callable[[BankArrays, Coarse, Probes, Hyperparameters, NDArray[np.bool_] | None], Awaitable[Fine]]
"""`scoring.fine`, awaited: see `SharedFine`."""

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
        self._kept: dict[Key, _Found[T]] = {}

    def _find(self, bank: BankArrays, key: Key) -> _Found[T] | None:
        """Return what was computed before of the same, which then is the most recently used."""
        if bank is not self._bank:
            self._bank, self._taken = bank, 0
            self._kept.clear()
        found = self._kept.pop(key, None)
        if found is not None:
            self._taken -= found.size
            self.saved += found.seconds
            self._keep(key, found)
        return found

    def _keep(self, key: Key, found: _Found[T]) -> None:
        if found.size > self._room:
            return
        earlier = self._kept.pop(key, None)  # of a question that is in a block twice
        if earlier is not None:
            self._taken -= earlier.size
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
        found = self._find(bank, key)
        if found is None:
            started = time.perf_counter()
            results = tuple(coarse_block(bank, query_vectors, settings))
            found = _Found(results, time.perf_counter() - started, _coarse_bytes(results))
            self._keep(key, found)
        return (replace(result, k=settings.k) for result in found.results)


class _Asked(NamedTuple):
    """A question that waits for its stage 2."""

    first: Coarse
    probes: Probes
    answerable: NDArray[np.bool_] | None
    key: Key
    found: asyncio.Future[Fine]


class SharedFine(Shared[Fine]):
    """Stands in for `scoring.fine`, for many questions at once.

    Questions that are under way at the same time are decided together: the first one that gets here has all of them
    decided at the end of the event loop's turn, when every other that does not wait for a model has got here as well.
    (GraphQL's DataLoader gathers its requests in the same way.) A question that is alone waits for nothing.
    """

    def __init__(self, room: int = _FINE_ROOM) -> None:
        super().__init__(room)
        self._waiting: dict[tuple[asyncio.AbstractEventLoop, int, Hyperparameters], list[_Asked]] = {}

    async def __call__(
        self,
        bank: BankArrays,
        first: Coarse,
        probes: Probes,
        settings: Hyperparameters,
        answerable: NDArray[np.bool_] | None,
    ) -> Fine:
        """Return exactly what `scoring.fine` does."""
        key = _fine_key(first, probes, settings, answerable) if self._room else ()
        known = self._find(bank, key)
        if known is not None:
            return known.results
        loop = asyncio.get_running_loop()
        together = loop, id(bank), settings
        if together not in self._waiting:
            self._waiting[together] = []
            loop.call_soon(lambda: self._decide(bank, settings, self._waiting.pop(together)))
        found: asyncio.Future[Fine] = loop.create_future()
        self._waiting[together].append(_Asked(first, probes, answerable, key, found))
        return await found

    def _decide(self, bank: BankArrays, settings: Hyperparameters, asked: Sequence[_Asked]) -> None:
        """Compute stage 2 of the questions that wait, and let them go on in their order.

        Where they would take much memory, some are decided in each turn of the event loop: they have let go of their
        arrays before the next ones get theirs, and Ctrl-C gets its turn.
        """
        waiting = [one for one in asked if not one.found.done()]  # a question that was given up is not decided
        if not waiting:
            return
        now = next(runs(bank, np.array([len(one.first.rows) for one in waiting])))
        self._decide_run(bank, settings, waiting[now])
        asyncio.get_running_loop().call_soon(self._decide, bank, settings, waiting[now.stop :])

    def _decide_run(self, bank: BankArrays, settings: Hyperparameters, asked: Sequence[_Asked]) -> None:
        started = time.perf_counter()
        firsts, probes, answerable, _, _ = zip(*asked, strict=True)
        try:
            results = fine_block(bank, firsts, probes, settings, answerable)
        except Exception as error:
            for one in asked:
                one.found.set_exception(error)
            return
        seconds = (time.perf_counter() - started) / len(asked)
        for one, result in zip(asked, results, strict=True):
            if self._room and bank is self._bank:
                self._keep(one.key, _Found(result, seconds, _fine_bytes(result)))
            one.found.set_result(result)


def _fine_key(first: Coarse, probes: Probes, settings: Hyperparameters, answerable: NDArray[np.bool_] | None) -> Key:
    given = [first.rows, first.similarities, probes.vectors, probes.completion_tokens]
    decides = (settings.epsilon, settings.sigma, settings.delta, settings.beta, settings.t)
    known = () if answerable is None else (answerable.tobytes(),)
    return (*_content(*given), probes.models, *decides, settings.compat, settings.prior, *known)


def _content(*arrays: NDArray[Any]) -> Key:
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
