"""Finding the reference in a response."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.grading.contains import Contains
from jisi_cli.grading.registry import reader_of
from tests.grading.submissions import submission

CONTAINS = Contains()


@pytest.mark.parametrize(
    ("response", "reference", "grade"),
    [
        ("The capital is Paris, of course.", "paris", 1.0),
        ("The capital is\n  New\tYork.", "new york", 1.0),
        ("a party", "art", 0.0),
        ("a party", "party", 1.0),
        ("17 apples", "7", 0.0),
        ("7.5 apples", "7", 0.0),
        ("3.7 apples", "7", 0.0),
        ("1,700 apples", "700", 0.0),
        ("It is 7.", "7", 1.0),
        ("It is 7, or so", "7", 1.0),
        ("x = (7)", "(7)", 1.0),
        ("GROSSE STRASSE", "große straße", 1.0),
        ("It is C++.", "C++", 1.0),
        ("nothing of it", "(.*)", 0.0),
        ("", "7", None),
        ("  \n", "7", None),
        ("7", "  ", None),
    ],
)
def test_the_reference_is_found_as_whole_words(response: str, reference: str, grade: float | None) -> None:
    assert CONTAINS.grade(submission(response, reference)) == grade


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_a_reference_between_spaces_is_always_found(before: str, reference: str, after: str) -> None:
    expected = 1.0 if reference.strip() else None
    found = CONTAINS.grade(submission(f"{before} {reference} {after}", reference))
    assert found == expected or (expected is None and found is None)


def test_only_the_end_of_a_long_response_is_read() -> None:
    assert CONTAINS.grade(submission("Paris" + " x" * 20_000, "Paris")) == 0.0


def test_no_part_of_a_response_is_its_answer() -> None:
    assert reader_of("contains") is None
