"""Which of several ways to learn does better on train rows, by cross-validation; authors' settings or ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from jisi_cli.errors import InputError
from jisi_cli.methods.rankings import Ranking
from jisi_cli.methods.registry import parse_settings
from jisi_cli.methods.training import State, Training, TrainingData
from jisi_cli.scoring import Floats, Rows

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")

# Which of several ways to learn does better on train rows that it did not learn from: by cross-validation.


FOLDS = 3
LEAST_ROWS = 60
"""Train rows from which on a comparison says anything; with fewer there is none."""

Rank = Callable[[Floats], Sequence[Ranking]]
"""Ranks the models for query vectors (n, d)."""

Learn = Callable[[TrainingData], Rank]
"""Learns from rows how to rank."""


def cross_validated(data: TrainingData, ways: Sequence[Learn], seed: int) -> Floats:
    """Return what each way's first choices score on held-out rows: the mean over datasets of their means (W,).

    Where the first choice has no answer, the next one's counts, as in a replay. NaN for all where rows are few.

    Args:
        data: Train rows.
        ways: W ways to learn.
        seed: Seed of the folds.
    """
    count = len(data.datasets)
    found = np.full((len(ways), count), np.nan)
    if count < LEAST_ROWS:
        return np.full(len(ways), np.nan)
    folds = np.random.default_rng([seed, count]).permutation(count) % FOLDS
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        rest = some_rows(data, outside)
        for place, learn in enumerate(ways):
            rankings = learn(rest)(data.vectors[inside].astype(np.float64))
            found[place, inside] = [
                _score(data, row, ranking) for row, ranking in zip(inside.tolist(), rankings, strict=True)
            ]
    return np.array([_average(row, data.datasets) for row in found])


def some_rows(data: TrainingData, rows: Rows) -> TrainingData:
    """Return some rows of the data, in the order given."""
    return replace(
        data,
        vectors=data.vectors[rows],
        scores=data.scores[rows],
        present=data.present[rows],
        tokens=data.tokens[rows],
        datasets=tuple(data.datasets[row] for row in rows.tolist()),
        rows=data.rows[rows],
    )


def _score(data: TrainingData, row: int, ranking: Ranking) -> float:
    places = (data.models.index(name) for name in ranking)
    return next((float(data.scores[row, place]) for place in places if data.present[row, place]), math.nan)


def _average(scores: NDArray[Any], datasets: Sequence[str]) -> float:
    labels = np.array(datasets)
    means = []
    for name in sorted(set(datasets)):
        known = scores[(labels == name) & ~np.isnan(scores)].tolist()
        if known:
            means.append(math.fsum(known) / len(known))
    return math.fsum(means) / len(means) if means else math.nan


# A rival in its authors' settings or in ours: as its name asks for, or whichever does better on train rows.

_ORIGINAL = "original"
_NAMES = ("jisi's settings", "the original's settings")
_AVERAGES = "cross_validated"


class Choices(Generic[Settings]):
    """Reads from a method's name which settings to choose from: `original=yes`, `no`, or `auto` for both.

    Args:
        ours: Our settings, which the others after the name change.
        original: The original's.
    """

    def __init__(self, ours: Settings, original: Settings) -> None:
        self._ours, self._original = ours, original

    def __call__(self, name: str) -> tuple[Settings, ...]:
        """Return the settings, ours first; a name with settings of its own means ours unless it says otherwise.

        Raises:
            InputError: The name says something else.
        """
        base, *parts = name.split(":")
        said = [part.partition("=")[2] for part in parts if part.startswith(f"{_ORIGINAL}=")]
        others = ":".join((base, *(part for part in parts if not part.startswith(f"{_ORIGINAL}="))))
        wanted = said[-1] if said else "no" if parts else "auto"
        choices = {"yes": (self._original,), "no": (self._ours,), "auto": (self._ours, self._original)}
        if wanted not in choices:
            raise InputError(f"`{name}`: {_ORIGINAL} is yes, no or auto, not {wanted!r}")
        return tuple(parse_settings(others, defaults) for defaults in choices[wanted])


def averages_of(data: TrainingData, ways: Sequence[Learn], seed: int) -> State:
    """Return what ours and the original's settings score on train rows, to be kept beside what is learned."""
    return {_AVERAGES: cross_validated(data, ways, seed)}


def is_better(state: State) -> bool:
    """Whether the original's settings did at least as well; ours where too few rows tell."""
    ours, original = state[_AVERAGES].tolist()
    return bool(original >= ours)


def note_choice(state: State, training: Training | None) -> None:
    """Tell which settings were chosen, and why."""
    if training is None:
        return
    chosen = int(is_better(state))
    averages = 100 * state[_AVERAGES]
    if np.isnan(averages).any():
        training.chosen = f"{_NAMES[0]}: too few train rows to compare"
        return
    training.chosen = (
        f"{_NAMES[chosen]}: {averages[chosen]:.2f} % on train, {_NAMES[1 - chosen]} {averages[1 - chosen]:.2f}"
    )
