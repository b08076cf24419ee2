"""A bank split anew in memory: the rows of the paper's rule, the right vectors beside them, and the bank untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.resplit import ResplitBank
from jisi_cli.bank.split import assign_split
from tests.cli.evaluation_data import build


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("resplit"))


def test_the_rows_are_those_of_the_papers_rule(path: Path) -> None:
    bank = Bank(path)
    marks = assign_split(bank.keys, [question.order for question in bank.questions], 0.6, 7)
    found = ResplitBank(bank, 0.6, 7)
    assert [bank.keys[row] for row in found.test_rows.tolist()] == [key for key in bank.keys if marks[key] == "test"]
    assert sorted([*found.train_rows.tolist(), *found.test_rows.tolist()]) == list(range(bank.rows))


def test_the_banks_own_seed_gives_its_own_rows_and_arrays(path: Path) -> None:
    bank = Bank(path)
    again = ResplitBank(bank, 0.7, 42)
    assert np.array_equal(again.train_rows, bank.train_rows)
    ours, theirs = again.arrays(), bank.arrays()
    for name in ("query_vectors", "scores", "completion_tokens", "present"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name), equal_nan=True)
    rows = np.arange(len(ours.scores))
    for place in range(len(ours.model_names)):
        assert np.array_equal(ours.response_vectors[place][rows], theirs.response_vectors[place][rows])


@pytest.mark.parametrize("seed", [1, 43])
def test_every_row_keeps_its_own_vectors_and_scores(path: Path, seed: int) -> None:
    bank, fresh = ResplitBank(Bank(path), 0.7, seed), Bank(path)
    rows, whole = bank.train_rows, fresh.arrays(rows=np.arange(fresh.rows))
    assert not np.array_equal(rows, fresh.train_rows)
    arrays = bank.arrays()
    assert np.array_equal(arrays.query_vectors, whole.query_vectors[rows])
    assert np.array_equal(bank.vectors_of(bank.test_rows), whole.query_vectors[bank.test_rows])
    assert np.array_equal(arrays.scores, whole.scores[rows])
    places = np.arange(len(rows))
    assert np.array_equal(arrays.response_vectors[1][places], whole.response_vectors[1][rows])


def test_splitting_changes_neither_the_opened_bank_nor_the_disk(path: Path) -> None:
    bank = Bank(path)
    before, files = bank.train_rows.copy(), {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    vectors = bank.train_vectors.copy()
    for seed in (42, 43):
        ResplitBank(bank, 0.7, seed).arrays()
    assert np.array_equal(bank.train_rows, before) and np.array_equal(bank.train_vectors, vectors)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == files
