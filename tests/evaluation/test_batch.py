"""Many questions under many settings at once: the same decisions as one by one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jisi_cli.evaluation.batch_support import Neighbours, Scored, neighbours_among, sorted_rows
from jisi_cli.evaluation.batch_votes import NOBODY, first_answered, vote
from jisi_cli.evaluation.final_codes import AnswerCodes
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.results import ResultFile
from jisi_cli.evaluation.runner import run_method
from jisi_cli.grading.final_answer import extract_any
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.registry import make_method
from jisi_cli.scoring import BankArrays, coarse
from jisi_cli.scoring.agreement import NO_ANSWER
from tests.methods.synthetic import Setting, setting
from tests.scoring.test_scoring import Case, cases, hyperparameters, slow
from tests.tiers import examples


def near(bank: BankArrays, queries: np.ndarray, rows: list[int], *params: Hyperparameters) -> Neighbours:
    similarities = queries.astype(np.float64) @ bank.query_vectors.astype(np.float64).T
    taking_part = np.isin(np.arange(len(bank.scores)), rows)
    scored = Scored(np.where(bank.present, bank.scores, 0.0), bank.present, bank.model_names)
    return neighbours_among(scored, similarities, sorted_rows(similarities), taking_part, params)


@settings(max_examples=examples(40), deadline=None)
@given(cases(), st.lists(hyperparameters(), min_size=1, max_size=4))
def test_a_setting_reads_off_its_prefix_what_it_decides_alone(case: Case, params: list[Hyperparameters]) -> None:
    # Weights below 0 in all tell nothing, and rows that tie are kept by other rules.
    assume(float((case.bank.query_vectors @ case.query).min()) > 0.01)
    found = near(case.bank, case.query[np.newaxis], list(range(len(case.bank.scores))), *params)
    for one in params:
        margins = {
            name: gap for name, gap in slow(case, one)["margins"].items() if name in ("support", "ranking", "nearest")
        }
        if min(margins.values(), default=1) < 1e-8:
            continue
        expected = coarse(case.bank, case.query, one)
        assert found.sizes(one).tolist() == [len(expected.rows)]
        scores = found.scores(one)
        assert scores[0] == pytest.approx(expected.scores, abs=1e-8)
        assert tuple(found.rank(scores, one)[0].tolist()) == expected.ranking


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(0, 2**32))
def test_neighbours_among_some_rows_are_those_of_a_bank_of_these_rows(seed: int) -> None:
    given = setting(seed, gaps=0.2)
    rows = sorted(np.random.default_rng(seed).choice(40, 23, replace=False).tolist())
    alone = given.with_rows(rows).context.bank
    params = Hyperparameters(n_base=7, gamma=0.9, prior=3.0)
    queries = np.stack([query.vector for query in given.tests.queries])
    found = near(given.context.bank, queries, rows, params)
    ranking = found.rank(found.scores(params), params)
    assert [tuple(row) for row in ranking.tolist()] == [coarse(alone, query, params).ranking for query in queries]


def recorded(given: Setting) -> AnswerCodes:
    """What was recorded of the test questions, read one by one."""
    codes = np.full(given.tests.scores.shape, NO_ANSWER)
    answered = np.zeros(codes.shape, dtype=bool)
    for row, query in enumerate(given.tests.queries):
        seen: list[str] = []
        for model, answer in given.tests.pool.recorded(query.text):
            place = given.models.index(model)
            answered[row, place] = answer.error is None
            final = extract_any(answer.text, query.grader) if answer.error is None else None
            if final is not None:
                seen += [final] if final not in seen else []
                codes[row, place] = seen.index(final)
    return AnswerCodes(codes, answered, np.ones(len(codes), dtype=bool))


@pytest.mark.parametrize("schedule", ["", "2,1", "1,1,1", "1,2"])
@pytest.mark.parametrize("prior", [0.0, 5.0])
def test_votes_are_those_of_the_method(schedule: str, prior: float) -> None:
    voted = early = 0
    for seed in range(3):
        given = setting(seed, models="abcde", gaps=0.15).with_settings(
            switch="consensus", probe_schedule=schedule, prior=prior, k=3
        )
        params = given.context.hyperparameters
        with ResultFile(None) as file:
            entry = Entry("vote", make_method("jisi-vote", given.context), ("test",))
            results, _ = asyncio.run(run_method(entry, given.tests, given.tests.pool, file))
        queries = np.stack([query.vector for query in given.tests.queries])
        found = near(given.context.bank, queries, list(range(40)), params)
        scores = found.scores(params)
        votes = vote(found.rank(scores, params), scores, recorded(given), params.rounds())
        for result, winner, calls in zip(results, votes.winners.tolist(), votes.calls.tolist(), strict=True):
            if winner == NOBODY:
                assert result.mode != "consensus"
                continue
            assert (result.mode, result.model, result.calls) == ("consensus", given.models[winner], calls)
            voted, early = voted + 1, early + (calls < 3)
    assert voted > 50
    assert (early > 5) == (schedule in ("2,1", "1,1,1"))


def test_groups_weigh_what_their_members_do_and_the_earlier_of_equals_wins() -> None:
    ranking, scores = np.arange(4)[np.newaxis], np.array([[4.0, 3.0, 2.0, 1.0]])
    everyone = np.ones((1, 4), dtype=bool)

    def heaviest(*codes: int) -> tuple[int, float]:
        found = vote(ranking, scores, AnswerCodes(np.array([codes]), everyone, everyone[:, 0]), (4,))
        return int(found.winners[0]), round(float(found.shares[0]), 12)

    assert heaviest(0, 1, 1, 2) == (1, 0.5)  # 3 + 2 of 10
    assert heaviest(0, 1, 2, 2) == (0, 0.4)
    assert heaviest(0, 1, 1, 0) == (0, 0.5)  # 5 and 5: the group with the best-ranked member
    assert heaviest(NO_ANSWER, 1, 2, NO_ANSWER) == (1, 0.3)
    assert heaviest(*[NO_ANSWER] * 4) == (NOBODY, 0.0)
    nothing_solved = vote(ranking, 0 * scores, AnswerCodes(np.array([[0, 1, 1, 2]]), everyone, everyone[:, 0]), (4,))
    assert (nothing_solved.winners[0], nothing_solved.shares[0]) == (1, 0.5)


def test_the_first_that_answered_is_found_and_those_asked_before_are_counted() -> None:
    ranking = np.array([[2, 0, 1], [0, 1, 2], [1, 2, 0]])
    answered = np.array([[True, True, False], [True, True, True], [False, False, False]])
    models, calls = first_answered(ranking, answered)
    assert models.tolist() == [0, 0, NOBODY]
    assert calls.tolist() == [2, 1, 3]


def test_a_smaller_k_is_a_prefix_of_the_ranking() -> None:
    given = setting(3, models="ab")
    params = replace(given.context.hyperparameters, k=3)
    queries = np.stack([query.vector for query in given.tests.queries])
    found = near(given.context.bank, queries, list(range(40)), params)
    scores = found.scores(params)
    votes = vote(found.rank(scores, params), scores, recorded(given), params.rounds())
    assert votes.calls.tolist() == [2] * len(given.tests)  # there are no more models than two
