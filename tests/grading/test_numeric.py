"""Numbers and formulas as models write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jisi_cli.grading.number import canonical_number, parse_number
from jisi_cli.grading.numeric import Numeric
from tests.grading.submissions import submission

NUMERIC = Numeric()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", "18"),
        ("18.", "18"),
        ("-7", "-7"),
        ("−7", "-7"),
        ("- 7", "-7"),
        ("+7", "7"),
        (".5", "1/2"),
        ("1,234,567", "1234567"),
        ("1{,}234", "1234"),
        ("10\\,800", "10800"),
        ("9 500", "9500"),
        ("$1,234.50", "2469/2"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("€20", "20"),
        ("15 %", "15"),
        ("15\\%", "15"),
        ("12 km/h", "12"),
        ("12km", "12"),
        ("5 cm^2", "5"),
        ("5 m²", "5"),
        ("30\\text{ degrees}", "30"),
        ("30^\\circ", "30"),
        ("3/4", "3/4"),
        ("-3/4", "-3/4"),
        ("3 1/2", "7/2"),
        ("\\frac{3}{4}", "3/4"),
        ("-\\dfrac{3}{4}", "-3/4"),
        ("3\\frac{1}{2}", "7/2"),
        ("\\frac34", "3/4"),
        ("\\\\frac{3}{4}", "3/4"),
        ("1.5e3", "1500"),
        ("1.5E-3", "3/2000"),
        ("1.5 \\times 10^{3}", "1500"),
        ("2 x 10^3", "2000"),
        ("$x = 6$", "6"),
        ("6 / 2 = 3", "3"),
        ("221_3", "221"),
        ("**42**", "42"),
        ("$42$", "42"),
        ("\\(42\\)", "42"),
        ("0.1", "1/10"),
    ],
)
def test_a_text_that_is_one_number_is_read_exactly(text: str, value: str) -> None:
    assert parse_number(text) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "seven",
        "2\\sqrt{3}",
        "2√3",
        "2x",
        "2 x",
        "5 pi",
        "25\\pi",
        "2^{48}",
        "-1, 1",
        "3 or 4",
        "12,34",
        "5-10",
        "00:15",
        "1/0",
        "v1.2.3",
        "9" * 400,
        "1e999",
    ],
)
def test_a_text_that_is_not_one_number_is_not_read_as_one(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("18", "18"),
        ("-3", "-3"),
        ("1/2", "0.5"),
        ("1/3", "0.333333"),
        ("-2/3", "-0.666667"),
        ("1/3000", "0.000333333"),
        ("2999999999/1000000000", "3"),
        ("12345678912345678", "12345678912345678"),
        ("24691357/2", "12345678.5"),
    ],
)
def test_a_number_is_written_in_one_way(value: str, written: str) -> None:
    assert canonical_number(Fraction(value)) == written


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("18", "18"),
        ("She has 3 apples and then 5 apples", "5"),
        ("First 2 + 3 = 5.\nThen 5 * 4 = 20.\nSo 20 in all.", "20"),
        ("The answer is 18 because 3 of them were sold.", "18"),
        ("The final answer is: **1,000** dollars", "1000"),
        ("work\n#### 18", "18"),
        ("so \\boxed{\\frac{1}{2}} it is, for 3 reasons", "0.5"),
        ('{"reasoning": "2 and 3", "answer": "$7.50"}', "7.5"),
        ('{"answer": 12, "confidence": 0.9}', "12"),
        ('{"answer": "18 apples (3 * 6)"}', "18"),
        ("Answer: 18 (since 3 * 6)", "18"),
        ("The answer is 3 (or 2 + 4)", "3(or 2+4)"),
        ("A: 18", "18"),
        ("**Ans: $18**", "18"),
        ('{"answer": "The tower is 18 m tall"}', "18"),
        ('{"answer": "600 - 198 - 209 = 193"}', "193"),
        ('{"answer": "2 \\sqrt{3}"}', "2\\sqrt{3}"),
        ('{"answer": "2\\\\sqrt{ 3 }"}', "2\\sqrt{3}"),
        ('{"answer": "-1, 1"}', "-1;1"),
        ('{"answer": "1, 988"}', "1;988"),
        ("x + 1", "x+1"),
        ('{"answer": "___"}', None),
        ('{"answer": ""}', None),
        ("I do not know.", None),
        ("", None),
    ],
)
def test_the_final_number_or_formula_is_extracted(response: str, answer: str | None) -> None:
    assert NUMERIC.extract(response) == answer


@pytest.mark.parametrize(
    ("response", "reference", "grade"),
    [
        ("18", "18", 1.0),
        ("18.0 apples", "18", 1.0),
        ("17", "18", 0.0),
        ("0.5", "1/2", 1.0),
        ("0.333333333", "1/3", 1.0),
        ("0.33", "1/3", 0.0),
        ("31/36", "31/36", 1.0),
        ("1,800", "1800", 1.0),
        ("The answer is -5.", "-5", 1.0),
        ('{"answer": "6\\\\sqrt{2}"}', "6", 0.0),
        ('{"answer": "6\\\\sqrt{2}"}', "6\\sqrt{2}", 1.0),
        ('{"answer": "there is no solution"}', "6", 0.0),
        ('{"answer": "___"}', "6", None),
        ("no idea", "6", None),
        ("6", "", None),
    ],
)
def test_a_response_is_graded_by_its_number(response: str, reference: str, grade: float | None) -> None:
    assert NUMERIC.grade(submission(response, reference)) == grade


def test_the_tolerance_is_a_setting() -> None:
    assert Numeric(relative=0.01).grade(submission("3.14", "3.14159")) == 1.0
    assert Numeric().grade(submission("3.14", "3.14159")) == 0.0


def test_a_tiny_difference_from_zero_is_no_difference() -> None:
    assert NUMERIC.grade(submission("1e-10", "0")) == 1.0


@given(st.fractions(max_denominator=10**6).filter(lambda value: abs(value) < 10**12))
@example(Fraction(1, 3))
def test_a_written_number_grades_as_itself_and_keeps_its_form(value: Fraction) -> None:
    written = canonical_number(value)
    assert NUMERIC.extract(written) == written
    assert NUMERIC.grade(submission(f"The answer is {value}.", str(value))) == 1.0


@given(st.integers(-(10**15), 10**15))
def test_thousands_separators_currency_and_units_change_nothing(value: int) -> None:
    for written in (
        f"{value:,}",
        f"${value}",
        f"{value} km",
        f"{value}%",
        f"{value}.",
        f"\\boxed{{{value}}}",
    ):
        assert NUMERIC.extract(written) == str(value)
