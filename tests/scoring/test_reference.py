"""The reference itself against arithmetic done by hand, which stands in the comments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.scoring.reference import decide

NAN = float("nan")
X, Y, Z = [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]


def near(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-12, abs=1e-15)


def answers(by_model: dict[int, tuple[list[float] | None, float | None]], asked: list[int] | None = None) -> Any:
    """An `ask` that knows these answers, fails for every other model and notes whom it was asked for."""

    def ask(model: int) -> tuple[list[float] | None, float | None]:
        if asked is not None:
            asked.append(model)
        return by_model.get(model, (None, None))

    return ask


# Four queries and three models "a", "b", "c"; the new query is e = (1, 0), so s is the first coordinate.
QUERIES = [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]]
SCORES = [[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]]
RESPONSES = [
    [[1.0, 0.0], Z, [0.0, 1.0]],
    [[0.6, 0.8], Z, [0.6, 0.8]],
    [[0.0, 1.0], Z, [1.0, 0.0]],
    [Z, Z, Z],
]
TOKENS = [[30, 1, 35], [20, 1, 25], [10, 1, 15], [999, 1, 999]]
NEW = {0: ([0.0, 1.0], 10), 1: ([1.0, 0.0], 7), 2: ([1.0, 0.0], 15)}
BANK = (QUERIES, RESPONSES, SCORES, TOKENS, [[True] * 3] * 4, ["a", "b", "c"], X)


def four_queries(ask: Any = None, **changes: Any) -> dict[str, Any]:
    settings = {"k": 2, "n_base": 3, "gamma": 0.5, "beta": 0.7, "t": 0.5} | changes
    return decide(*BANK, ask or answers(NEW), **settings)


def one_dimensional(
    similarities: list[float],
    scores: list[list[float]],
    names: list[str],
    ask: Any = None,
    present: list[list[bool]] | None = None,
    tokens: list[list[Any]] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """A bank whose similarities are given directly (d = 1, e = 1) and whose responses all equal 1."""
    n, m = len(scores), len(names)
    return decide(
        [[s] for s in similarities],
        [[[1.0]] * m for _ in range(n)],
        scores,
        tokens or [[10] * m for _ in range(n)],
        present or [[True] * m for _ in range(n)],
        names,
        [1.0],
        ask or answers({j: ([1.0], 10) for j in range(m)}),
        **settings,
    )


def test_stage_one_by_hand() -> None:
    result = four_queries()
    # The third largest of 1, 0.8, 0.6, 0 is 0.6; 0.5 * 0.6 = 0.3 lets three queries in.
    assert (result["kth"], result["threshold"]) == (0.6, 0.3)
    assert result["support"] == [0, 1, 2]
    assert result["s"] == {0: 1.0, 1: 0.8, 2: 0.6}
    # a: 1 + 0.6, b: 0.8 + 0.6, c: 1 + 0.8.
    assert result["g"] == near([1.6, 1.4, 1.8])
    assert result["ranking"] == [2, 0, 1]
    assert result["aggregator"] == 2
    assert result["candidates"] == result["answered"] == [2, 0]


def test_stage_two_by_hand() -> None:
    result = four_queries()
    # c answers (1, 0), a answers (0, 1). Row 0: 0 + 0. Row 1: 0.6 + 0.8. Row 2: 1 + 1.
    assert result["s_res"] == near({0: 0.0, 1: 1.4, 2: 2.0})
    # c used 15 tokens (225): |1225 - 225| = 1000 = cm, |625 - 225| = 400, 0 -> 0, 0.6, 1.
    # a used 10 tokens (100): |900 - 100| = 800 = cm, |400 - 100| = 300, 0 -> 0, 0.625, 1.
    assert result["s_cost"] == near({0: 0.0, 1: 1.225, 2: 2.0})
    # 0.5 * 2 * s + 0.3 * s_res + 0.2 * s_cost, K = 2:
    # 1 + 0 + 0;  0.8 + 0.42 + 0.245;  0.6 + 0.6 + 0.4.
    assert result["f"] == near({0: 1.0, 1: 1.465, 2: 1.6})
    # floor(0.7 * 3) = 2 rows, the largest first.
    assert result["filtered"] == [2, 1]
    # a solved row 2, b rows 2 and 1, c row 1.
    assert result["gf"] == near([1.6, 3.065, 1.465])


def test_stage_three_calls_an_aggregatee_that_was_no_candidate() -> None:
    asked: list[int] = []
    result = four_queries(answers(NEW, asked))
    # 1.6 / 3.065 = 0.522 >= 0.5; c (0.478) is third of K = 2 anyway.
    assert result["ratios"] == near({0: 1.6 / 3.065, 1: 1.0, 2: 1.465 / 3.065})
    assert result["aggregatees"] == result["kept"] == [1, 0]
    assert asked == [2, 0, 1]


def test_the_default_ratio_leaves_one_aggregatee() -> None:
    assert four_queries(t=0.8)["aggregatees"] == [1]


def test_the_static_variant_keeps_the_top_k() -> None:
    # a has only 0.522 of b's score.
    assert four_queries(t=0.0)["aggregatees"] == [1, 0]
    assert len(four_queries(t=0.0, k=3)["aggregatees"]) == 3


def test_an_aggregatee_without_an_answer_is_dropped_and_not_replaced() -> None:
    result = four_queries(answers({0: NEW[0], 2: NEW[2]}))
    assert result["aggregatees"] == [1, 0]
    assert result["kept"] == [0]


def test_the_margins_are_the_smallest_gaps() -> None:
    margins = four_queries()["margins"]
    # Nearest to 0.3 are 0.6 and 0; ranking 1.8, 1.6, 1.4: 0.2 / 1.8; ratio 0.522 against 0.5.
    assert margins["support"] == near(0.3)
    assert margins["ranking"] == near(0.2 / 1.8)
    assert margins["ratio"] == near(1.6 / 3.065 - 0.5)
    # Filter: 1.465 is kept, 1.0 is not; a (1.6) comes before c (1.465), b 3.065 is first.
    assert margins["filter_cut"] == near(0.465 / 1.465)
    assert margins["argmax_gf"] == near(1.465 / 3.065)
    assert margins["aggregatees"] == near(0.135 / 1.6)


def test_arrays_and_lists_decide_the_same() -> None:
    arrays = [np.asarray(part, dtype=float) for part in BANK[:4]]
    settings = {"k": 2, "n_base": 3, "gamma": 0.5, "beta": 0.7, "t": 0.5}
    ask = answers({j: (np.asarray(vector), np.int64(tokens)) for j, (vector, tokens) in NEW.items()})
    result = decide(*arrays, np.ones((4, 3), dtype=bool), BANK[5], np.asarray(X), ask, **settings)
    assert result == four_queries()


def test_openjisi_takes_means_and_the_first_candidate_of_two() -> None:
    result = four_queries(compat="openjisi")
    # 1.6 / 2.4, 1.4 / 2.4, 1.8 / 2.4.
    assert result["g"] == near([2 / 3, 7 / 12, 0.75])
    # Only c is compared: 0, 0.6, 1; costs 1000, 400, 0 over 1000 + 1e-8.
    assert result["s_res"] == near({0: 0.0, 1: 0.6, 2: 1.0})
    assert result["s_cost"] == pytest.approx({0: 1e-11, 1: 0.6, 2: 1.0}, abs=1e-10)
    # 0.5 * 1;  0.4 + 0.18 + 0.12;  0.3 + 0.3 + 0.2.
    assert result["f"] == pytest.approx({0: 0.5, 1: 0.7, 2: 0.8}, abs=1e-10)
    assert result["filtered"] == [2, 1]
    # a: 0.8 / 1.5, b: 1.5 / 1.5, c: 0.7 / 1.5.
    assert result["gf"] == pytest.approx([8 / 15, 1.0, 7 / 15], abs=1e-9)
    assert result["aggregatees"] == [1, 0]


def test_openjisi_with_three_candidates_is_the_paper_divided_by_three() -> None:
    # The 1e-8 in cm moves s_cost by less than 1e-8 / 48: b's costs |1 - 49| = 48 are the smallest.
    paper, released = four_queries(k=3), four_queries(k=3, compat="openjisi")
    assert released["f"] == pytest.approx({i: f / 3 for i, f in paper["f"].items()}, abs=1e-9)
    assert released["filtered"] == paper["filtered"]
    assert released["aggregatees"] == paper["aggregatees"]


def test_openjisi_compares_three_of_four_candidates_and_drops_one() -> None:
    responses = {0: ([1.0], 10), 1: ([0.5], 10), 2: ([0.0], 10), 3: ([-1.0], 10)}
    result = one_dimensional(
        [1.0], [[1.0, 0.9, 0.8, 0.7]], list("abcd"), answers(responses), k=4, t=0.5, compat="openjisi"
    )
    # (1 + 0.5 + 0) / 3; the fourth is not compared.
    assert result["s_res"] == near({0: 0.5})
    assert result["aggregatees"] == [0, 1, 2, 3]
    # 40 tokens > 39: one goes; the paper's rule goes down to two.
    limited = {"k": 4, "t": 0.5, "max_aggregate_tokens": 39}
    bank = ([1.0], [[1.0, 0.9, 0.8, 0.7]], list("abcd"), answers(responses))
    assert one_dimensional(*bank, **limited, compat="openjisi")["kept"] == [0, 1, 2]
    assert one_dimensional(*bank, **limited)["kept"] == [0, 1]


def test_openjisi_takes_aggregatees_only_from_models_with_a_recorded_answer() -> None:
    # Without b the best is a: 8/15, and c's 7/15 is 0.875 of it.
    result = four_queries(compat="openjisi", answerable=[True, False, True])
    assert result["aggregatees"] == [0, 2]
    assert result["ratios"] == pytest.approx({0: 1.0, 2: 7 / 8}, abs=1e-9)
    assert four_queries(answerable=[True, False, True])["aggregatees"] == [1, 0]


def test_openjisi_leaves_out_a_query_at_the_threshold() -> None:
    # gamma = 1: the threshold is 0.6 itself.
    assert four_queries(gamma=1.0)["support"] == [0, 1, 2]
    assert four_queries(gamma=1.0, compat="openjisi")["support"] == [0, 1]
    # One neighbour and gamma = 1: nobody is above 1, so the nearest it is.
    assert four_queries(gamma=1.0, n_base=1, compat="openjisi")["support"] == [0]


def test_openjisi_takes_the_first_of_equally_near_queries() -> None:
    result = one_dimensional([0.2, 0.5, 0.5], [[1], [1], [1]], ["a"], n_base=2, gamma=1.0, compat="openjisi")
    assert result["support"] == [1]


def test_a_negative_kth_keeps_the_nearest_queries() -> None:
    # kth = -0.6; 0.95 * -0.6 = -0.57 would have thrown out row 1.
    result = one_dimensional([0.6, -0.6, -1.0], [[0, 1], [1, 0], [0, 0]], ["a", "b"], n_base=2)
    assert (result["kth"], result["threshold"]) == (-0.6, -0.6)
    assert result["support"] == [0, 1]
    assert result["g"] == [-0.6, 0.6]
    strict = one_dimensional([0.6, -0.6, -1.0], [[0, 1], [1, 0], [0, 0]], ["a", "b"], n_base=2, compat="openjisi")
    assert strict["support"] == [0]


def test_ties_go_to_the_mean_score_and_then_to_the_name() -> None:
    # Everybody solved row 0 (the support); only "q" solved row 1 too. "B" < "a" < "z" by code points.
    result = one_dimensional([1.0, 0.0], [[1, 1, 1, 1], [0, 0, 1, 0]], ["z", "a", "q", "B"], n_base=1, k=3)
    assert result["support"] == [0]
    assert result["g"] == [1.0] * 4
    assert result["ranking"] == [2, 3, 1, 0]
    assert result["candidates"] == result["aggregatees"] == [2, 3, 1]
    # Exact ties are no near misses; the means 1 and 0.5 are what decided.
    assert result["margins"]["ranking"] == 0.5


def test_openjisi_looks_at_no_mean_in_a_tie() -> None:
    bank = ([1.0, 0.0], [[1, 1, 1, 1], [0, 0, 1, 0]], ["z", "a", "q", "B"])
    result = one_dimensional(*bank, n_base=1, k=3, compat="openjisi")
    assert result["g"] == [1.0] * 4
    assert result["ranking"] == [3, 1, 2, 0]
    assert result["candidates"] == result["aggregatees"] == [3, 1, 2]
    assert "ranking" not in result["margins"]


def test_ties_in_the_filter_go_to_the_larger_s_and_then_to_bank_order() -> None:
    # epsilon = 0 and equal responses and tokens: every f is 1 * 0.6 + 1 * 0.4.
    result = one_dimensional(
        [0.8, 1.0, 0.8, 1.0], [[1]] * 4, ["a"], gamma=0.5, beta=0.75, epsilon=0.0, sigma=0.6, delta=0.4
    )
    assert result["f"] == near({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0})
    assert result["filtered"] == [1, 3, 0]


def test_gaps_in_the_bank_are_scaled_up_and_their_fields_ignored() -> None:
    # Both models are present in rows 0 (s = 1) and 2 (0.6); "b" in row 1 (0.8) too.
    result = decide(
        [[1.0], [0.8], [0.6]],
        [[[1.0], [1.0]], [[NAN], [1.0]], [[0.5], [1.0]]],
        [[1, 0], [NAN, 1], [0, 1]],
        [[20, 40], [10**9, 30], [None, 10]],
        [[True, True], [False, True], [True, True]],
        ["a", "b"],
        [1.0],
        answers({0: ([1.0], 10), 1: ([1.0], 10)}),
        gamma=0.5,
        t=0.0,
    )
    # a: 1 * 2.4 / 1.6; b is complete: 0.8 + 0.6.
    assert result["g"] == near([1.5, 1.4])
    # a: 1, absent 0, 0.5; b: 1, 1, 1.
    assert result["s_res"] == near({0: 2.0, 1: 1.0, 2: 1.5})
    # a: |400 - 100| = 300 = cm -> 0; absent 0; unknown 0.
    # b: 1500 = cm -> 0; 800 -> 7/15; 0 -> 1.
    assert result["s_cost"] == near({0: 0.0, 1: 7 / 15, 2: 1.0})
    # 0.5 * 2 * s + 0.3 * s_res + 0.2 * s_cost: 1.6;  0.8 + 0.3 + 7/75;  0.6 + 0.45 + 0.2.
    assert result["f"] == near({0: 1.6, 1: 1.1 + 7 / 75, 2: 1.25})
    # floor(0.5 * 3) = 1: row 0, where both are present.
    assert result["filtered"] == [0]
    assert result["gf"] == near([1.6, 0.0])


def test_a_model_without_any_near_answer_scores_zero() -> None:
    bank = ([1.0, 0.5], [[0, 1], [1, 1]], ["a", "b"])
    gap = {"present": [[True, False], [True, True]], "gamma": 0.4}
    # b: only row 1: 0.5 * (1.5 / 0.5) = 1.5; openjisi 0.5 / 0.5 = 1; a: 0.5, openjisi 0.5 / 1.5.
    assert one_dimensional(*bank, **gap)["g"] == near([0.5, 1.5])
    assert one_dimensional(*bank, **gap, compat="openjisi")["g"] == near([1 / 3, 1.0])
    # With n_base = 1 and gamma = 0.95 only row 0 is near, and b has no answer there.
    assert one_dimensional(*bank, present=gap["present"], n_base=1)["g"] == [0.0, 0.0]


def test_the_mean_score_counts_only_recorded_answers() -> None:
    # Nothing near was solved. Over the bank: a 1/3, b 1/2 of the two rows that it has.
    result = one_dimensional(
        [1.0, 0.1, 0.1],
        [[0, 0], [1, 1], [0, NAN]],
        ["a", "b"],
        present=[[True, True], [True, True], [True, False]],
        n_base=1,
    )
    assert result["g"] == [0.0, 0.0]
    assert result["ranking"] == [1, 0]


def test_when_nothing_near_was_solved_the_first_candidate_alone_is_taken() -> None:
    result = one_dimensional([1.0, 0.0], [[0, 0, 0], [0, 1, 0]], ["a", "b", "0"], n_base=1)
    assert result["g"] == result["gf"] == [0.0, 0.0, 0.0]
    # b has the higher mean; "0" < "a".
    assert result["ranking"] == result["candidates"] == [1, 2, 0]
    assert result["aggregatees"] == result["kept"] == [1]
    assert result["ratios"] == {}


def test_one_model_is_routed_to() -> None:
    result = one_dimensional([1.0, 0.9], [[1], [1]], ["only"])
    assert result["ranking"] == result["candidates"] == result["aggregatees"] == result["kept"] == [0]


def test_one_row_is_its_own_support_and_filter() -> None:
    result = one_dimensional([0.4], [[1, 0]], ["a", "b"])
    assert (result["kth"], result["support"], result["filtered"]) == (0.4, [0], [0])
    # floor(0.5 * 1) = 0, but one stays. Equal tokens: cm = 0 and both terms are 1.
    # 0.5 * 2 * 0.4 + 0.3 * 2 + 0.2 * 2.
    assert result["f"] == near({0: 1.4})
    assert result["gf"] == near([1.4, 0.0])


def test_fewer_models_than_k_are_all_candidates() -> None:
    result = one_dimensional([1.0], [[1, 1]], ["a", "b"], k=5)
    assert result["candidates"] == result["answered"] == result["aggregatees"] == [0, 1]
    # K is 2 in step 8: 0.5 * 2 * 1 + 0.3 * 2 + 0.2 * 2.
    assert result["f"] == near({0: 2.0})


def test_k_is_the_number_that_answered() -> None:
    result = one_dimensional([1.0], [[1, 1, 1]], ["a", "b", "c"], answers({2: ([1.0], None)}))
    assert result["candidates"] == [0, 1, 2]
    assert result["answered"] == [2]
    # 0.5 * 1 * 1 + 0.3 * 1 + 0.2 * 0: unknown tokens add nothing.
    assert result["f"] == near({0: 0.8})
    # Step 11 takes the one largest gf, which is a's by name, and a had failed.
    assert result["aggregatees"] == [0]
    assert result["kept"] == []


def test_when_nothing_was_solved_a_failed_first_candidate_is_passed_over() -> None:
    result = one_dimensional([1.0], [[0, 0]], ["a", "b"], answers({1: ([1.0], 5)}))
    assert result["candidates"] == [0, 1]
    assert result["aggregatees"] == result["kept"] == [1]


@pytest.mark.parametrize("compat", ["paper", "openjisi"])
def test_when_every_candidate_fails_nothing_follows(compat: str) -> None:
    asked: list[int] = []
    result = four_queries(answers({1: NEW[1]}, asked), compat=compat)
    assert result["candidates"] == asked == [2, 0]
    assert result["answered"] == []
    for name in ("s_res", "s_cost", "f", "filtered", "gf", "ratios", "aggregatees", "kept"):
        assert not result[name]


def test_too_many_tokens_leave_two_aggregatees() -> None:
    bank = ([1.0], [[1, 1, 1]], ["a", "b", "c"], answers({0: ([1.0], 5), 1: ([1.0], None), 2: ([1.0], 8)}))
    # 5 + 0 (unknown) + 8 = 13 does not exceed 13, but exceeds 12.
    assert one_dimensional(*bank, max_aggregate_tokens=13)["kept"] == [0, 1, 2]
    assert one_dimensional(*bank, max_aggregate_tokens=12)["kept"] == [0, 1]
    # Two are never dropped for length.
    assert one_dimensional(*bank, k=2, max_aggregate_tokens=1)["kept"] == [0, 1]


def test_token_distances_are_squared_in_double_precision() -> None:
    # 20,000^2 - 19,999^2 = 39,999, which float32 (4e8 to the nearest 32) cannot say.
    # cm = 20,000^2 - 0 = 4e8 from the row with 0 tokens.
    result = one_dimensional([1.0, 1.0], [[1], [1]], ["a"], answers({0: ([1.0], 20000)}), tokens=[[19999], [0]])
    assert result["s_cost"] == near({0: 1 - 39999 / 4e8, 1: 0.0})
