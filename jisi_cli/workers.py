"""Work that other processes may take part in: what they make of a piece is what this process would have made of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Workers(Protocol):
    """Processes that do pieces of work, on this machine or on others."""

    @property
    def size(self) -> int:
        """How many work at one time."""
        ...

    def each(self, make: Callable[..., Callable[[T], R]], given: tuple[Any, ...], pieces: Iterable[T]) -> Iterator[R]:
        """Yield what becomes of each piece, in their order.

        Args:
            make: Makes in each process the function that is called with each piece; found by its name there.
            given: What it is made of; it travels once to each machine.
            pieces: The pieces; few are read ahead.

        Raises:
            JisiError: The function raised it, or there are no processes to be had.
        """
        ...


def usable_cores() -> int:
    """Return on how many cores this process may run: containers and batch systems often allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each_piece(
    workers: Workers | None, make: Callable[..., Callable[[T], R]], given: tuple[Any, ...], pieces: Iterable[T]
) -> Iterator[R]:
    """Yield what becomes of each piece, in their order; see `Workers.each`.

    Args:
        workers: Who does them; None for this process.
        make: Makes the function that is called with each piece.
        given: What it is made of.
        pieces: The pieces.
    """
    return map(make(*given), pieces) if workers is None else workers.each(make, given, pieces)
