"""Cross-validation on train rows: which rows are left out together, and a bank without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.lazy_vectors import LazyVectors
from jisi_cli.scoring import BankArrays


def assign_folds(datasets: Sequence[str], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the fold of each row (n,), every dataset spread evenly over the folds.

    Datasets with fewer rows than there are folds go on where the last of them ended, so that together they fill all.

    Args:
        datasets: Dataset of each row (n,).
        count: Number of folds.
        rng: Source of the assignment.
    """
    labels = np.array(datasets)
    folds = np.empty(len(labels), dtype=np.intp)
    ended = 0
    for name in sorted(set(datasets)):
        rows = np.flatnonzero(labels == name)
        first = ended if len(rows) < count else 0
        folds[rng.permutation(rows)] = (first + np.arange(len(rows))) % count
        if len(rows) < count:
            ended += len(rows)
    return folds


def take_rows(bank: BankArrays, rows: NDArray[np.intp]) -> BankArrays:
    """Return a bank of some rows of another, in the order given."""
    vectors = bank.response_vectors
    return BankArrays(
        query_vectors=bank.query_vectors[rows],
        response_vectors=LazyVectors(len(vectors), lambda place: vectors[place][rows]),
        scores=bank.scores[rows],
        completion_tokens=bank.completion_tokens[rows],
        present=bank.present[rows],
        model_names=bank.model_names,
    )


def take_models(bank: BankArrays, models: Sequence[str]) -> BankArrays:
    """Return a bank of some models of another.

    Args:
        bank: A bank.
        models: Names among its own.
    """
    places = [bank.model_names.index(name) for name in models]
    vectors = bank.response_vectors
    return replace(
        bank,
        response_vectors=LazyVectors(len(places), lambda place: vectors[places[place]]),
        scores=bank.scores[:, places],
        completion_tokens=bank.completion_tokens[:, places],
        present=bank.present[:, places],
        model_names=tuple(models),
    )
