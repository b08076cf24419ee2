"""References that are patterns, bounded whatever they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from jisi_cli.grading.regex import Regex
from jisi_cli.grading.registry import Ungraded
from tests.grading.submissions import submission

ENDLESS = submission("a" * 60, r"(a+)+\Zb|(a|aa)+$b")


@pytest.fixture(scope="module")
def regex() -> Iterator[Regex]:
    """A grader for what is quick, on a machine that may be slow."""
    grader = Regex(seconds=60.0)
    yield grader
    grader.close()


@pytest.fixture
def hurried() -> Iterator[Regex]:
    """A grader for what never ends; to see that it goes on it is given its time."""
    grader = Regex(seconds=1.0)
    yield grader
    grader.close()


def goes_on(grader: Regex, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(grader._worker, "_seconds", 60.0)
    return grader.grade(submission("still alive", "alive")) == 1.0


@pytest.mark.parametrize(
    ("response", "pattern", "grade"),
    [
        ("The answer is 42.", r"\b4\d\b", 1.0),
        ("The answer is 42.", r"^4\d$", 0.0),
        ("one\ntwo", r"(?m)^two$", 1.0),
        ("PARIS", "(?i)paris", 1.0),
        ("PARIS", "paris", 0.0),
        ("\ud800 half", "\ud800", 1.0),
        ("é", "(?i)É", 1.0),
        ("", ".*", None),
        ("line\nbreak", "line\nbreak", 1.0),
    ],
)
def test_a_response_is_right_where_the_pattern_occurs(
    regex: Regex, response: str, pattern: str, grade: float | None
) -> None:
    assert regex.grade(submission(response, pattern)) == grade


def test_a_reference_that_is_no_pattern_leaves_the_response_unscored(regex: Regex) -> None:
    with pytest.raises(Ungraded, match="unterminated subpattern"):
        regex.grade(submission("x", "("))


def test_a_pattern_that_never_ends_costs_its_time_and_nothing_else(
    hurried: Regex, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Ungraded, match="longer than 1 s"):
        hurried.grade(ENDLESS)
    assert goes_on(hurried, monkeypatch)


def test_a_pattern_that_never_ends_for_several_answers_is_tried_no_more(hurried: Regex) -> None:
    for _ in range(3):
        with pytest.raises(Ungraded, match="longer than 1 s"):
            hurried.grade(ENDLESS)
    with pytest.raises(Ungraded, match="took too long for other answers"):
        hurried.grade(ENDLESS)
    assert hurried.grade(submission("abc", "b")) == 1.0


def test_a_pattern_that_wants_all_memory_is_ended_like_one_that_wants_all_time(
    hurried: Regex, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Ungraded):
        hurried.grade(submission("a" * 100, r"(((((a{1,500}){1,500}){1,500}){1,500}){1,500}){1,500}b"))
    assert goes_on(hurried, monkeypatch)


def test_many_threads_may_ask_one_grader(regex: Regex) -> None:
    grades: dict[int, float | None] = {}

    def ask(number: int) -> None:
        grades[number] = regex.grade(submission(f"number {number}", rf"\b{number % 7}\b"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert grades == {number: float(number < 7) for number in range(20)}


def test_closing_ends_a_search_that_is_under_way() -> None:
    grader = Regex(seconds=100.0)
    assert grader.grade(submission("warm", "warm")) == 1.0
    ended: list[str] = []

    def search() -> None:
        try:
            grader.grade(ENDLESS)
        except Ungraded as reason:
            ended.append(str(reason))

    thread = threading.Thread(target=search)
    thread.start()
    grader.close()
    thread.join(timeout=120)
    assert not thread.is_alive() and len(ended) == 1
    with pytest.raises(Ungraded, match="ended"):
        grader.grade(submission("x", "x"))
