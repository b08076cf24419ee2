"""long: the tidy table, with one row per (question, model), as JSONL, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.column_map import REFERENCE, SCORE, TEXT, ColumnMap, require_one
from jisi_cli.formats.hub_dataset import dataset_name, first_file
from jisi_cli.formats.issues import Located, Location, OnIssue, Row, usable
from jisi_cli.formats.preview import Preview
from jisi_cli.formats.questions import FirstRows, note_unread, posed, poses_question
from jisi_cli.formats.record import Record
from jisi_cli.formats.rows import read_rows

COLUMNS: dict[str, tuple[str, ...]] = {
    "dataset": ("dataset", "task"),
    "index": ("index", "question_id"),
    "order": ("rank", "order"),
    "query": TEXT,
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

TABLE = True


def matches(preview: Preview) -> bool:
    """Whether a row has a question and names a model."""
    return poses_question(preview.columns) and not preview.columns.isdisjoint(COLUMNS["model"])


def read(source: Path, on_issue: OnIssue, names: ColumnMap | None = None) -> Iterator[Located]:
    """Yield a record per row, and one note with the columns that were not read; see `Format`.

    Args:
        source: The file.
        on_issue: Told of everything that is skipped.
        names: Which columns hold what, where they have no names of their own for it.

    Raises:
        InputError: The file cannot be read, or it cannot be told which column holds what.
    """
    is_csv = first_file(source).suffix.lower() in (".csv", ".tsv")
    first_rows, numbers = FirstRows(), fields.Numbers()
    columns: dict[str, None] = {}
    known = {name for names in COLUMNS.values() for name in names}

    def make(row: Row, location: Location) -> Record:
        columns.update(dict.fromkeys(row))
        found = {field: fields.first(row, names) for field, names in COLUMNS.items()}
        query, reference, grader, read_from = posed(row, COLUMNS["query"], _references(row, location), asked=False)
        known.update(read_from)
        if found["score"] is None:
            found["score"] = _verdict(row, location, known)
        dataset = fields.name(found["dataset"], "dataset", dataset_name(source))
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

    rows = (names or ColumnMap()).renamed(read_rows(source, on_issue), str(source))
    yield from usable(rows, make, on_issue, numbers)
    note_unread(columns, known, str(source), on_issue)


def _references(row: Row, location: Location) -> tuple[str, ...]:
    """Return the columns of the right answer, best first; `answer` is one only beside a response.

    Raises:
        InputError: Either of two columns may be the one.
    """
    usual = COLUMNS["reference"]
    if fields.first(row, usual) is not None:
        return usual
    if fields.first(row, COLUMNS["response"]) is None:
        return (*usual, "target", "expected")
    require_one(row, "gt", location)
    return (*usual, *REFERENCE)


_VERDICTS = frozenset({"0", "1", "0.0", "1.0", "true", "false"})


def _verdict(row: Row, location: Location, known: set[str]) -> object:
    """Return what says whether an answer is right, in a column that may also hold a label; None where none does.

    Raises:
        InputError: Either of two columns may be the one.
    """
    held = {name: row[name] for name in SCORE[1:] if (fields.text(row.get(name)) or "").lower() in _VERDICTS}
    if not held:
        return None
    require_one(held, "score", location)
    known.add(next(iter(held)))
    return next(iter(held.values()))


def _order(recorded: object, index: str) -> int | None:
    """Return the recorded position when it is a whole number; else the one that the index stands for."""
    written = fields.text(recorded)
    found = None if written is None or isinstance(recorded, bool) else fields.order(written)
    return fields.order(index) if found is None else found
