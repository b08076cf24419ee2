"""llmrouter: routing data of ulab's LLMRouter, JSONL with one row per (question, model).

`{task_name, query, ground_truth, metric, choices, task_id, model_name, response, token_num,
input_tokens, output_tokens, response_time, performance, embedding_id}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.files import Preview
from jisi_cli.formats.hub_dataset import dataset_name
from jisi_cli.formats.issues import Located, Location, OnIssue, Row, usable
from jisi_cli.formats.questions import FirstRows, posed
from jisi_cli.formats.record import Record
from jisi_cli.formats.table_blocks import read_rows

_FAILED = "ERROR:"

TABLE = True


def matches(preview: Preview) -> bool:
    """Whether a row is one of LLMRouter's."""
    return preview.has("task_name", "query", "model_name", "performance")


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield a record per row; see `Format`."""
    first_rows, numbers = FirstRows(), fields.Numbers()

    def make(row: Row, location: Location) -> Record:
        dataset = fields.name(row.get("task_name"), "task_name", dataset_name(source))
        question = posed(row, ("query",), ("ground_truth",), asked=False)
        # Most tasks have no task_id; embedding_id numbers the questions, and without both the first row does.
        index = fields.name(fields.first(row, ("task_id", "embedding_id")), "task_id", "")
        index = index or first_rows.index(dataset, question.query, location)
        response = fields.text(row.get("response"))
        failed = response is not None and response.startswith(_FAILED)
        if failed:
            # The other numbers of such a row are 0 because they are unknown.
            row, response = {**row, "performance": None, "input_tokens": None, "output_tokens": None}, None
        score = numbers.score(row.get("performance"), location)
        return Record(
            dataset=dataset,
            index=index,
            query=question.query,
            model=fields.required(row.get("model_name"), "model_name"),
            reference=question.reference,
            response=response,
            prompt_tokens=numbers.tokens(row.get("input_tokens"), "input_tokens", location),
            completion_tokens=numbers.tokens(row.get("output_tokens"), "output_tokens", location),
            score=score,
            status="failed" if failed else fields.status(response, score),
            grader=question.grader,
            order=fields.order(index),
        )

    return usable(read_rows(source, on_issue), make, on_issue, numbers)
