from __future__ import annotations

import json
from pathlib import Path

from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.questions import Question, read_questions
from tests.formats.reading import FIXTURES


def test_a_question_is_found_under_any_of_its_keys():
    problems: list[ImportIssue] = []
    assert list(read_questions(FIXTURES / "questions.jsonl", problems.append)) == [
        Question("sums", "4", "What is 2 + 2?", "4", "numeric", 4),
        Question("questions", "2", "Capital of France?", "Paris", None, 2),
        Question("questions", "x1", "bare", "3", None, None),
        Question("questions", "4", "only a prompt", None, None, 4),
    ]
    assert [(problem.line, problem.message) for problem in problems] == [(5, "sums 4 appears twice; the first is kept")]


def test_lines_of_standard_input_are_read_as_they_come():
    problems: list[ImportIssue] = []
    lines = iter([b'{"query": "a"}\n', b"nonsense\n", b"\n", b'{"query": "b", "dataset": "d"}'])
    questions = read_questions(lines, problems.append, dataset="stdin")
    assert next(questions) == Question("stdin", "1", "a", order=1)
    assert next(lines) == b"nonsense\n"
    assert [(question.dataset, question.index) for question in questions] == [("d", "3")]
    assert [str(problem) for problem in problems] == []


def test_questions_are_read_from_lines_that_hold_answers_too():
    indices = [question.index for question in read_questions(FIXTURES / "jisi.jsonl", print)]
    assert indices == ["10", "9", "prime-1"]


def test_a_structured_reference_becomes_json_text(tmp_path: Path):
    source = tmp_path / "q.jsonl"
    source.write_text(json.dumps({"query": "q", "gt": ["a", 1]}), encoding="utf-8")
    assert next(read_questions(source, print)).reference == '["a", 1]'
