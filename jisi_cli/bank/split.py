"""Train and test rows: the split of the paper's evaluation (§4.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from jisi_cli.formats.record import Split

_DIGITS = re.compile(r"([0-9]+)")


def recorded_order(indices: Sequence[str], orders: Sequence[int | None]) -> list[int]:
    """Return positions sorted by the recorded index, ascending.

    The source's own number decides where every row has one; else whole-number indices compare as
    numbers; else digits inside an index compare as numbers and the rest as text.

    Args:
        indices: The recorded index of each row.
        orders: The source's number of each row, where it has one.
    """
    if all(order is not None for order in orders):
        keys: list[tuple[object, ...]] = [(order, index) for order, index in zip(orders, indices, strict=True)]
    else:
        keys = [_natural(index) for index in indices]
    return sorted(range(len(keys)), key=keys.__getitem__)


def paper_split(count: int, fraction: float, seed: int) -> list[Split]:
    """Return the role of each of one dataset's rows, given in ascending order of their index.

    A list of positions is shuffled by a fresh legacy generator; the first int(fraction * count) are
    train. Reseeded for every dataset, so that a split does not depend on its neighbours.

    Args:
        count: Rows of the dataset.
        fraction: Share of train rows.
        seed: Seed of `numpy.random.RandomState`.
    """
    positions = list(range(count))
    np.random.RandomState(seed).shuffle(positions)  # legacy NumPy, as the paper's split is defined
    roles: list[Split] = ["test"] * count
    for position in positions[: int(fraction * count)]:
        roles[position] = "train"
    return roles


def _natural(index: str) -> tuple[object, ...]:
    # re.split with a group alternates text and digits, so equal places always hold equal types.
    parts = _DIGITS.split(index)
    return (tuple(_magnitude(part) if place % 2 else part for place, part in enumerate(parts)), index)


def _magnitude(digits: str) -> tuple[int, str]:
    """Order digits as the number they are, however many there are."""
    significant = digits.lstrip("0")
    return (len(significant), significant)
