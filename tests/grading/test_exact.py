"""Texts and Python values that must match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.grading.exact import Exact
from tests.grading.submissions import submission

EXACT = Exact()


@pytest.mark.parametrize(
    ("response", "reference", "grade"),
    [
        ("hello", "hello", 1.0),
        ("  hello\n", "hello", 1.0),
        ('"hello"', "hello", 1.0),
        ("`hello`", "hello", 1.0),
        ("hello", "'hello'", 1.0),
        ("Hello", "hello", 0.0),
        ("go  go", "go go", 1.0),
        ("'go  go'", "'go go'", 0.0),
        ("go  go", "'go go'", 0.0),
        ("5", "'5'", 1.0),
        ("'5'", "5", 1.0),
        ("[1,2]", "[1, 2]", 1.0),
        ('{"b": 1, "a": [None]}', "{'a': [None], 'b': 1}", 1.0),
        ("{2, 1}", "{1, 2}", 1.0),
        ("(1,)", "(1)", 0.0),
        ("8.50", "8.5", 1.0),
        ("1", "True", 0.0),
        ("1", "1.0", 0.0),
        ("true", "True", 0.0),
        ("''", "''", 1.0),
        ('{"answer": ""}', "''", 1.0),
        ('{"answer": "-"}', "'-'", 1.0),
        ('{"answer": "[1, 2]"}', "[1, 2]", 1.0),
        ('{"answer": [1, 2]}', "[1, 2]", 1.0),
        ('{"answer": "a\\nb"}', "'a\\nb'", 1.0),
        ('{"answer": "\'a\\\\nb\'"}', "'a\\nb'", 1.0),
        ('{"answer": "["x", "y"]"}', "['x', 'y']", 1.0),
        ("The output of this program is:\n\n```\n11\n```\n\nThis is since 10 + 1 is 11.", "11", 1.0),
        ("```\n1\n```\nand then\n```\n2\n```", "2", 0.0),
        ('The last word is "home".', "home", 1.0),
        ("The first month of the year is January.", "January", 1.0),
        ("The answer is go go.", "go go", 1.0),
        ('{"answer": "The answer is 42"}', "The answer is 42", 1.0),
        ("2023-05-01", "2023-05-01", 1.0),
        ("00:15", "00:15", 1.0),
        ("", "hello", None),
        ("   ", "hello", None),
        ("x" * 30_000, "x", None),
    ],
)
def test_a_response_is_graded_by_its_text_or_value(response: str, reference: str, grade: float | None) -> None:
    assert EXACT.grade(submission(response, reference)) == grade


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("'hello'", "hello"),
        ("[1,2]", "[1, 2]"),
        ("{'b': 1, 'a': 2}", "{'a': 2, 'b': 1}"),
        ("red,  green", "red, green"),
        ('{"answer": "\\boxed{DOG}"}', "DOG"),
        ("\\boxed{\\text{DOG}}", "DOG"),
        ('{"answer": ""}', "''"),
        ("", None),
    ],
)
def test_the_answer_is_extracted_in_one_form(response: str, answer: str | None) -> None:
    assert EXACT.extract(response) == answer


def test_code_is_read_and_never_run() -> None:
    assert EXACT.grade(submission("__import__('os').getcwd()", "[]")) == 0.0
    assert EXACT.extract("9**9**9") == "9**9**9"


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4) | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@given(_VALUES)
def test_every_python_value_equals_itself_however_it_is_written(value: object) -> None:
    assert EXACT.grade(submission(repr(value), repr(value))) == 1.0


@given(st.dictionaries(st.text(max_size=4), st.integers(), max_size=5))
def test_the_order_of_a_dict_does_not_matter(value: dict[str, int]) -> None:
    backwards = dict(reversed(value.items()))
    assert EXACT.grade(submission(repr(backwards), repr(value))) == 1.0
    assert EXACT.extract(repr(backwards)) == EXACT.extract(repr(value))
