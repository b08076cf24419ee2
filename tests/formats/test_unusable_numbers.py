"""A number that cannot be used costs the number, never the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.formats.record import Record
from tests.cli.commands import jisi
from tests.formats.reading import read_all

UNUSABLE_SCORES = [85, 1.5, -0.1, "yes", "1/2", "85%", [1], {"acc": 1}, 1e400, "inf", "-1"]
UNKNOWN_SCORES = [None, float("nan"), "nan", "", "null"]
USABLE_SCORES = [(1, 1.0), (0, 0.0), (True, 1.0), (False, 0.0), ("0.5", 0.5), ("true", 1.0), (0.25, 0.25)]
UNUSABLE_TOKENS = [5.5, -3, "many", True, [1], 1e300, "1,234", float("inf")]
USABLE_TOKENS = [(12, 12), (12.0, 12), ("12", 12), ("12.0", 12), (None, None), (float("nan"), None), ("", None)]


def row(kind: str, score: object, tokens: object, cost: object = 0.5) -> dict[str, Any]:
    """Return a line of a format that holds one answer."""
    if kind == "long":
        answer = {"response": "42", "score": score, "completion_tokens": tokens, "cost_usd": cost}
        return {"query": "q", "model": "m", **answer}
    if kind == "llmrouter":
        answer = {"response": "42", "performance": score, "output_tokens": tokens}
        return {"task_name": "t", "query": "q", "model_name": "m", **answer}
    if kind == "jisi":
        usages = {"m": {"completion_tokens": tokens, "cost": cost}}
        return {"query": "q", "records": {"m": score}, "raw_output": {"m": "42"}, "usages": usages}
    record = {"index": 1, "origin_query": "q", "raw_output": "42", "score": score, "completion_tokens": tokens}
    return {"model_name": "m", "dataset_name": "d", "records": [{**record, "cost": cost}]}


def read(folder: Path, kind: str, *values: object) -> tuple[Record, list[str]]:
    path = folder / f"{kind}.{'json' if kind == 'llmrouterbench' else 'jsonl'}"
    path.write_text(json.dumps(row(kind, *values)), encoding="utf-8")
    (found,), problems = read_all(path, kind)
    return found, [problem.message for problem in problems if problem.doubt]


KINDS = ["long", "llmrouter", "jisi", "llmrouterbench"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_with_an_unusable_score_is_kept_unscored_with_one_warning(tmp_path: Path, kind: str) -> None:
    for score in UNUSABLE_SCORES:
        found, doubts = read(tmp_path, kind, score, 5)
        assert (found.response, found.score, found.status, found.completion_tokens) == ("42", None, "unscored", 5)
        assert len(doubts) == 1
        assert doubts[0].endswith("; such answers are unscored: 1; `jisi bank grade` grades them")
    for score in UNKNOWN_SCORES:
        found, doubts = read(tmp_path, kind, score, 5)
        assert (found.score, found.status, doubts) == (None, "unscored", [])
    for score, value in USABLE_SCORES:
        found, doubts = read(tmp_path, kind, score, 5)
        assert (found.score, found.status, doubts) == (value, "ok", [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_count_of_tokens_that_cannot_be_used_is_unknown_with_one_warning(tmp_path: Path, kind: str) -> None:
    for tokens in UNUSABLE_TOKENS:
        found, doubts = read(tmp_path, kind, 1.0, tokens)
        assert (found.response, found.score, found.completion_tokens) == ("42", 1.0, None)
        assert len(doubts) == 1
        assert doubts[0].endswith("; such counts of tokens are unknown: 1")
    for tokens, value in USABLE_TOKENS:
        found, doubts = read(tmp_path, kind, 1.0, tokens)
        assert (found.completion_tokens, doubts) == (value, [])


@pytest.mark.parametrize("kind", ["long", "jisi", "llmrouterbench"])
def test_a_cost_that_cannot_be_used_is_unknown_with_one_warning(tmp_path: Path, kind: str) -> None:
    for cost in (-1, "free", float("inf")):
        found, doubts = read(tmp_path, kind, 1.0, 5, cost)
        assert (found.response, found.score, found.cost_usd) == ("42", 1.0, None)
        assert len(doubts) == 1
        assert doubts[0].endswith("; such costs are unknown: 1")


def test_usage_that_is_no_object_costs_the_counts_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = {"query": "q", "records": {"m": 1}, "raw_output": {"m": "42"}, "usages": {"m": 7}}
    path.write_text(json.dumps(line), encoding="utf-8")
    (found,), problems = read_all(path)
    assert (found.response, found.score, found.completion_tokens) == ("42", 1.0, None)
    assert [problem.doubt for problem in problems] == [True]


def test_many_are_counted_in_one_warning_per_kind_and_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [{"query": f"q{n}", "model": "m", "response": "x", "score": 50 + n, "prompt_tokens": -n} for n in range(9)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    records, problems = read_all(path)
    assert len(records) == 9
    assert [str(problem) for problem in problems] == [
        f"{path}:1: score 50 is not between 0 and 1; such answers are unscored: 9; `jisi bank grade` grades them",
        f"{path}:2: prompt_tokens -1 is not a count of tokens; such counts of tokens are unknown: 8",
    ]

    path = tmp_path / "a.csv"
    path.write_text("sample_id,prompt,eval_name,m,m|model_response,m|total_cost\n1,q,e,85,42,-1\n", encoding="utf-8")
    (found,), problems = read_all(path)
    assert (found.response, found.score, found.status, found.cost_usd) == ("42", None, "unscored", None)
    assert len([problem for problem in problems if problem.doubt]) == 2


def test_the_answer_is_warned_of_built_and_graded_and_strict_stops(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = {"query": "What is 6*7?", "ground_truth": "42", "grader": "numeric", "model": "m", "response": "42"}
    path.write_text(json.dumps({**line, "score": 85, "completion_tokens": 5.5}), encoding="utf-8")
    build = ("bank", "build", path, "--embedder", "hashing:64", "-o")
    run = jisi(*build, tmp_path / "bank", "-q")
    assert run.exit_code == 0
    assert len(run.warnings) == 2
    assert jisi("bank", "grade", tmp_path / "bank", "--json").json["models"]["m"]["after"] == 1.0
    strict = jisi(*build, tmp_path / "strict", "--strict")
    assert strict.exit_code == 2
    assert "score 85 is not between 0 and 1" in strict.errors[0]
