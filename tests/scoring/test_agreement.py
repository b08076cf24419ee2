"""What models agree on: by hand, against a slow version, and by properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jisi_cli.scoring.agreement import ENOUGH_LABELS, NO_ANSWER, NONE_RIGHT, agree, entropy
from tests.tiers import examples

NAMES = ("ada", "bob", "cyd", "dee")


def found(answers: Any, labels: Any = None, names: Any = NAMES, learn_from: Any = None) -> list[int]:
    return agree(np.array(answers), names, labels or {}, learn_from).right.tolist()


# By hand.


def test_the_answer_of_most_models_is_right_and_one_alone_is_not_enough() -> None:
    assert found([[7, 7, 8, 9], [1, 2, 3, 4], [5, NO_ANSWER, NO_ANSWER, 5], [NO_ANSWER] * 4]) == [7, NO_ANSWER, 5, -1]


def test_a_model_that_is_often_right_outweighs_two_that_seldom_are() -> None:
    # cyd and dee agree with each other on the last question only; ada and bob carry the others.
    rows = [[1, 1, 2, 3], [1, 1, 3, 2], [4, 4, 5, 6], [4, 4, 6, 5], [1, 1, 2, 2]]
    assert found(rows)[-1] == 1
    # With equal weights the first by name would win a tie of two against two, whoever is good.
    names = ("dee", "cyd", "bob", "ada")
    assert found([[1, 1, 2, 2]], names=names) == [2]
    assert found(rows, names=names)[-1] == 1


def test_shares_count_the_questions_on_which_something_is_known() -> None:
    result = agree(np.array([[1, 1, 2], [3, 3, 3], [1, 2, 3], [4, NO_ANSWER, 4]]), NAMES[:3], {})
    assert result.right.tolist() == [1, 3, NO_ANSWER, 4]
    assert result.shares.tolist() == [1.0, 1.0, 2 / 3]


def test_a_label_wins_over_any_agreement_and_tells_how_good_the_models_are() -> None:
    assert found([[1, 1, 1, 2]], {0: 2}) == [2]
    assert found([[1, 1, 1, 2]], {0: NONE_RIGHT}) == [NONE_RIGHT]


def test_with_enough_labels_a_good_model_that_is_right_alone_is_believed() -> None:
    alone = [[1, 2, 2, 2]] * ENOUGH_LABELS
    labels = dict.fromkeys(range(ENOUGH_LABELS), 1)
    assert found([*alone, [3, 4, 4, 4], [NO_ANSWER, 5, 6, 7]], labels)[-2:] == [3, 5]
    few = dict.fromkeys(range(ENOUGH_LABELS - 1), 1)
    assert found([*alone[1:], [3, 4, 4, 4], [NO_ANSWER, 5, 6, 7]], few)[-1] == NO_ANSWER


def test_a_model_that_answered_no_labelled_question_weighs_as_they_do_together() -> None:
    labels = dict.fromkeys(range(ENOUGH_LABELS), 1)
    rows = [[1, 2, NO_ANSWER]] * ENOUGH_LABELS
    assert agree(np.array(rows), NAMES[:3], labels).shares.tolist() == [1.0, 0.0, 0.5]


def test_questions_set_aside_teach_nothing_but_are_settled() -> None:
    rows = [[1, 1, 2], [9, 8, 8], [9, 8, 8]]
    result = agree(np.array(rows), NAMES[:3], {}, np.array([True, False, False]))
    assert result.shares.tolist() == [1.0, 1.0, 0.0]
    assert result.right.tolist() == [1, 8, 8]
    labels = dict.fromkeys(range(ENOUGH_LABELS), 2)
    aside = np.zeros(ENOUGH_LABELS + 1, dtype=bool)
    aside[-1] = True
    assert agree(np.array([[1, 1, 2]] * (ENOUGH_LABELS + 1)), NAMES[:3], labels, aside).right[-1] == 1


def test_nothing_to_vote_on_is_no_error() -> None:
    assert found(np.empty((0, 4), dtype=int)) == []
    assert found(np.full((2, 4), NO_ANSWER)) == [NO_ANSWER, NO_ANSWER]


def test_entropy_by_hand() -> None:
    assert entropy([]) == entropy([5, 5, 5]) == entropy([NO_ANSWER, 3]) == 0.0
    assert entropy([1, 2]) == pytest.approx(math.log(2))
    assert entropy([1, 2, 3, 4]) == pytest.approx(math.log(4))
    assert entropy([1, 1, 1, 2, NO_ANSWER]) == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))


# Against a slow version, and by properties.


def slow(answers: list[list[int]], names: list[str], labels: dict[int, int]) -> tuple[list[int], dict[str, float]]:
    """Vote as the module's text says, with names and dictionaries."""

    def vote(weight: dict[str, float], share: dict[str, float], least: int) -> list[int]:
        right = []
        for row, said in enumerate(answers):
            votes: dict[int, list[str]] = {}
            for name, answer in zip(names, said, strict=True):
                if answer != -1:
                    votes.setdefault(answer, []).append(name)
            ranked = []
            for answer, voters in votes.items():
                if len(voters) >= least:
                    best = min((-share[name], name) for name in voters)
                    ranked.append((-math.fsum(weight[name] for name in voters), best, answer))
            right.append(labels.get(row, min(ranked)[2] if ranked else -1))
        return right

    def count(right: dict[int, int]) -> dict[str, float]:
        hits, asked = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        for row, answer in right.items():
            for name, said in zip(names, answers[row], strict=True):
                if answer != -1 and said != -1:
                    asked[name] += 1
                    hits[name] += said == answer
        total = sum(asked.values())
        overall = sum(hits.values()) / total if total else 0.5
        return {name: hits[name] / asked[name] if asked[name] else overall for name in names}

    def weigh(share: dict[str, float]) -> dict[str, float]:
        clipped = {name: min(max(value, 0.01), 0.99) for name, value in share.items()}
        return {name: max(0.01, math.log(9 * value / (1 - value))) for name, value in clipped.items()}

    if len(labels) >= 20:
        share = count(labels)
        return vote(weigh(share), share, 1), share
    share = dict.fromkeys(names, 0.5)
    right = vote(dict.fromkeys(names, 1.0), share, 2)
    for _ in range(5):
        share = count(dict(enumerate(right)))
        right = vote(weigh(share), share, 2)
    return right, share


@st.composite
def banks(draw: st.DrawFn) -> tuple[list[list[int]], list[str], dict[int, int]]:
    models = draw(st.integers(1, 6))
    rows = draw(st.lists(st.lists(st.integers(-1, 3), min_size=models, max_size=models), max_size=40))
    labelled = draw(st.sets(st.integers(0, max(0, len(rows) - 1)), max_size=len(rows)))
    labels = {row: draw(st.sampled_from([*rows[row], NONE_RIGHT])) for row in labelled if rows}
    labels = {row: NONE_RIGHT if right == NO_ANSWER else right for row, right in labels.items()}
    return rows, draw(st.permutations([f"model-{place}" for place in range(models)])), labels


@given(banks())
@settings(max_examples=examples(60))
def test_it_is_what_the_slow_version_finds(bank: tuple[list[list[int]], list[str], dict[int, int]]) -> None:
    answers, names, labels = bank
    result = agree(np.array(answers, dtype=int).reshape(-1, len(names)), names, labels)
    right, share = slow(answers, names, labels)
    assert result.right.tolist() == right
    assert dict(zip(names, result.shares.tolist(), strict=True)) == share


@given(banks(), st.randoms(use_true_random=False))
@settings(max_examples=examples(60))
def test_neither_the_order_of_models_nor_of_questions_matters_nor_what_answers_are_called(
    bank: tuple[list[list[int]], list[str], dict[int, int]], random: Any
) -> None:
    answers, names, labels = bank
    rows, columns = list(range(len(answers))), list(range(len(names)))
    random.shuffle(rows)
    random.shuffle(columns)
    code = {-2: -2, -1: -1, 0: 40, 1: 3, 2: 17, 3: 0}
    table = np.array(answers, dtype=int).reshape(-1, len(names))
    moved = np.array([[code[table[row, column]] for column in columns] for row in rows]).reshape(-1, len(names))
    here = agree(table, names, labels)
    there = agree(
        moved.astype(int),
        [names[column] for column in columns],
        {rows.index(row): code[right] for row, right in labels.items()},
    )
    assert there.right.tolist() == [code[here.right[row]] for row in rows]
    assert there.shares.tolist() == [here.shares[column] for column in columns]


@given(banks())
@settings(max_examples=examples(60))
def test_what_is_right_was_said_by_a_model_or_labelled(bank: tuple[list[list[int]], list[str], dict[int, int]]) -> None:
    answers, names, labels = bank
    table = np.array(answers, dtype=int).reshape(-1, len(names))
    for row, right in enumerate(agree(table, names, labels).right.tolist()):
        if row in labels:
            assert right == labels[row]
        elif right != NO_ANSWER:
            assert (table[row] == right).sum() >= (1 if len(labels) >= ENOUGH_LABELS else 2)
        elif len(labels) >= ENOUGH_LABELS:
            assert (table[row] == NO_ANSWER).all()
