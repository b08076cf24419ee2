"""Formulas that are equal however they are written, compared in a process that can be killed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jisi_cli.grading.math import Math
from jisi_cli.grading.registry import Ungraded
from tests.grading.submissions import submission


@pytest.fixture(scope="module")
def grader() -> Iterator[Math]:
    """A grader for what is quick, on a machine that may be slow."""
    made = Math(seconds=60.0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hurried() -> Iterator[Math]:
    """A grader for what may take forever."""
    made = Math(seconds=1.0)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("response", "reference", "grade"),
    [
        (r"The answer is $\frac{1}{2}$.", "0.5", 1.0),
        (r"so \boxed{\dfrac{3}{4}}", r"\frac34", 1.0),
        (r"so \boxed{x(x+1)}", "x^2+x", 1.0),
        (r"so \boxed{x(x+1)}", "x^2+x+1", 0.0),
        (r"\boxed{2\sqrt{3}}", r"\sqrt{12}", 1.0),
        (r"\boxed{4, 3}", "3, 4", 1.0),
        (r"\boxed{[1,2]}", "(1,2)", 0.0),
        (r"\boxed{\begin{pmatrix}1&2\end{pmatrix}}", r"\begin{pmatrix}1&2\end{pmatrix}", 1.0),
        (r'{"answer": "\\frac{2}{4}"}', "1/2", 1.0),
        (r"We find $x = 3\pi$, and are done.", r"3\pi", 1.0),
        ("It is \\[\n x+1\n\\]", "1+x", 1.0),
        ("So 6 * 7 = 42 in all", "42", 1.0),
        (r"\boxed{90^\circ}", "90", 1.0),
        (r"\boxed{1,234}", "1234", 1.0),
        (r"\boxed{\text{Evelyn}}", r"\text{Evelyn}", 1.0),
        (r"\boxed{listen}", r"\text{silent}", 0.0),
        (r"\boxed{no solution}", "5", 0.0),
        (r"\boxed{ba}", "ab", 1.0),
        (r"\boxed{No Solution.}", r"\text{no solution}", 1.0),
        (r"\boxed{10 \cdot 2^9}", "5120", 1.0),
        ('{"answer": "The degree of h is 6."}', "6", 1.0),
        ('{"answer": "___"}', "5", None),
        ("I do not know.", "5", None),
        ("", "5", None),
        ("5", " ", None),
    ],
)
def test_a_response_is_graded_by_what_its_formula_means(
    grader: Math, response: str, reference: str, grade: float | None
) -> None:
    assert grader.grade(submission(response, reference)) == grade


@pytest.mark.parametrize("formula", ["10^{10^{10^{10}}}", "9999999999!", r"\sum_{n=1}^{10^9} \frac{1}{n^7}"])
def test_a_formula_that_takes_forever_costs_its_time_and_nothing_else(
    hurried: Math, formula: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Ungraded, match="longer than 1 s"):
        hurried.grade(submission(rf"\boxed{{{formula}}}", "1"))
    monkeypatch.setattr(hurried._worker, "_seconds", 60.0)
    # No number, which would be compared without the process that was killed.
    assert hurried.grade(submission(r"\boxed{x(x+1)}", "x^2+x")) == 1.0


@pytest.mark.parametrize("unit", ["(", "{", "x+", "\\frac{1}{", "^2", "\\left(", "9", "\\sqrt{", "1,"])
def test_huge_input_is_never_handed_on(hurried: Math, unit: str) -> None:
    for answer in (unit * 3, unit * 100_000):
        for response in (answer, rf"\boxed{{{answer}}}", f"The answer is ${answer}$."):
            with suppress(Ungraded):
                assert hurried.grade(submission(response, "5")) in (0.0, None)
    with pytest.raises(Ungraded, match=r"longer than [0-9,]+ characters"):
        hurried.grade(submission("5", r"\sqrt{2}" + unit * 100_000))


def test_nothing_in_an_answer_is_evaluated_as_python(grader: Math, tmp_path: Path) -> None:
    for code in (f"open('{tmp_path}/x','w')", f"__import__('os').mkdir('{tmp_path}/x')"):
        for response in (code, rf"\boxed{{{code}}}", rf"\boxed{{\text{{{code}}}}}", rf"\boxed{{1/1+{code}}}"):
            assert grader.grade(submission(response, r"\sqrt{2}")) in (0.0, None)
    assert not list(tmp_path.glob("x"))


@settings(max_examples=25)
@given(st.text(alphabet="0123456789+-*/^(){}xy\\ frac,=<pi", max_size=12), st.sampled_from(["x+1", "1/2", "(1,2)"]))
def test_any_formula_is_right_wrong_or_unscored(hurried: Math, formula: str, reference: str) -> None:
    with suppress(Ungraded):
        assert hurried.grade(submission(rf"\boxed{{{formula}}}", reference)) in (0.0, 1.0, None)


def test_it_works_in_threads_where_signals_do_not(grader: Math) -> None:
    grades: list[float | None] = []
    threads = [
        threading.Thread(target=lambda: grades.append(grader.grade(submission(r"\boxed{x+x}", "2x")))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert grades == [1.0] * 4


def test_without_its_library_it_names_the_extra() -> None:
    script = (
        "import sys\n"
        "sys.path[:] = [place for place in sys.path if 'site-packages' not in place]\n"
        "from jisi_cli.errors import InputError\n"
        "from jisi_cli.grading.math import Math\n"
        "try:\n    Math()\n"
        "except InputError as error:\n    sys.stdout.write(str(error))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert 'pip install "jisi[math]"' in done.stdout
