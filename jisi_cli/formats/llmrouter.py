"""llmrouter: routing data of ulab's LLMRouter, JSONL with one row per (question, model).

`{task_name, query, ground_truth, metric, choices, task_id, model_name, response, token_num,
input_tokens, output_tokens, response_time, performance, embedding_id}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.doubts import Doubts
from jisi_cli.formats.questions import FirstRows, Posed, posed
from jisi_cli.formats.record import Located, OnProblem, Place, Record, Row, admitted, usable
from jisi_cli.formats.rows import read_rows

_FAILED = "ERROR:"


def read(source: Path, on_problem: OnProblem) -> Iterator[Record]:
    """Yield a record per row; see `Importer`."""
    return admitted(_located(source, on_problem), on_problem)


def _located(source: Path, on_problem: OnProblem) -> Iterator[Located]:
    first_rows, doubts = FirstRows(), Doubts()

    def make(row: Row, place: Place) -> Record:
        dataset = fields.name(row.get("task_name"), "task_name", source.stem)
        question = posed(row, ("query",), ("ground_truth",), asked=False)
        # Most tasks have no task_id; embedding_id numbers the questions, and failing both the first row does.
        index = fields.name(fields.first(row, ("task_id", "embedding_id")), "task_id", "")
        index = index or first_rows.index(dataset, question.query, place)
        return _record(row, dataset, index, question, place, doubts)

    yield from usable(read_rows(source, on_problem), make, on_problem)
    doubts.tell(on_problem)


def _record(row: Row, dataset: str, index: str, question: Posed, place: Place, doubts: Doubts) -> Record:
    response = fields.text(row.get("response"))
    failed = response is not None and response.startswith(_FAILED)
    if failed:
        # What such a row holds besides is 0 for want of a value.
        row, response = {**row, "performance": None, "input_tokens": None, "output_tokens": None}, None
    score = doubts.score(row.get("performance"), place)
    return Record(
        dataset=dataset,
        index=index,
        query=question.query,
        model=fields.required(row.get("model_name"), "model_name"),
        reference=question.reference,
        response=response,
        prompt_tokens=doubts.tokens(row.get("input_tokens"), "input_tokens", place),
        completion_tokens=doubts.tokens(row.get("output_tokens"), "output_tokens", place),
        score=score,
        status="failed" if failed else fields.status(response, score),
        grader=question.grader,
        order=fields.order(index),
    )
