"""long: the tidy table, with one row per (question, model), as JSONL, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.issues import Located, Location, OnIssue, Row, usable
from jisi_cli.formats.preview import Preview
from jisi_cli.formats.questions import QUERY, FirstRows, note_unread, posed, poses_question
from jisi_cli.formats.record import Record
from jisi_cli.formats.rows import read_rows

COLUMNS: dict[str, tuple[str, ...]] = {
    "dataset": ("dataset", "task"),
    "index": ("index", "question_id"),
    "order": ("rank", "order"),
    "query": QUERY,
    "reference": ("ground_truth", "reference", "gt"),
    "model": ("model", "model_name"),
    "response": ("response", "raw_output"),
    "prompt_tokens": ("prompt_tokens", "input_tokens"),
    "completion_tokens": ("completion_tokens", "output_tokens"),
    "cost": ("cost_usd", "cost"),
    "score": ("score",),
    "status": ("status",),
    "split": ("split",),
    "grader": ("grader",),
}
"""What is read, and the names of the columns that may hold it, best first."""

RANK = 9
"""Asked last: a question and a model say little."""


def matches(preview: Preview) -> bool:
    """Whether a row has a question and names a model."""
    return poses_question(preview.columns) and not preview.columns.isdisjoint(COLUMNS["model"])


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield a record per row, and one note with the columns that were not read; see `Format`."""
    is_csv = source.suffix.lower() in (".csv", ".tsv")
    first_rows, numbers = FirstRows(), fields.Numbers()
    columns: dict[str, None] = {}
    known = {name for names in COLUMNS.values() for name in names}

    def make(row: Row, location: Location) -> Record:
        columns.update(dict.fromkeys(row))
        found = {field: fields.first(row, names) for field, names in COLUMNS.items()}
        query, reference, grader, read_from = posed(row, COLUMNS["query"], COLUMNS["reference"], asked=False)
        known.update(read_from)
        dataset = fields.name(found["dataset"], "dataset", source.stem)
        index = fields.name(found["index"], "index", "") or first_rows.index(dataset, query, location)
        score = numbers.score(found["score"], location)
        response = fields.text(found["response"])
        if response is None and score is not None and is_csv and not columns.keys().isdisjoint(COLUMNS["response"]):
            response = ""  # what CSV leaves of an empty response; it was scored, so there was one
        return Record(
            dataset=dataset,
            index=index,
            query=query,
            model=fields.required(found["model"], "model"),
            reference=reference,
            response=response,
            prompt_tokens=numbers.tokens(found["prompt_tokens"], "prompt_tokens", location),
            completion_tokens=numbers.tokens(found["completion_tokens"], "completion_tokens", location),
            cost_usd=numbers.dollars(found["cost"], location),
            score=score,
            status=fields.status(response, score, found["status"]),
            split=fields.split(found["split"]),
            grader=grader,
            order=_order(found["order"], index),
        )

    yield from usable(read_rows(source, on_issue), make, on_issue, numbers)
    note_unread(columns, known, str(source), on_issue)


def _order(recorded: object, index: str) -> int | None:
    """Return the recorded position when it is a whole number; else the one that the index stands for."""
    written = fields.text(recorded)
    found = None if written is None or isinstance(recorded, bool) else fields.order(written)
    return fields.order(index) if found is None else found
