"""New scores for responses that lie in several parts of a bank."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.rescoring import commit_scores
from tests.bank.making import build, failed, record


def test_of_a_response_that_came_later_the_later_one_is_scored(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    build(path, [failed(record(0)), record(2), record(4)])
    build(path, [record(0)], append=True)
    before = Bank(path)
    texts, vectors = before.responses("ada"), np.array(before.response_vectors("ada"))
    assert texts[0] == record(0).response
    commit_scores(before, {"ada": {0: 0.25, 1: None}}, {0: "judge"})
    commit_scores(Bank(path), {"ada": {0: 0.5}}, {2: "regex"})
    after = Bank(path)
    np.testing.assert_array_equal(after.answers("ada").scores, [0.5, np.nan, before.answers("ada").scores[2]])
    assert after.answers("ada").status.tolist() == ["ok", "unscored", "ok"]
    assert after.responses("ada") == texts
    np.testing.assert_array_equal(after.response_vectors("ada"), vectors)
    assert [question.grader for question in after.questions] == ["judge", None, "regex"]
    # What was failed before, and what was scored before, is not written again.
    assert [part.rows for part in after.manifest.responses["ada"]] == [3, 1, 2, 1]
