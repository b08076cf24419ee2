"""Stage 1 against the bare product, a block against single queries, and both against the slow reference.

Run with `pytest tests/benchmarks --benchmark-enable --benchmark-only`; otherwise each runs once, untimed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Probes, coarse, coarse_block, fine
from tests.scoring.reference import decide

ROWS, MODELS, WIDTH, BLOCK = 8_500, 10, 384, 256
SETTINGS = Hyperparameters()


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.standard_normal(shape, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def bank() -> BankArrays:
    rng = np.random.default_rng(0)
    return BankArrays(
        query_vectors=unit(rng, ROWS, WIDTH),
        response_vectors=unit(rng, MODELS, ROWS, WIDTH).astype(np.float16),
        scores=rng.integers(0, 2, (ROWS, MODELS)).astype(float),
        completion_tokens=rng.integers(1, 2_000, (ROWS, MODELS)).astype(float),
        present=np.ones((ROWS, MODELS), dtype=bool),
        model_names=tuple(f"model-{place}" for place in range(MODELS)),
    )


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    # Of these no similarity is so near its threshold that another machine's product may put it on the other side.
    return unit(np.random.default_rng(9), BLOCK, WIDTH)


@pytest.mark.benchmark(group="one query")
def test_the_bare_product(benchmark: BenchmarkFixture, bank: BankArrays, queries: np.ndarray) -> None:
    assert benchmark(lambda: bank.query_vectors @ queries[0]).shape == (ROWS,)


@pytest.mark.benchmark(group="one query")
def test_stage_one(benchmark: BenchmarkFixture, bank: BankArrays, queries: np.ndarray) -> None:
    bank.longest_row, bank.mean_scores  # noqa: B018 - once per bank, not per query
    assert len(benchmark(coarse, bank, queries[0], SETTINGS).rows) >= SETTINGS.n_base


@pytest.mark.benchmark(group="one query")
def test_stages_two_and_three(benchmark: BenchmarkFixture, bank: BankArrays, queries: np.ndarray) -> None:
    first = coarse(bank, queries[0], SETTINGS)
    probes = Probes(first.candidates, queries[1:4], np.array([10.0, 200.0, 900.0]))
    assert benchmark(fine, bank, first, probes, SETTINGS).aggregatees


@pytest.mark.benchmark(group="a block of 256 queries")
def test_the_bare_block_product(benchmark: BenchmarkFixture, bank: BankArrays, queries: np.ndarray) -> None:
    assert benchmark(lambda: queries @ bank.query_vectors.T).shape == (BLOCK, ROWS)


@pytest.mark.benchmark(group="a block of 256 queries")
def test_stage_one_of_a_block(benchmark: BenchmarkFixture, bank: BankArrays, queries: np.ndarray) -> None:
    assert len(benchmark(lambda: list(coarse_block(bank, queries, SETTINGS)))) == BLOCK


def plain_loop(bank: BankArrays, query: np.ndarray) -> list[float]:
    """Stage 1 as one would first write it: sort every similarity, then add up model by model in Python."""
    similarities = bank.query_vectors @ query
    order = np.argsort(-similarities)
    threshold = SETTINGS.gamma * similarities[order[SETTINGS.n_base - 1]]
    support = [row for row in order if similarities[row] >= threshold]
    totals = []
    for model in range(MODELS):
        total = 0.0
        for row in support:
            total += bank.scores[row, model] * similarities[row]
        totals.append(total)
    return totals


@pytest.mark.benchmark(group="a block of 256 queries")
def test_a_plain_loop_over_the_block(benchmark: BenchmarkFixture, bank: BankArrays, queries: np.ndarray) -> None:
    totals = benchmark(lambda: [plain_loop(bank, query) for query in queries])
    assert np.allclose(totals, [first.scores for first in coarse_block(bank, queries, SETTINGS)], rtol=1e-3)


@pytest.mark.benchmark(group="one query on 300 rows")
@pytest.mark.parametrize("who", ["ours", "slow reference"])
def test_a_whole_decision(benchmark: BenchmarkFixture, bank: BankArrays, queries: np.ndarray, who: str) -> None:
    rows = 300
    small = BankArrays(
        bank.query_vectors[:rows],
        [vectors[:rows].astype(np.float32) for vectors in bank.response_vectors],
        bank.scores[:rows],
        bank.completion_tokens[:rows],
        bank.present[:rows],
        bank.model_names,
    )
    probes = (queries[1:4], np.array([10.0, 200.0, 900.0]))

    def ours() -> tuple[int, ...]:
        first = coarse(small, queries[0], SETTINGS)
        return fine(small, first, Probes(first.candidates, *probes), SETTINGS).aggregatees

    lists = (small.query_vectors.tolist(), np.stack(list(small.response_vectors), axis=1).tolist())
    facts = (small.scores.tolist(), small.completion_tokens.tolist(), small.present.tolist(), small.model_names)
    candidates = coarse(small, queries[0], SETTINGS).candidates

    def slow() -> tuple[int, ...]:
        def ask(model: int) -> tuple[list[float], float]:
            # Models beyond the candidates are asked only once everything is decided.
            place = candidates.index(model) if model in candidates else 0
            return probes[0][place].tolist(), float(probes[1][place])

        return tuple(decide(*lists, *facts, queries[0].tolist(), ask)["aggregatees"])

    chosen: Callable[[], tuple[int, ...]] = ours if who == "ours" else slow
    assert benchmark(chosen) == ours()
