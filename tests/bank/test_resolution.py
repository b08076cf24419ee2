"""How many questions tell two models apart."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.resolution import resolution
from tests.bank.making import build, record, records


def test_the_standard_error_of_a_paired_difference_by_hand(tmp_path: Path) -> None:
    # Differences of ada and bob: 1, 0, -1, 0 in sums (variance 2/3), 1, 1, 1, 0 in words (variance 1/4).
    ada, bob = [1, 1, 0, 0, 1, 1, 1, 1], [0, 1, 1, 0, 0, 0, 0, 1]
    names = ["sums"] * 4 + ["words"] * 4
    answers = [
        record(row, model, dataset=names[row], score=float(scores[row]))
        for model, scores in (("ada", ada), ("bob/7b", bob))
        for row in range(8)
    ]
    build(tmp_path / "bank", answers)
    found = resolution(Bank(tmp_path / "bank"))
    assert found is not None
    variance = (2 / 3 / 4 + 1 / 4 / 4) / 2**2
    assert (found.questions, found.standard_error) == (8, pytest.approx(math.sqrt(variance)))
    wanted = [math.ceil(8 * variance * (2.8 / gap) ** 2) for gap in (0.05, 0.02)]
    assert [(each.difference, each.questions) for each in found.enough] == [(0.05, wanted[0]), (0.02, wanted[1])]
    assert found.to_words() == (
        f"to tell two models apart that differ by 5 points takes about {wanted[0]:,} questions, "
        f"by 2 points {wanted[1]:,}"
    )


def test_the_median_over_pairs_with_gaps_and_test_rows_left_out(tmp_path: Path) -> None:
    answers = [
        replace(answer, split="test" if answer.index in ("4", "9") else "train")
        for answer in records(40)
        if not (answer.model == "cyd@home" and int(answer.index) % 5 == 0)
    ]
    build(tmp_path / "bank", answers)
    found = resolution(Bank(tmp_path / "bank"))
    by_key = {(a.dataset, a.index, a.model): a.score for a in answers if a.split == "train" and a.score is not None}
    pairs = []
    for first, second in itertools.combinations(sorted({model for *_, model in by_key}), 2):
        parts = []
        for dataset in ("sums", "words"):
            gaps = [
                score - by_key[dataset, index, second]
                for (name, index, model), score in by_key.items()
                if (name, model) == (dataset, first) and (dataset, index, second) in by_key
            ]
            parts.append(statistics.variance(gaps) / len(gaps))
        pairs.append(sum(parts) / 4)
    assert found is not None
    assert found.standard_error == pytest.approx(math.sqrt(statistics.median(pairs)))


def test_models_that_never_differ_and_models_alone_have_no_resolution(tmp_path: Path) -> None:
    same = [record(row, model, score=1.0) for row in range(6) for model in ("ada", "bob/7b")]
    build(tmp_path / "same", same)
    assert resolution(Bank(tmp_path / "same")) is None
    build(tmp_path / "alone", [record(row) for row in range(6)])
    assert resolution(Bank(tmp_path / "alone")) is None
