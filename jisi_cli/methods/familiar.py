"""Stage 1 for questions of users, of which some resemble nothing in the bank; a replay has the paper's for all.

What is usual in a bank is found once and kept in the cache folder, never in the bank, which may be someone else's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.shared_stages import SharedCoarse
from jisi_cli.methods.training import read_state, state_path, write_state
from jisi_cli.scoring import BankArrays, Coarse
from jisi_cli.scoring.resemblance import by_whole_bank, usual_similarity

if TYPE_CHECKING:
    from jisi_cli.bank.bank import Bank

_ROOM = 1 << 21
"""Bytes of results that are kept: methods of one question share them, and a server has many ways of answering."""
_VERSION = 1
"""Raised whenever what is usual is found in another way."""


class FamiliarCoarse(SharedCoarse):
    """Stands in for `scoring.coarse_block` where a query unlike any of the bank is to be ranked by the whole bank.

    Args:
        bank: The bank that queries are compared with.
        arrays: Its arrays.
    """

    def __init__(self, bank: Bank, arrays: BankArrays) -> None:
        super().__init__(_ROOM)
        self._of, self._arrays = bank, arrays

    def __call__(
        self, bank: BankArrays, query_vectors: NDArray[np.floating], settings: Hyperparameters
    ) -> Iterator[Coarse]:
        """Yield what `scoring.coarse_block` does, but the whole bank for a query that resembles nothing in it."""
        for first in super().__call__(bank, query_vectors, settings):
            yield first if self.usual is None else by_whole_bank(bank, first, self.usual, settings)

    @cached_property
    def usual(self) -> float | None:
        """The similarity that 95 % of the bank's queries have to their nearest neighbour at least; None without two."""
        path = state_path("usual-similarity", self._key())
        kept = (read_state(path) or {}).get("similarity")
        if kept is not None and kept.dtype == np.float64 and kept.shape == () and -1.1 < float(kept) < 1.1:
            return float(kept)
        found = usual_similarity(self._arrays)
        if found is not None:
            write_state(path, {"similarity": np.array(found)})
        return found

    def _key(self) -> str:
        parts = [part.sha256 for part in self._of.manifest.queries]
        rows = hashlib.sha256(self._of.train_rows.astype(np.int64).tobytes()).hexdigest()
        return hashlib.sha256(repr((_VERSION, parts, rows)).encode()).hexdigest()
