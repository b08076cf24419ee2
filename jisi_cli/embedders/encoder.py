"""The seam inside this room: a kind of model that reads texts and gives raw vectors.

`UnitEmbedder` puts around every kind what all of them share: equal texts once, order, checks, unit length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model gets to read of one text.

    Attributes:
        length: Its size, for sorting and for batches: tokens where they are counted, else characters.
        truncated: Whether a part of the text was left out.
        text: What is sent, prompt included; empty for a model that gets tokens.
        token_ids: What is sent, special tokens and prompt included; empty for a model that gets text.
    """

    length: int
    truncated: bool
    text: str = ""
    token_ids: Sequence[int] = ()


class Encoder(Protocol):
    """One kind of model."""

    @property
    def revision(self) -> str | None:
        """What pins the weights; None for an endpoint, which nobody can pin."""
        ...

    @property
    def dimension(self) -> int | None:
        """Width of the vectors where it is known without loading or calling the model."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens that were paid for so far; 0 for a model on this machine."""
        ...

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return what is read of each text: truncated, then with the prompt before it."""
        ...

    def encode(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.floating]]:
        """Yield raw row vectors, a batch (k, d) at a time, in the order of `readings`.

        Args:
            readings: Longest first.
        """
        ...


def batches(readings: Sequence[Reading], *, most: int, volume: int | None) -> Iterator[Sequence[Reading]]:
    """Cut readings, longest first, into batches whose padding is small.

    Args:
        readings: Longest first.
        most: Readings in a batch.
        volume: Readings in a batch times the length of its longest; None for no limit. A single reading
            may exceed it.
    """
    start = 0
    while start < len(readings):
        longest = max(1, readings[start].length)
        size = most if volume is None else max(1, min(most, volume // longest))
        yield readings[start : start + size]
        start += size
