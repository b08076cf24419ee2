"""An opened bank with its train and test rows drawn anew; nothing on disk changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.split import assign_split

PAPER_FRACTION = 0.7
"""Share of train rows in the paper's evaluation (§4.1)."""
_SHARED = ("questions", "keys", "_query_map", "_train_first", "_graded")
"""What does not depend on which rows are train rows, or says where the vectors lie on disk."""


class ResplitBank(Bank):
    """A bank whose rows are split by the paper's rule under another seed, whatever marks they have on disk.

    What is read of the bank is read once for all its splits.

    Args:
        bank: The bank.
        fraction: Share of train rows in each dataset, in (0, 1).
        seed: Seed of the shuffle.

    Attributes:
        whole: The bank as it is on disk.
        fraction: Share of train rows in each dataset.
        seed: Seed of the shuffle.
    """

    def __init__(self, bank: Bank, fraction: float, seed: int) -> None:
        self.__dict__.update(vars(bank))
        self.__dict__.update({name: getattr(bank, name) for name in _SHARED})
        for name in ("train_rows", "test_rows"):
            self.__dict__.pop(name, None)
        self.whole, self.fraction, self.seed = bank, fraction, seed
        marks = assign_split(self.keys, [question.order for question in self.questions], fraction, seed)
        self.__dict__["_is_test"] = np.array([marks[key] == "test" for key in self.keys], dtype=bool)

    @property
    def train_vectors(self) -> NDArray[np.float32]:
        """E^Q of the train rows (N, d), in bank order, as a copy: on disk other rows lie together."""
        return self.vectors_of(self.train_rows)
