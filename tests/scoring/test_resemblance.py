"""Which queries resemble nothing in a bank, and that such a one is ranked by the whole bank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Probes, coarse, fine, resemblance
from jisi_cli.scoring.cascade import reliabilities
from jisi_cli.scoring.resemblance import by_whole_bank, usual_similarity


def bank(size: int, seed: int = 0, *, gaps: bool = False) -> BankArrays:
    rng = np.random.default_rng(seed)
    present = rng.random((size, 3)) < 0.7 if gaps else np.ones((size, 3), dtype=bool)
    present[0] = True
    return BankArrays(
        query_vectors=unit(rng, size),
        response_vectors=[unit(rng, size) for _ in range(3)],
        scores=np.where(present, rng.integers(0, 2, (size, 3)), 0).astype(float),
        completion_tokens=rng.integers(1, 99, (size, 3)).astype(float),
        present=present,
        model_names=("a", "b", "c"),
    )


def unit(rng: np.random.Generator, size: int) -> np.ndarray:
    vectors = rng.standard_normal((size, 6)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(size=st.integers(2, 60), seed=st.integers(0, 9))
def test_what_is_usual_is_what_95_percent_of_the_queries_have(size: int, seed: int) -> None:
    arrays = bank(size, seed)
    vectors = arrays.query_vectors.astype(float)
    nearest = [max(float(v @ w) for j, w in enumerate(vectors) if j != i) for i, v in enumerate(vectors)]
    usual = usual_similarity(arrays)
    assert usual is not None
    assert sum(found >= usual - 1e-12 for found in nearest) >= 0.95 * size
    assert sum(found > usual + 1e-12 for found in nearest) < 0.95 * size  # and nothing more is


def test_of_a_large_bank_a_spread_sample_is_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = bank(500)
    whole = usual_similarity(arrays)
    monkeypatch.setattr(resemblance, "_MOST", 250)
    sample = usual_similarity(arrays)
    vectors = arrays.query_vectors.astype(float)
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -2)
    assert sample == pytest.approx(sorted(similarities.max(axis=1)[::2])[12])
    assert whole == pytest.approx(sorted(similarities.max(axis=1))[25])


def test_one_query_has_no_neighbour() -> None:
    assert usual_similarity(bank(1)) is None


def test_a_query_that_resembles_something_is_left_as_it_is() -> None:
    arrays, settings = bank(40), Hyperparameters()
    first = coarse(arrays, arrays.query_vectors[3], settings)
    assert by_whole_bank(arrays, first, 0.99, settings) is first


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("compat", ["paper", "openjisi"])
def test_a_query_unlike_any_is_ranked_by_means_over_the_bank(*, gaps: bool, compat: str) -> None:
    arrays, settings = bank(40, gaps=gaps), Hyperparameters(compat=compat, n_base=3)  # type: ignore[arg-type]
    usual = coarse(arrays, arrays.query_vectors[3], settings)
    found = by_whole_bank(arrays, usual, 1.5, settings)
    means = [arrays.scores[arrays.present[:, j], j].mean() for j in range(3)]
    assert [arrays.model_names[m] for m in found.ranking] == [
        name for _, name in sorted(zip([-m for m in means], arrays.model_names, strict=True))
    ]
    assert found.scores == pytest.approx(means if compat == "openjisi" else 40 * np.array(means))
    assert found.unlike is not None
    assert (found.unlike.nearest, found.unlike.usual) == (usual.similarities.max(), 1.5)
    assert found.unlike.rows.tolist() == usual.rows.tolist()


def test_the_cascade_takes_means_over_the_bank_for_its_reliabilities() -> None:
    arrays, settings = bank(40), Hyperparameters()
    found = by_whole_bank(arrays, coarse(arrays, arrays.query_vectors[3], settings), 1.5, settings)
    expected = np.clip(arrays.mean_scores, 0.02, 0.98)
    assert reliabilities(arrays, found.rows, found.similarities, 10.0) == pytest.approx(expected)


def test_stage_2_then_goes_by_the_responses_alone() -> None:
    arrays, settings = bank(40), Hyperparameters(delta=0.0, sigma=0.5)
    found = by_whole_bank(arrays, coarse(arrays, arrays.query_vectors[3], settings), 1.5, settings)
    probes = Probes((0,), arrays.response_vectors[0][:1], np.array([np.nan]))
    second = fine(arrays, found, probes, settings)
    alike = arrays.response_vectors[0].astype(float) @ arrays.response_vectors[0][0].astype(float)
    assert set(second.kept.tolist()) == set(np.argsort(-alike)[:20].tolist())
