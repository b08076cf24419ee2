"""Train and test rows: the split of the paper's evaluation (§4.1), and the order of questions that it rests on."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from jisi_cli.formats.record import Key, Split

_DIGITS = re.compile(r"([0-9]+)")


def assign_split(
    keys: Sequence[Key], orders: Sequence[int | None], fraction: float, seed: int
) -> dict[Key, Split | None]:
    """Return whether each question is a train or a test row by the paper's rule, dataset by dataset.

    Args:
        keys: The questions, n of them.
        orders: Recorded position of each, where there is one (n).
        fraction: Share of train rows.
        seed: Seed of the shuffle.
    """
    marks: dict[Key, Split | None] = {}
    for positions in ordered_by_dataset(keys, orders):
        for position, role in zip(positions, paper_split(len(positions), fraction, seed), strict=True):
            marks[keys[position]] = role
    return marks


def ordered_by_dataset(keys: Sequence[Key], orders: Sequence[int | None]) -> Iterator[list[int]]:
    """Yield the positions of each dataset's questions by recorded index, the datasets sorted by name.

    Args:
        keys: The questions, n of them.
        orders: Recorded position of each, where there is one (n).
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for position, (dataset, _) in enumerate(keys):
        groups[dataset].append(position)
    for _, group in sorted(groups.items()):
        order = recorded_order([keys[position][1] for position in group], [orders[position] for position in group])
        yield [group[position] for position in order]


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
    train. Reseeded for every dataset, so that a split does not depend on the other datasets.

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
    # re.split with a group alternates text and digits, so equal positions always hold equal types.
    parts = _DIGITS.split(index)
    return (tuple(_magnitude(part) if number % 2 else part for number, part in enumerate(parts)), index)


def _magnitude(digits: str) -> tuple[int, str]:
    """Order digits as the number they are, however many there are."""
    significant = digits.lstrip("0")
    return (len(significant), significant)
