"""long: a table with one row per (question, model), as JSONL, CSV or Parquet; the plain one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.doubts import Doubts
from jisi_cli.formats.questions import QUERY, FirstRows, note_unread, posed
from jisi_cli.formats.record import Located, OnProblem, Place, Record, Row, admitted, usable
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
"""What is read, and the column names it is looked for under, best first."""


def read(source: Path, on_problem: OnProblem) -> Iterator[Record]:
    """Yield a record per row, and one note naming the columns that were not read; see `Importer`."""
    return admitted(_Table(source).located(on_problem), on_problem)


class _Table:
    """One file, with what later rows take from earlier ones."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._is_csv = source.suffix.lower() in (".csv", ".tsv")
        self._first_rows = FirstRows()
        self._doubts = Doubts()
        self._columns: dict[str, None] = {}
        self._read = {name for names in COLUMNS.values() for name in names}

    def located(self, on_problem: OnProblem) -> Iterator[Located]:
        yield from usable(read_rows(self._source, on_problem), self._record, on_problem)
        self._doubts.tell(on_problem)
        note_unread(self._columns, self._read, str(self._source), on_problem)

    def _record(self, row: Row, place: Place) -> Record:
        self._columns.update(dict.fromkeys(row))
        found = {field: fields.first(row, names) for field, names in COLUMNS.items()}
        query, reference, grader, read = posed(row, COLUMNS["query"], COLUMNS["reference"], asked=False)
        self._read.update(read)
        dataset = fields.name(found["dataset"], "dataset", self._source.stem)
        index = fields.name(found["index"], "index", "") or self._first_rows.index(dataset, query, place)
        score = self._doubts.score(found["score"], place)
        response = fields.text(found["response"])
        if response is None and score is not None and self._is_csv and self._has("response"):
            response = ""  # what CSV leaves of an empty response; one that was scored did exist
        return Record(
            dataset=dataset,
            index=index,
            query=query,
            model=fields.required(found["model"], "model"),
            reference=reference,
            response=response,
            prompt_tokens=self._doubts.tokens(found["prompt_tokens"], "prompt_tokens", place),
            completion_tokens=self._doubts.tokens(found["completion_tokens"], "completion_tokens", place),
            cost_usd=self._doubts.dollars(found["cost"], place),
            score=score,
            status=fields.status(response, score, found["status"]),
            split=fields.split(found["split"]),
            grader=grader,
            order=_order(found["order"], index),
        )

    def _has(self, field: str) -> bool:
        return any(name in self._columns for name in COLUMNS[field])


def _order(recorded: object, index: str) -> int | None:
    """Return the recorded position when it is a whole number; else the one that the index stands for."""
    written = fields.text(recorded)
    found = None if written is None or isinstance(recorded, bool) else fields.order(written)
    return fields.order(index) if found is None else found
