"""Response vectors per model, read when a model is first compared: only the candidates' ever are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class LazyVectors(Sequence[NDArray[np.floating]]):
    """M arrays (n, d), each loaded once and kept.

    Args:
        count: M.
        load: Returns the array of a model, by its place.
    """

    def __init__(self, count: int, load: Callable[[int], NDArray[np.floating]]) -> None:
        self._count, self._load = count, load
        self._loaded: dict[int, NDArray[np.floating]] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> NDArray[np.floating]: ...
    @overload
    def __getitem__(self, place: slice) -> list[NDArray[np.floating]]: ...
    def __getitem__(self, place: int | slice) -> NDArray[np.floating] | list[NDArray[np.floating]]:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(self._count))]
        if not 0 <= place < self._count:
            raise IndexError(place)
        if place not in self._loaded:
            self._loaded[place] = self._load(place)
        return self._loaded[place]
