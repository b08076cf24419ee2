"""The equations against the slow reference, by properties, and between block and single queries."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jisi_cli.errors import InputError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import (
    BankArrays,
    Coarse,
    Fine,
    Probes,
    bank_arrays,
    coarse,
    coarse_block,
    exact_sums,
    fine,
    fine_block,
    limit_tokens,
)
from tests.scoring.reference import decide
from tests.scoring.released import decide_released
from tests.tiers import examples

_TIE = 1e-9


@dataclass
class Case:
    """A bank, a query and what every model would answer to it."""

    bank: BankArrays
    query: np.ndarray
    answers: np.ndarray
    tokens: np.ndarray
    failed: np.ndarray


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    # A shared direction makes similarities as high as a real embedder's.
    vectors = rng.normal(size=shape) + 2 * np.eye(1, shape[-1])[0]
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def coarse_grid(rng: np.random.Generator, *shape: int) -> np.ndarray:
    # Few distinct values and exact arithmetic: ties everywhere.
    return rng.integers(-2, 3, size=shape).astype(np.float32)


def make_case(seed: int, *, rows: int, models: int, width: int, gaps: float, ties: bool) -> Case:
    rng = np.random.default_rng(seed)
    vectors = coarse_grid if ties else unit
    scores = rng.integers(0, 2, size=(rows, models)) if rng.random() < 0.7 else rng.random((rows, models)).round(1)
    tokens = rng.integers(0, 4 if ties else 900, size=(rows, models)).astype(float)
    tokens[rng.random((rows, models)) < gaps / 2] = np.nan
    bank = BankArrays(
        query_vectors=vectors(rng, rows, width),
        response_vectors=vectors(rng, models, rows, width),
        scores=scores.astype(float),
        completion_tokens=tokens,
        present=rng.random((rows, models)) >= gaps,
        model_names=tuple(rng.permutation([f"model-{j}" for j in range(models)]).tolist()),
    )
    answer_tokens = rng.integers(1, 900, size=models).astype(float)
    return Case(bank, vectors(rng, width), vectors(rng, models, width), answer_tokens, rng.random(models) < gaps / 2)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    return make_case(
        draw(st.integers(0, 2**32)),
        rows=draw(st.integers(1, 40)),
        models=draw(st.integers(1, 6)),
        width=draw(st.sampled_from([2, 3, 8])),
        gaps=draw(st.sampled_from([0.0, 0.0, 0.3, 0.9])),
        ties=draw(st.booleans()),
    )


@st.composite
def hyperparameters(draw: st.DrawFn) -> Hyperparameters:
    epsilon, sigma, delta = draw(st.sampled_from([(0.5, 0.3, 0.2), (1.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.0, 0.0, 1.0)]))
    return Hyperparameters(
        k=draw(st.integers(1, 5)),
        n_base=draw(st.integers(1, 45)),
        gamma=draw(st.sampled_from([0.0, 0.7, 0.95, 1.0])),
        beta=draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])),
        epsilon=epsilon,
        sigma=sigma,
        delta=delta,
        t=draw(st.sampled_from([0.0, 0.8, 1.0])),
        compat=draw(st.sampled_from(["paper", "openjisi"])),
        prior=draw(st.sampled_from([0.0, 0.0, 0.5, 10.0])),
    )


def probe(case: Case, first: Coarse) -> Probes:
    answered = tuple(model for model in first.candidates if not case.failed[model])
    return Probes(answered, case.answers[list(answered)], case.tokens[list(answered)])


def run(case: Case, params: Hyperparameters) -> tuple[Coarse, Fine | None]:
    first = coarse(case.bank, case.query, params)
    probes = probe(case, first)
    return first, fine(case.bank, first, probes, params, ~case.failed) if probes.models else None


def slow(case: Case, params: Hyperparameters) -> dict[str, Any]:
    ours_alone = ("switch", "u", "probe_schedule", "price_weight")
    settings_ = {name: value for name, value in params.to_json().items() if name not in ours_alone}

    def ask(model: int) -> tuple[Any, float | None]:
        return (None, None) if case.failed[model] else (case.answers[model], float(case.tokens[model]))

    return decide(
        case.bank.query_vectors,
        np.stack([case.bank.response_vectors[j] for j in range(len(case.bank.model_names))], axis=1),
        case.bank.scores,
        case.bank.completion_tokens,
        case.bank.present,
        case.bank.model_names,
        case.query,
        ask,
        answerable=(~case.failed).tolist(),
        **settings_,
    )


@settings(max_examples=examples(400), deadline=None)
@given(cases(), hyperparameters())
def test_every_stage_agrees_with_the_slow_reference(case: Case, params: Hyperparameters) -> None:
    expected = slow(case, params)
    assume(min(expected["margins"].values(), default=1) > _TIE)
    first, second = run(case, params)
    assert first.rows.tolist() == expected["support"]
    assert first.threshold == pytest.approx(expected["threshold"], rel=1e-12, abs=1e-12)
    assert first.scores == pytest.approx(expected["g"], rel=1e-9, abs=1e-12)
    assert list(first.ranking) == expected["ranking"]
    assert list(first.candidates) == expected["candidates"]
    assert first.aggregator == expected["aggregator"]
    if second is None:
        assert expected["answered"] == []
        return
    assert dict(zip(first.rows.tolist(), second.mixed, strict=True)) == pytest.approx(expected["f"], rel=1e-9, abs=1e-9)
    assert first.rows[second.kept].tolist() == expected["filtered"]
    assert second.scores == pytest.approx(expected["gf"], rel=1e-9, abs=1e-9)
    assert list(second.aggregatees) == expected["aggregatees"]


@settings(max_examples=examples(150), deadline=None)
@given(cases(), hyperparameters())
def test_a_query_in_a_block_sees_the_same_bits_as_alone(case: Case, params: Hyperparameters) -> None:
    rng = np.random.default_rng(len(case.query))
    block = np.concatenate([case.query[np.newaxis], unit(rng, 6, len(case.query)), case.bank.query_vectors[:3]])
    together = list(coarse_block(case.bank, block, params))
    for vector, seen in zip(block, together, strict=True):
        alone = coarse(case.bank, vector, params)
        assert np.array_equal(alone.rows, seen.rows)
        assert alone.similarities.tobytes() == seen.similarities.tobytes()
        assert alone.scores.tobytes() == seen.scores.tobytes()
        assert (alone.threshold, alone.ranking) == (seen.threshold, seen.ranking)


@settings(max_examples=examples(200), deadline=None)
@given(cases(), hyperparameters(), st.integers(0, 2**32))
def test_permuting_models_never_changes_a_decision(case: Case, params: Hyperparameters, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(case.bank.model_names))
    bank = replace(
        case.bank,
        response_vectors=[case.bank.response_vectors[j] for j in order],
        scores=case.bank.scores[:, order],
        completion_tokens=case.bank.completion_tokens[:, order],
        present=case.bank.present[:, order],
        model_names=tuple(case.bank.model_names[j] for j in order),
    )
    moved = Case(bank, case.query, case.answers[order], case.tokens[order], case.failed[order])
    assert names(case, *run(case, params)) == names(moved, *run(moved, params))


@settings(max_examples=examples(200), deadline=None)
@given(cases(), hyperparameters(), st.integers(0, 2**32))
def test_permuting_bank_rows_never_changes_a_decision(case: Case, params: Hyperparameters, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(case.bank.query_vectors))
    bank = replace(
        case.bank,
        query_vectors=case.bank.query_vectors[order],
        response_vectors=[vectors[order] for vectors in case.bank.response_vectors],
        scores=case.bank.scores[order],
        completion_tokens=case.bank.completion_tokens[order],
        present=case.bank.present[order],
    )
    moved = replace(case, bank=bank)
    before, after = run(case, params), run(moved, params)
    # Step 9 (and compat's nearest query) settle exact ties by bank order: there, order is meant to matter.
    assume(not cut_is_a_tie(before, params))
    assert names(case, *before) == names(moved, *after)


def cut_is_a_tie(decision: tuple[Coarse, Fine | None], params: Hyperparameters) -> bool:
    first, second = decision
    if params.compat == "openjisi" and (first.similarities <= first.threshold).any():
        return True
    if second is None or len(second.kept) == len(first.rows):
        return False
    inside = {(second.mixed[i], first.similarities[i]) for i in second.kept}
    outside = {
        (second.mixed[i], first.similarities[i]) for i in set(range(len(first.rows))) - set(second.kept.tolist())
    }
    return bool(inside & outside)


def names(case: Case, first: Coarse, second: Fine | None) -> tuple[Any, ...]:
    def named(models: tuple[int, ...]) -> list[str]:
        return [case.bank.model_names[model] for model in models]

    fine_part = (named(second.ranking), named(second.aggregatees), second.ratios) if second else None
    return named(first.ranking), first.threshold, sorted(first.similarities), fine_part


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 2**32), hyperparameters())
def test_a_complete_bank_gives_the_papers_plain_sums(seed: int, params: Hyperparameters) -> None:
    case = make_case(seed, rows=30, models=4, width=8, gaps=0.0, ties=False)
    first = coarse(case.bank, case.query, replace(params, compat="paper", prior=0.0))
    plain = [math.fsum((case.bank.scores[first.rows, j] * first.similarities).tolist()) for j in range(4)]
    assert first.scores.tolist() == plain


def test_models_that_solved_all_they_answered_tie_whatever_their_gaps() -> None:
    # By the rules of ties the mean over the bank decides then, not the rounding of a product.
    similarities = [0.90620103, 0.58060961, 0.923863, 0.95620272, 0.0]
    bank = BankArrays(
        query_vectors=np.array(similarities)[:, np.newaxis],
        response_vectors=[np.ones((5, 1))] * 3,
        scores=np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 0]], dtype=float),
        completion_tokens=np.ones((5, 3)),
        present=np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1], [0, 1, 1], [1, 1, 1]], dtype=bool),
        model_names=("a", "b", "c"),
    )
    first = coarse(bank, np.ones(1), Hyperparameters(n_base=4, gamma=0.5))
    assert set(first.scores.tolist()) == {math.fsum(similarities)}
    assert first.ranking == (1, 2, 0)


def test_a_prior_draws_scores_towards_the_means_over_the_bank() -> None:
    # By hand, with a prior of 2. Rows 0 and 1 are near, with weights 0.8 and 0.4; W = 1.2.
    # a solved row 0: (0.8 + 2 * 0.5) / (1.2 + 2) = 0.5625.  b solved row 1: (0.4 + 2 * 0.75) / 3.2 = 0.59375.
    # c answered row 1 alone of the two, and solved it: (0.4 + 2 / 3) / 2.4 = 4 / 9.  d answered none: its mean, 0.25.
    bank = BankArrays(
        query_vectors=np.array([[0.8], [0.4], [0.0], [0.0]]),
        response_vectors=[np.ones((4, 1))] * 4,
        scores=np.array([[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0.5], [0, 1, 0, 0]]),
        completion_tokens=np.ones((4, 4)),
        present=np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]], dtype=bool),
        model_names=("a", "b", "c", "d"),
    )
    settings = Hyperparameters(n_base=2, gamma=1.0, prior=2.0)
    reliable = [0.5625, 0.59375, 4 / 9, 0.25]
    first = coarse(bank, np.ones(1), settings)
    assert first.scores == pytest.approx([1.2 * share for share in reliable])
    assert first.ranking == (1, 0, 2, 3)
    assert coarse(bank, np.ones(1), replace(settings, prior=0.0)).ranking == (2, 0, 1, 3)
    means = coarse(bank, np.ones(1), replace(settings, prior=2.0, compat="openjisi")).scores
    # The released code's support set is above the threshold, not at it: row 0 alone.
    assert means == pytest.approx([1.8 / 2.8, 1.5 / 2.8, 1 / 3, 0.25])


@settings(max_examples=examples(100), deadline=None)
@given(cases(), hyperparameters())
def test_a_prior_ranks_from_the_support_set_to_the_whole_bank(case: Case, params: Hyperparameters) -> None:
    positive = replace(case.bank, query_vectors=np.abs(case.bank.query_vectors) + np.float32(0.01))
    query = np.abs(case.query) + np.float32(0.01)
    # Next to nothing: what the paper says of models that have an answer.
    least = coarse(positive, query, replace(params, prior=1e-12))
    none = coarse(positive, query, replace(params, prior=0.0))
    seen = positive.present[none.rows].any(axis=0)
    assert least.scores[seen] == pytest.approx(none.scores[seen], rel=1e-6, abs=1e-6)
    # All there is: the means over the bank.
    most = coarse(positive, query, replace(params, prior=1e9))
    weight = 1.0 if params.compat == "openjisi" else math.fsum(most.similarities.tolist())
    assert most.scores / weight == pytest.approx(positive.mean_scores, rel=1e-6, abs=1e-6)
    # In between, no model is expected to do better than in its best row, or worse than in its worst.
    some = coarse(positive, query, replace(params, prior=10.0))
    shares = some.scores / (1.0 if params.compat == "openjisi" else math.fsum(some.similarities.tolist()))
    assert (shares >= -1e-12).all()
    assert (shares <= 1 + 1e-12).all()


def test_similarities_are_float64_dot_products_even_when_the_scan_is_rounded() -> None:
    rng = np.random.default_rng(7)
    case = make_case(1, rows=500, models=2, width=384, gaps=0.0, ties=False)
    query = unit(rng, 384)
    first = coarse(case.bank, query, Hyperparameters(n_base=20))
    exact = [
        math.fsum((case.bank.query_vectors[row].astype(float) * query.astype(float)).tolist()) for row in first.rows
    ]
    assert first.similarities == pytest.approx(exact, abs=1e-14)


@pytest.mark.parametrize("gamma", [1.0, 1 - 3e-9])
@pytest.mark.parametrize("width", [64, 768])
def test_the_rounding_of_the_scan_lets_no_query_in_or_out(width: int, gamma: float) -> None:
    """Queries that differ by less than single precision can tell, at the threshold."""
    rng = np.random.default_rng(width)
    query = unit(rng, width)
    vectors = query * (1 + rng.choice([-6e-8, 0.0, 6e-8], (500, width))).astype(np.float32)
    everywhere = np.ones((500, 1))
    bank = BankArrays(vectors, [vectors], everywhere, everywhere, everywhere.astype(bool), ("a",))
    exact = vectors.astype(np.float64) @ query.astype(np.float64)
    threshold = gamma * np.sort(exact)[-50]
    assert 50 <= (exact >= threshold).sum() < 500
    found = coarse(bank, query, Hyperparameters(n_base=50, gamma=gamma))
    assert found.rows.tolist() == np.flatnonzero(exact >= threshold).tolist()


def test_a_negative_kth_similarity_keeps_the_nearest_queries() -> None:
    case = make_case(3, rows=6, models=2, width=4, gaps=0.0, ties=False)
    opposite = -case.bank.query_vectors.mean(axis=0)
    first = coarse(case.bank, opposite, Hyperparameters(n_base=4, gamma=0.5))
    assert first.kth < 0
    assert first.threshold == first.kth
    assert len(first.rows) == 4


def test_two_aggregatees_remain_when_three_responses_are_too_long() -> None:
    params = Hyperparameters(max_aggregate_tokens=100)
    assert limit_tokens([4, 2, 7], [50, 40, 10], params) == (4, 2, 7)
    assert limit_tokens([4, 2, 7], [50, 40, 11], params) == (4, 2)
    assert limit_tokens([4, 2], [500, 400], params) == (4, 2)
    assert limit_tokens([4, 2, 7], [50, 40, math.nan], params) == (4, 2, 7)
    assert limit_tokens([4, 2, 7, 1], [90, 40, 10, 10], params) == (4, 2)
    assert limit_tokens([4, 2, 7, 1], [90, 40, 10, 10], replace(params, compat="openjisi")) == (4, 2, 7)


def test_a_query_of_another_width_is_a_bug_not_a_decision() -> None:
    case = make_case(3, rows=6, models=2, width=4, gaps=0.0, ties=False)
    with pytest.raises(ValueError, match="do not fit"):
        coarse(case.bank, np.ones(5, dtype=np.float32), Hyperparameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 0}, "k must"),
        ({"gamma": 1.5}, "gamma must"),
        ({"epsilon": 0.9}, "must be 1"),
        ({"compat": "x"}, "compat"),
        ({"prior": -1}, "prior must"),
        ({"prior": math.inf}, "prior must"),
        ({"prior": math.nan}, "prior must"),
        ({"prior": True}, "prior must"),
    ],
)
def test_impossible_hyperparameters_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Hyperparameters(**change)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 7, 8, 64, 384, 3584]), st.sampled_from(["float16", "float32"]))
def test_a_similarity_depends_on_its_two_vectors_alone(seed: int, width: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    rows = unit(rng, 9, width).astype(dtype)
    query = unit(rng, width)
    order = rng.permutation(9)

    def similarities(vectors: np.ndarray) -> list[float]:
        bank = BankArrays(
            query_vectors=vectors.astype(np.float32),
            response_vectors=[vectors],
            scores=np.ones((len(vectors), 1)),
            completion_tokens=np.ones((len(vectors), 1)),
            present=np.ones((len(vectors), 1), dtype=bool),
            model_names=("a",),
        )
        return coarse(bank, query, Hyperparameters(n_base=len(vectors), gamma=0)).similarities.tolist()

    together = similarities(rows)
    assert together == [similarities(rows[[place]])[0] for place in range(9)]
    assert [together[place] for place in order] == similarities(rows[order])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-22, 1e25])
@pytest.mark.parametrize("width", [1, 3, 384])
def test_no_row_is_longer_than_the_bound_on_rows(dtype: type[np.floating], scale: float, width: int) -> None:
    with np.errstate(over="ignore"):
        vectors = (np.random.default_rng(width).normal(size=(5, width)) * scale).astype(dtype)
    vectors[~np.isfinite(vectors)] = 1.0  # float16 has no such number
    nothing = np.empty((5, 0))
    bank = BankArrays(vectors, [], nothing, nothing, nothing.astype(bool), ())
    longest_squared = max(sum(Fraction(float(value)) ** 2 for value in row) for row in vectors)
    assert Fraction(bank.longest_row) ** 2 >= longest_squared


@given(
    st.integers(1, 40),
    st.integers(1, 4),
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e300, -1e300, 5e-324, 0.1, -0.0]),
             min_size=1, max_size=60),
)  # fmt: skip
def test_many_numbers_are_added_up_as_exactly_as_few(rows: int, models: int, numbers: list[float]) -> None:
    values = np.resize(np.array(numbers), (rows, models))
    try:
        expected = [math.fsum(column) for column in values.T.tolist()]
    except OverflowError:
        return  # the sum itself is no float64
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_sums, "_FEW_NUMBERS", 0)
        assert exact_sums.column_sums(values)[0].tolist() == expected


def test_sums_that_cancel_are_exact_in_large_tables() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4000, 3)) * 10.0 ** rng.integers(-12, 12, (4000, 3))
    values = np.concatenate([values, -values[::-1], [[1e-30, 0.1, 3.0]]])
    assert exact_sums.column_sums(values)[0].tolist() == [1e-30, 0.1, 3.0]


@pytest.mark.parametrize("width", [1, 3, 384, 8192, 8193, 10_000, 20_000])
def test_a_similarity_depends_on_no_other_row(width: int) -> None:
    rng = np.random.default_rng(width)
    vectors, query = rng.standard_normal((40, width)).astype(np.float32), rng.standard_normal(width)
    together = exact_sums.row_dots(vectors, np.arange(40), query)
    alone = [exact_sums.row_dots(vectors, np.array([row]), query)[0] for row in range(40)]
    some = exact_sums.row_dots(vectors, np.arange(3, 40, 9), query)
    assert together.tolist() == alone
    assert some.tolist() == together[3::9].tolist()


def test_the_released_codes_reading_sorts_equals_by_name_alone() -> None:
    """On small banks of right and wrong, where most rankings have ties, against a program written from the table."""
    rng = np.random.default_rng(7)
    openjisi = Hyperparameters(n_base=3, compat="openjisi")
    compared = moved = 0
    for seed in range(300):
        case = make_case(seed, rows=30, models=5, width=8, gaps=0.0, ties=False)
        case.bank.scores[:] = rng.integers(0, 2, size=case.bank.scores.shape)
        answerable = rng.random(5) < 0.9
        first = coarse(case.bank, case.query, openjisi)
        answered = tuple(model for model in first.candidates if answerable[model])
        if not answered:
            continue
        arrays = (case.bank.query_vectors, np.stack(list(case.bank.response_vectors), axis=1))
        wanted = decide_released(
            *(array.astype(float) for array in arrays),
            case.bank.scores,
            case.bank.completion_tokens,
            case.bank.model_names,
            case.query.astype(float),
            case.answers.astype(float),
            case.tokens,
            answerable,
            n_base=3,
        )
        if wanted.closest < _TIE:
            continue
        probes = Probes(answered, case.answers[list(answered)], case.tokens[list(answered)])
        second = fine(case.bank, first, probes, openjisi, answerable)
        names = case.bank.model_names
        assert tuple(first.rows.tolist()) == wanted.support
        assert tuple(names[model] for model in first.ranking) == wanted.ranking
        assert tuple(names[model] for model in second.aggregatees) == wanted.aggregatees
        compared += 1
        moved += coarse(case.bank, case.query, replace(openjisi, compat="paper")).ranking != first.ranking
    assert compared > 200
    assert moved > 20


@given(cases(), hyperparameters(), st.sampled_from([1, 2, 3, 7]), st.booleans(), st.sampled_from([1, 90, 1 << 21]))
def test_a_block_decides_each_question_as_if_it_were_alone(
    case: Case, params: Hyperparameters, size: int, halves: bool, at_a_time: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bank_arrays, "_MOST_SCORES", at_a_time)
        assert_block_decides_alike(case, params, size, halves=halves)


def assert_block_decides_alike(case: Case, params: Hyperparameters, size: int, *, halves: bool) -> None:
    # In half precision dot products may come out of one matrix product.
    stored = np.float16 if halves else np.float64
    bank = replace(
        case.bank,
        query_vectors=case.bank.query_vectors.astype(stored).astype(np.float32 if halves else np.float64),
        response_vectors=[part[np.arange(len(case.bank.scores))].astype(stored) for part in case.bank.response_vectors],
    )
    rng = np.random.default_rng(len(case.tokens))
    queries = np.concatenate([case.query[np.newaxis], unit(rng, size - 1, len(case.query))]).astype(stored)
    alone = [coarse(bank, query, params) for query in queries]
    for found, expected in zip(coarse_block(bank, queries, params), alone, strict=True):
        assert_same_bits(found, expected)
    asked = [
        probe(replace(case, answers=np.roll(case.answers, place, axis=0).astype(stored)), first)
        for place, first in enumerate(alone)
    ]
    if not all(one.models for one in asked):
        return
    asked[0] = Probes(asked[0].models[:1], asked[0].vectors[:1], asked[0].completion_tokens[:1])
    asked[-1] = replace(asked[-1], completion_tokens=asked[-1].completion_tokens * np.nan)
    able = [~case.failed] * size
    for place, found in enumerate(fine_block(bank, alone, asked, params, able)):
        assert_same_bits(found, fine(bank, alone[place], asked[place], params, able[place]))


def assert_same_bits(found: object, expected: object) -> None:
    for field in fields(expected):  # type: ignore[arg-type]
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), field.name
        else:
            assert one == other, field.name


@pytest.mark.parametrize("width", [3, 384, 3584, 10_000])
@pytest.mark.parametrize("size", [2, 33, 100])
def test_dot_products_of_halves_are_the_same_from_a_matrix_product(width: int, size: int) -> None:
    rng = np.random.default_rng(width)

    def units(count: int) -> np.ndarray:
        found = rng.standard_normal((count, width))
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)

    bank, queries = units(60), units(size).astype(np.float64)
    each = [np.sort(rng.choice(60, rng.integers(40, 60), replace=False)) for _ in range(size)]
    sizes = np.array([len(rows) for rows in each])
    expected = [exact_sums.row_dots(bank, rows, query) for rows, query in zip(each, queries, strict=True)]
    products: list[bool] = []

    def noted(*arguments: Any) -> bool:
        products.append(multiplied(*arguments))
        return products[-1]

    multiplied = exact_sums._multiply
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_sums, "_multiply", noted)
        found = exact_sums.block_dots(bank, np.concatenate(each), np.cumsum(sizes) - sizes, queries)
        count = len(products)
        # Vectors that need all bits are added up one by one, in their own order.
        fine_bank = bank.astype(np.float32) * np.float32(1 / 3)
        others = exact_sums.block_dots(fine_bank, np.concatenate(each), np.cumsum(sizes) - sizes, queries)
    assert found.tolist() == np.concatenate(expected).tolist()
    assert count and products == [True] * count + [False] * count
    apart = [exact_sums.row_dots(fine_bank, rows, query) for rows, query in zip(each, queries, strict=True)]
    assert others.tolist() == np.concatenate(apart).tolist()


@pytest.mark.parametrize("which", ["bank", "queries", "both"])
def test_halves_that_are_no_unit_vectors_are_not_multiplied_where_the_order_would_tell(which: str) -> None:
    rng = np.random.default_rng(0)

    def halves(count: int, most: float) -> np.ndarray:
        found = rng.choice([-1, 1], (count, 500)) * 10 ** rng.uniform(-7, most, (count, 500))
        return found.astype(np.float16)

    bank, queries = halves(40, 4.5 if which != "queries" else -2), halves(20, 4.5 if which != "bank" else -2)
    rows, starts = np.tile(np.arange(40), 20), np.arange(20) * 40
    expected = [exact_sums.row_dots(bank, np.arange(40), query.astype(np.float64)) for query in queries]
    assert exact_sums.block_dots(bank, rows, starts, queries).tolist() == np.concatenate(expected).tolist()


def test_a_query_whose_vector_is_no_number_does_not_get_the_neighbours_of_another() -> None:
    rng = np.random.default_rng(0)
    bank = BankArrays(
        query_vectors=unit(rng, 60, 8),
        response_vectors=[unit(rng, 60, 8)] * 2,
        scores=rng.integers(0, 2, (60, 2)).astype(np.float64),
        completion_tokens=np.full((60, 2), np.nan),
        present=np.ones((60, 2), dtype=bool),
        model_names=("a", "b"),
    )
    queries = unit(rng, 3, 8)
    queries[1, 2] = np.nan
    with pytest.raises(ValueError, match="no number"):
        list(coarse_block(bank, queries, Hyperparameters()))


def test_rows_that_queries_share_are_held_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    halves, queries = (rng.uniform(-0.1, 0.1, (count, 40)).astype(np.float16) for count in (500, 3))
    held: list[int] = []

    class Vectors:
        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            held.append(len(rows))
            return halves[rows]

    monkeypatch.setattr(exact_sums, "_SHARED_NUMBERS", 64 * 40)
    found = exact_sums.block_dots(Vectors(), np.tile(np.arange(500), 3), np.array([0, 500, 1000]), queries)
    assert max(held) == 64
    assert sum(held) == 500
    expected = [exact_sums.row_dots(halves, np.arange(500), query.astype(np.float64)) for query in queries]
    assert found.tolist() == np.concatenate(expected).tolist()


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), min_size=1, max_size=9))
def test_pieces_are_added_up_each_on_its_own(pieces: list[list[float]]) -> None:
    values = np.array(list(chain.from_iterable(pieces)))
    starts = np.cumsum([0, *map(len, pieces[:-1])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_sums, "_FEW_NUMBERS", 0)
        found = exact_sums.column_sums(np.stack([values, -values], axis=1), starts)
    assert found.tolist() == [[math.fsum(piece), -math.fsum(piece)] for piece in pieces]
