"""What is left of routing where a question has no vector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jisi_cli.methods.rankings import best_overall
from tests.methods.synthetic import setting


def test_models_go_by_their_mean_score_over_what_they_answered() -> None:
    bank = setting(rows=4).context.bank
    scores = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=float)
    present = np.array([[1, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0]], dtype=bool)
    # a: 2 of 3, b: 3 of 3, c: 1 of 4, d: nothing.
    assert best_overall(replace(bank, scores=scores, present=present)) == ("b", "a", "c", "d")


def test_equals_go_by_name_and_not_by_their_place_in_the_bank() -> None:
    given = setting(rows=6)
    bank = replace(given.context.bank, scores=np.ones((6, 4)))
    tied = replace(given, context=replace(given.context, bank=bank))
    assert best_overall(tied.with_models([2, 0, 3, 1]).context.bank) == ("a", "b", "c", "d")
