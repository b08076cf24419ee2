"""Which rows are left out together in a cross-validation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.evaluation.validation import assign_folds, spread_folds


def folds_of(datasets: list[str], count: int = 5) -> list[int]:
    return assign_folds(datasets, count, np.random.default_rng(1)).tolist()


def test_every_dataset_is_spread_evenly_over_the_folds() -> None:
    datasets = ["a"] * 23 + ["b"] * 40 + ["c"] * 7
    folds = folds_of(datasets)
    for name in "abc":
        sizes = Counter(fold for fold, dataset in zip(folds, datasets, strict=True) if dataset == name)
        assert len(sizes) == 5
        assert max(sizes.values()) - min(sizes.values()) <= 1


@pytest.mark.parametrize("size", [1, 2, 3])
def test_many_small_datasets_together_fill_all_folds(size: int) -> None:
    # With all of them in the first fold, that one had nothing to be decided by.
    datasets = [f"subject {row // size}" for row in range(20 * size)]
    sizes = Counter(folds_of(datasets))
    assert sorted(sizes) == [0, 1, 2, 3, 4]
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_one_question_alone_cannot_be_cross_validated() -> None:
    assert len(set(spread_folds(["a", "b"], 42).tolist())) == 2
    with pytest.raises(InputError, match="the bank has 1; add answers"):
        spread_folds(["a"], 42)
