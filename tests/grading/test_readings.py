"""Answers as models really write them, by kind, each with the right reading.

`readings.jsonl` has one answer a line: `{kind, grader, reference, response, grade}`; a grade of null means that nobody
can say what was answered. `python -m tests.grading.agreement` counts what is misread, also for another version of jisi.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.grading.agreement import Reading, grader_of, readings

ALL = readings()
GRADERS = sorted({reading.grader for reading in ALL})


@pytest.fixture(scope="module", params=GRADERS)
def graded(request: pytest.FixtureRequest) -> Iterator[list[tuple[Reading, float | None]]]:
    """All answers of one grader's, and what it says."""
    with grader_of(request.param) as grade:
        yield [(reading, grade(reading)) for reading in ALL if reading.grader == request.param]


def test_every_answer_is_read_as_a_person_reads_it(graded: list[tuple[Reading, float | None]]) -> None:
    misread = [(reading, grade) for reading, grade in graded if grade != reading.grade]
    assert misread == []


def test_every_kind_has_answers_that_are_right_and_others_that_are_not() -> None:
    kinds = Counter((reading.kind, reading.grade == 1.0) for reading in ALL)
    assert len(ALL) > 600
    assert all(kinds[kind, True] > 0 and kinds[kind, False] > 0 for kind, _ in kinds)
