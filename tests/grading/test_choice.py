"""Choice letters as models give them."""

from __future__ import annotations

import pytest

from jisi_cli.grading.choice import Choice
from tests.grading.submissions import submission

CHOICE = Choice()


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        # the marked answer
        ("The answer is C.", "C"),
        ("The answer is (C) Paris.", "C"),
        ("The answer is (c).", "C"),
        ("The correct answer is C because of the rain.", "C"),
        ("The answer is A because of the rain.", "A"),
        ("Answer: B", "B"),
        ("**Answer:** B) blue", "B"),
        ("**Answer: B**", "B"),
        ("Final answer: option D", "D"),
        ('{"reasoning": "not A", "answer": "D"}', "D"),
        ('{"answer": "d"}', "D"),
        ("it must be $\\boxed{\\text{J}}$, not A", "J"),
        ("A) chair\n\nThe correct answer is C) banana.", "C"),
        # the first letter
        ("C", "C"),
        ("c", "C"),
        ("(C)", "C"),
        ("C) Paris", "C"),
        ("C. Paris, since A is in Spain", "C"),
        ("**C**", "C"),
        ("B\nbecause it rains", "B"),
        # a letter further on
        ("I think that option B fits, not the others", "B"),
        ("The right choice is E here", "E"),
        ("Paris (C)", "C"),
        ("So we are left with D", "D"),
        # nothing
        ("A thermometer measures temperature.", None),
        ("I have no idea", None),
        ("Paris", None),
        ("A) red\nB) blue\nC) green", None),
        ("", None),
    ],
)
def test_the_chosen_letter_is_extracted(response: str, letter: str | None) -> None:
    assert CHOICE.extract(response) == letter


def test_options_that_are_repeated_do_not_hide_the_choice() -> None:
    assert CHOICE.extract("A) red\nB) blue\nC) green\nI choose B here") == "B"


@pytest.mark.parametrize(
    ("response", "reference", "grade"),
    [("C", "C", 1.0), ("c", "(C)", 1.0), ("B) blue", "C", 0.0), ("blue", "C", None), ("C", "blue", None)],
)
def test_a_response_is_graded_by_its_letter(response: str, reference: str, grade: float | None) -> None:
    assert CHOICE.grade(submission(response, reference)) == grade
