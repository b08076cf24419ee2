"""The sample questions: their shape, and their answers where a program can work them out again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.grading.registry import Submission, load_grader, reads_texts_alone

SAMPLE_DATA = Path(__file__).parents[1] / "sample_data"
DATASETS = {
    "arithmetic",
    "word-problems",
    "unit-conversion",
    "code-output",
    "facts",
    "strings",
    "dates",
    "logic",
}


def _questions() -> list[dict[str, Any]]:
    lines = (SAMPLE_DATA / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


QUESTIONS = _questions()
CODE = [question for question in QUESTIONS if question["dataset"] == "code-output"]


def _name(question: dict[str, Any]) -> str:
    return f"{question['dataset']}-{question['index']}"


def test_every_question_has_the_same_keys_all_of_them_text() -> None:
    for question in QUESTIONS:
        assert list(question) == ["dataset", "index", "query", "gt", "grader"]
        assert all(isinstance(value, str) and value.strip() for value in question.values())


def test_each_of_eight_datasets_has_about_thirty_questions() -> None:
    counts = Counter(question["dataset"] for question in QUESTIONS)
    assert set(counts) == DATASETS
    assert len(QUESTIONS) >= 240
    assert all(25 <= count <= 40 for count in counts.values())


def test_the_indices_of_a_dataset_count_from_one() -> None:
    for dataset in DATASETS:
        indices = [question["index"] for question in QUESTIONS if question["dataset"] == dataset]
        assert indices == [f"{number:04d}" for number in range(1, len(indices) + 1)]


def test_no_question_is_asked_twice() -> None:
    queries = [" ".join(question["query"].lower().split()) for question in QUESTIONS]
    assert len(set(queries)) == len(queries)


def test_every_question_says_how_to_answer() -> None:
    endings = {
        "choice": r"\nAnswer with the letter\.$",
        "numeric": r" Give only the (number\.|fraction in lowest terms, written like 1/2\.)$",
        "exact": r"[\n ]Give only the (output|word|letter|text|resulting text|date|date as YYYY-MM-DD|"
        r"time as HH:MM \(24 hours\))\.$",
    }
    for question in QUESTIONS:
        assert re.search(endings[question["grader"]], question["query"]), _name(question)


@pytest.mark.parametrize("question", QUESTIONS, ids=_name)
def test_the_answer_is_right_by_its_own_grader(question: dict[str, Any]) -> None:
    assert reads_texts_alone(question["grader"])
    grader = load_grader(question["grader"])
    assert grader.extract(question["gt"]) is not None
    for response in (question["gt"], f"The answer is {question['gt']}."):
        assert grader.grade(Submission(question["query"], question["gt"], response, "")) == 1.0


def test_a_choice_is_one_of_the_options_and_no_letter_is_favoured() -> None:
    choices = [question for question in QUESTIONS if question["grader"] == "choice"]
    for question in choices:
        options = re.findall(r"^([A-D])\) (.+)$", question["query"], re.MULTILINE)
        letters, texts = zip(*options, strict=True)
        assert "".join(letters) == "ABCD"[: len(letters)]
        assert len(set(texts)) == len(texts)
        assert question["gt"] in letters
    for dataset in ("facts", "logic"):
        counts = Counter(question["gt"] for question in choices if question["dataset"] == dataset)
        assert set(counts) == set("ABCD")
        assert max(counts.values()) - min(counts.values()) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("question", CODE, ids=_name)
def test_the_program_prints_the_answer(question: dict[str, Any]) -> None:
    block = re.search(r"```python\n(.*?)\n```", question["query"], re.DOTALL)
    assert block is not None
    run = subprocess.run([sys.executable, "-I", "-c", block[1]], capture_output=True, text=True, check=True)
    assert run.stdout == question["gt"] + "\n"
