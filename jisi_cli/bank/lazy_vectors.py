"""Response vectors per model, opened when a model is first compared: only the candidates' ever are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from jisi_cli.exact_sums import Rows, RowVectors


class RowsOf:
    """Some rows of an array (n, d), taken when they are asked for: what nobody asks for is never read.

    Args:
        vectors: All rows.
        rows: Which of them, n of them.
    """

    def __init__(self, vectors: NDArray[np.floating], rows: Rows) -> None:
        self._vectors, self._rows = vectors, rows

    def __getitem__(self, rows: Rows) -> NDArray[np.floating]:
        taken: NDArray[np.floating] = self._vectors[self._rows[rows]]
        return taken


class LazyVectors(Sequence[RowVectors]):
    """M arrays (n, d), each opened once and kept.

    Args:
        count: M.
        load: Returns the array of a model, by its place.
    """

    def __init__(self, count: int, load: Callable[[int], RowVectors]) -> None:
        self._count, self._load = count, load
        self._loaded: dict[int, RowVectors] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> RowVectors: ...
    @overload
    def __getitem__(self, place: slice) -> list[RowVectors]: ...
    def __getitem__(self, place: int | slice) -> RowVectors | list[RowVectors]:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(self._count))]
        if not 0 <= place < self._count:
            raise IndexError(place)
        if place not in self._loaded:
            self._loaded[place] = self._load(place)
        return self._loaded[place]
