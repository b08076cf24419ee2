"""Multiple choice in the shapes that data sets have: asked with its choices, and answered by a letter."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.questions import Question, read_questions
from jisi_cli.formats.registry import QUESTIONS, detect
from tests.formats.reading import read_all

STEM = "Which of these is a prime number?"
ASKED = f"{STEM}\nA. 4\nB. 6\nC. 7\nD. 8"
TEXTS = ["4", "6", "7", "8"]


def read(path: Path) -> tuple[list[Question], list[str]]:
    problems: list[ImportIssue] = []
    return list(read_questions(path, problems.append)), [str(problem) for problem in problems]


def asked(folder: Path, row: dict[str, Any]) -> Question:
    """Return the question of a file of one line, which is read without a complaint."""
    path = folder / "q.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert detect(path) == QUESTIONS
    (found,), problems = read(path)
    assert problems == []
    return found


@pytest.mark.parametrize(
    "row",
    [
        {"choices": TEXTS, "answer": 2},
        {"choices": TEXTS, "answer": 2.0},
        {"options": TEXTS, "answer": "C", "answer_index": 2},
        {"options": TEXTS, "answer_index": 2},
        {"choices": {"text": TEXTS, "label": ["A", "B", "C", "D"]}, "answerKey": "C"},
        {"choices": {"text": TEXTS, "label": ["1", "2", "3", "4"]}, "answerKey": "3"},
        {"choices": {"text": TEXTS, "labels": ["A", "B", "C", "D"]}, "answerKey": "C"},
        {"choices": [{"text": text, "label": label} for text, label in zip(TEXTS, "ABCD", strict=True)], "answer": "C"},
        {"choices": dict(zip("ABCD", TEXTS, strict=True)), "answer": "C"},
        {"options": dict(zip("abcd", TEXTS, strict=True)), "answer": "c"},
        {"endings": TEXTS, "label": "2"},
        {"choices": [4, 6, 7, 8], "answer": 2},
        {"choices": [*TEXTS, None, ""], "answer": 2},
        {"choices": json.dumps(TEXTS), "answer": "2"},
        {"choices": str(TEXTS), "answer": "C"},
        {"choices": str({"text": TEXTS, "labels": list("ABCD")}), "answer": "C"},
        {"options": ["A)4", "B)6", "C)7", "D)8"], "correct": "C"},
        {"A": "4", "B": "6", "C": "7", "D": "8", "answer": 2},
        {"option_a": "4", "option_b": "6", "option_c": "7", "option_d": "8", "answer": "C"},
        {"opa": "4", "opb": "6", "opc": "7", "opd": "8", "cop": 2},
        {"option1": "4", "option2": "6", "option3": "7", "option4": "8", "answer": "3"},
        {"choice1": "4", "choice2": "6", "choice3": "7", "choice4": "8", "label": 2},
        {"Choice 0": "4", "Choice 1": "6", "Choice 2": "7", "Choice 3": "8", "label": "2"},
        {"choices": TEXTS, "answer": "7"},
        {"choices": TEXTS, "answer": "(C)"},
        {"choices": TEXTS, "answer": "C. 7"},
        {"choices": TEXTS, "answer": ["C"]},
    ],
)
def test_a_question_is_asked_with_its_choices_and_its_answer_is_a_letter(tmp_path: Path, row: dict[str, Any]) -> None:
    assert asked(tmp_path, {"question": STEM, **row}) == Question("q", "1", ASKED, "C", "choice", 1)


@pytest.mark.parametrize(
    "row",
    [
        {"question": {"stem": STEM, "choices": [{"text": t, "label": c} for t, c in zip(TEXTS, "ABCD", strict=True)]}},
        {"ctx": STEM, "endings": TEXTS},
        {"question_stem": STEM, "choices": {"text": TEXTS, "label": list("ABCD")}},
        {"query": STEM, "choices": TEXTS},
    ],
)
def test_the_stem_is_found_where_data_sets_keep_it(tmp_path: Path, row: dict[str, Any]) -> None:
    found = asked(tmp_path, {**row, "answerKey": "C"})
    assert (found.query, found.reference, found.grader) == (ASKED, "C", "choice")


def test_choices_that_the_question_names_itself_are_not_written_twice(tmp_path: Path) -> None:
    for query in (ASKED, ASKED.replace(". ", ") "), f"{STEM} (A) 4 (B) 6 (C) 7 (D) 8"):
        assert asked(tmp_path, {"prompt": query, "choices": TEXTS, "answer": 2}).query == query
    numbered = {"prompt": "Which? 1) x 2) y", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
    assert (asked(tmp_path, numbered).query, asked(tmp_path, numbered).reference) == ("Which? 1) x 2) y", "2")
    # The texts alone are no letters.
    assert asked(tmp_path, {"prompt": "Of 4, 6, 7, 8?", "choices": TEXTS}).query == ASKED.replace(
        STEM, "Of 4, 6, 7, 8?"
    )


def test_a_row_s_own_grader_stays_and_without_an_answer_none_is_named(tmp_path: Path) -> None:
    assert asked(tmp_path, {"question": STEM, "choices": TEXTS, "answer": 2, "grader": "exact"}).grader == "exact"
    assert asked(tmp_path, {"question": STEM, "choices": TEXTS}).grader is None
    free = asked(tmp_path, {"question": STEM, "choices": TEXTS, "answer": "seven"})
    assert (free.reference, free.grader) == ("seven", None)
    assert asked(tmp_path, {"question": "6*7?", "choices": [], "answer": 2}).reference == "2"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"choices": TEXTS, "answer": 4}, "answer 4 is no position, counted from 0, of 4 choices"),
        ({"choices": TEXTS, "label": "-1"}, None),
        ({"choices": 4}, "choices in a shape that is not read: `4`"),
        ({"options": "4, 6, 7 or 8"}, "choices in a shape that is not read: `4, 6, 7 or 8`; give a list"),
        ({"options": [["4", 0], ["6", 0]]}, 'choices in a shape that is not read: `[["4", 0], ["6", 0]]`'),
        ({"options": [{"4": 0}, {"6": 0}]}, "choices without `text`"),
    ],
)
def test_a_question_whose_choices_cannot_be_read_is_not_asked(
    tmp_path: Path, row: dict[str, Any], complaint: str | None
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": STEM, **row}), encoding="utf-8")
    questions, problems = read(path)
    assert problems == ([f"{path}:1: {complaint}"] if complaint else [])
    assert len(questions) == (complaint is None)


def test_columns_that_may_matter_and_are_not_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    row = {"question": STEM, "passage": "…", "distractor1": "4", "choices": TEXTS, "answer": 2, "subject": "maths"}
    path.write_text(json.dumps(row), encoding="utf-8")
    assert read(path)[1] == [f"{path}: columns that are not read: `passage`, `distractor1`, `subject`"]


def test_a_table_of_texts_alone_says_when_an_answer_can_be_meant_in_two_ways(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["question", "A", "B", "C", "answer"])
        table.writerows([["one?", "4", "6", "7", "2"], ["two?", "1", "2", "3", "2"], ["three?", "1", "2", "3", "B"]])
    questions, problems = read(path)
    assert [(question.query, question.reference) for question in questions] == [
        ("one?\nA. 4\nB. 6\nC. 7", "C"),
        ("three?\nA. 1\nB. 2\nC. 3", "B"),
    ]
    complaint = "answer `2` is one choice and the position of another; write its letter"
    assert problems == [f"{path}:3: {complaint}"]


def test_parquet_of_nested_choices_is_read_alike(tmp_path: Path) -> None:
    row = {"question": STEM, "choices": {"text": TEXTS, "label": list("ABCD")}, "answer": 2}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "q.parquet")
    assert read(tmp_path / "q.parquet") == ([Question("q", "1", ASKED, "C", "choice", 1)], [])


@pytest.mark.parametrize(
    "row",
    [
        {"query": STEM, "model": "m", "response": "C", "choices": TEXTS, "ground_truth": 2},
        {"query": STEM, "records": {"m": 1.0}, "raw_output": {"m": "C"}, "choices": TEXTS, "gt": "7"},
        {
            "task_name": "q",
            "query": STEM,
            "model_name": "m",
            "performance": 1.0,
            "response": "C",
            "choices": str({"text": TEXTS, "labels": list("ABCD")}),
            "ground_truth": "C",
        },
    ],
)
def test_recorded_answers_keep_the_choices_of_their_questions(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    (record,), problems = read_all(path)
    assert (record.query, record.reference, record.grader, record.response) == (ASKED, "C", "choice", "C")
    assert not any("choices" in problem.message for problem in problems)


def test_recorded_answers_are_kept_whatever_their_choices_are(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    rows = [
        {"query": "a?", "model": "m", "response": "C", "choices": 4, "ground_truth": 2},
        {"query": "b?", "model": "m", "response": "C", "choices": TEXTS, "ground_truth": 9},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert [(record.query.partition("\n")[0], record.reference) for record in read_all(path)[0]] == [
        ("a?", "2"),
        ("b?", "9"),
    ]
