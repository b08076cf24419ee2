"""The heaviest group of equal final answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.methods.consensus import Consensus, heaviest_group


@pytest.mark.parametrize(
    ("coarse_scores", "answers", "expected"),
    [
        # All agree.
        ((6, 5, 4), ("x", "x", "x"), ("x", (0, 1, 2), 1.0)),
        # Two of three, the better ones or the worse ones.
        ((6, 5, 4), ("x", "x", "y"), ("x", (0, 1), 11 / 15)),
        ((6, 5, 4), ("y", "x", "x"), ("x", (1, 2), 9 / 15)),
        # Two lighter ones do not outweigh a heavy one.
        ((9, 4, 4), ("x", "y", "y"), ("x", (0,), 9 / 17)),
        # A tie goes to the group with the best-ranked member.
        ((8, 4, 4), ("x", "y", "y"), ("x", (0,), 0.5)),
        ((5, 5, 5), ("x", "y", "z"), ("x", (0,), 1 / 3)),
        # Who has no final answer takes no part, but weighs.
        ((6, 5, 4), (None, "x", None), ("x", (1,), 5 / 15)),
        ((6, 5, 4), (None, "x", "y"), ("x", (1,), 5 / 15)),
        # Nothing near was ever solved: nothing tells candidates apart.
        ((0, 0, 0), ("y", "x", "x"), ("x", (1, 2), 2 / 3)),
        ((-1, -2, -3), ("y", "x", "x"), ("x", (1, 2), 2 / 3)),
        # Who solved nothing near has no say beside those who did.
        ((6, 0, 0), ("y", "x", "x"), ("y", (0,), 1.0)),
        ((6, 0, -1), ("y", "y", "x"), ("y", (0, 1), 1.0)),
    ],
)
def test_the_heaviest_group_by_hand(
    coarse_scores: tuple[float, ...], answers: tuple[str | None, ...], expected: tuple[str, tuple[int, ...], float]
) -> None:
    found = heaviest_group((0, 1, 2), coarse_scores, dict(enumerate(answers)))
    assert found is not None
    assert (found.answer, found.members) == expected[:2]
    assert found.share == pytest.approx(expected[2], rel=1e-12)


def test_where_no_final_answer_can_be_read_there_is_no_group() -> None:
    assert heaviest_group((0, 1), (2, 1), {}) is None
    assert heaviest_group((0, 1), (2, 1), {0: None, 1: None}) is None
    assert heaviest_group((), (2, 1), {0: "x"}) is None


def test_only_those_without_a_say_agree_is_no_group() -> None:
    assert heaviest_group((0, 1, 2), (6, 0, 0), {1: "x", 2: "x"}) is None


def test_models_that_were_not_asked_do_not_count() -> None:
    found = heaviest_group((2, 1), (9, 5, 6), {0: "x", 1: "x", 2: "y"})
    assert found == Consensus("y", (2,), 6 / 11)


@st.composite
def votes(draw: st.DrawFn) -> tuple[list[float], list[str | None]]:
    """Coarse scores, best first, and the final answers."""
    count = draw(st.integers(1, 7))
    scores = draw(st.lists(st.floats(0, 100, width=32), min_size=count, max_size=count))
    answers = draw(st.lists(st.sampled_from(["x", "y", "z", None]), min_size=count, max_size=count))
    return sorted(scores, reverse=True), answers


@given(votes(), st.randoms(use_true_random=False))
def test_the_columns_of_models_have_no_say(vote: tuple[list[float], list[str | None]], chance: object) -> None:
    scores, answers = vote
    places = list(range(len(scores)))
    column = places.copy()
    chance.shuffle(column)  # type: ignore[attr-defined]
    moved = [0.0] * len(scores)
    for place in places:
        moved[column[place]] = scores[place]
    here = heaviest_group(places, scores, dict(enumerate(answers)))
    there = heaviest_group(column, moved, {column[place]: answers[place] for place in places})
    if here is None:
        assert there is None
    else:
        assert there == Consensus(here.answer, tuple(column[place] for place in here.members), here.share)


@given(votes())
def test_the_share_is_above_0_and_at_most_1_and_no_other_group_is_heavier(
    vote: tuple[list[float], list[str | None]],
) -> None:
    scores, answers = vote
    found = heaviest_group(range(len(scores)), scores, dict(enumerate(answers)))
    if found is None:
        # Nobody who has a say gave a final answer.
        assert all(answer is None or (score == 0 < scores[0]) for score, answer in zip(scores, answers, strict=True))
        return
    assert 0 < found.share <= 1
    assert [answers[place] for place in found.members] == [found.answer] * len(found.members)
    weights = scores if scores[0] > 0 else [1.0] * len(scores)
    for other in {answer for answer in answers if answer is not None}:
        weight = sum(w for w, answer in zip(weights, answers, strict=True) if answer == other)
        assert weight / sum(weights) <= found.share * (1 + 1e-9)


@given(votes(), st.floats(0.01, 100))
def test_the_unit_of_scores_has_no_say(vote: tuple[list[float], list[str | None]], unit: float) -> None:
    scores, answers = vote
    here = heaviest_group(range(len(scores)), scores, dict(enumerate(answers)))
    there = heaviest_group(range(len(scores)), [score * unit for score in scores], dict(enumerate(answers)))
    shares = [0.0 if found is None else found.share for found in (here, there)]
    assert shares[1] == pytest.approx(shares[0], rel=1e-6)
