"""A row of the tidy table, and the record that it stands for, whatever the row holds."""

from __future__ import annotations

from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.column_map import REFERENCE, SCORE, TEXT, require_one
from jisi_cli.formats.hub_dataset import dataset_name, first_file
from jisi_cli.formats.issues import Location, Row
from jisi_cli.formats.questions import FirstRows, posed
from jisi_cli.formats.record import Record

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


UNANSWERED = ("target", "expected")
"""Further columns of the right answer where there is no response, beside which `answer` may be one."""


class RowReader:
    """Makes a record of each row of a table, and remembers what later rows of it need.

    Args:
        source: The file.
    """

    def __init__(self, source: Path) -> None:
        self.dataset = dataset_name(source)
        """Of rows that name none."""
        self.first_rows, self.numbers = FirstRows(), fields.Numbers()
        self.columns: dict[str, None] = {}
        """The columns that rows had so far."""
        self.known = {name for names in COLUMNS.values() for name in names}
        """The columns that were read."""
        self._is_csv = first_file(source).suffix.lower() in (".csv", ".tsv")

    @property
    def leaves_out_empty(self) -> bool:
        """Whether no response may be an empty one, which CSV cannot tell from none."""
        return self._is_csv and not self.columns.keys().isdisjoint(COLUMNS["response"])

    def record(self, row: Row, location: Location) -> Record:
        """Return the record of one row.

        Raises:
            UnusableError: There is none in it.
            InputError: It cannot be told which column holds what.
        """
        self.columns.update(dict.fromkeys(row))
        numbers = self.numbers
        found = {field: fields.first(row, names) for field, names in COLUMNS.items()}
        query, reference, grader, read_from = posed(row, COLUMNS["query"], _references(row, location), asked=False)
        self.known.update(read_from)
        if found["score"] is None:
            found["score"] = _verdict(row, location, self.known)
        dataset = fields.name(found["dataset"], "dataset", self.dataset)
        index = fields.name(found["index"], "index", "") or self.first_rows.index(dataset, query, location)
        score = numbers.score(found["score"], location)
        response = fields.text(found["response"])
        if response is None and score is not None and self.leaves_out_empty:
            response = ""  # it was scored, so there was one
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


def _references(row: Row, location: Location) -> tuple[str, ...]:
    """Return the columns of the right answer, best first; `answer` is one only beside a response.

    Raises:
        InputError: Either of two columns may be the one.
    """
    usual = COLUMNS["reference"]
    if fields.first(row, usual) is not None:
        return usual
    if fields.first(row, COLUMNS["response"]) is None:
        return (*usual, *UNANSWERED)
    require_one(row, "gt", location)
    return (*usual, *REFERENCE)


_VERDICTS = frozenset({"0", "1", "0.0", "1.0", "true", "false"})


def is_verdict(value: object) -> bool:
    """Whether a value says that an answer is right, or that it is wrong."""
    return (fields.text(value) or "").lower() in _VERDICTS


def _verdict(row: Row, location: Location, known: set[str]) -> object:
    """Return what says whether an answer is right, in a column that may also hold a label; None where none does.

    Raises:
        InputError: Either of two columns may be the one.
    """
    held = {name: row[name] for name in SCORE[1:] if is_verdict(row.get(name))}
    if not held:
        return None
    require_one(held, "score", location)
    known.add(next(iter(held)))
    return next(iter(held.values()))


def recorded_order(value: object) -> int | None:
    """Return the recorded position where it is a whole number."""
    written = None if isinstance(value, bool) else fields.text(value)
    return None if written is None else fields.order(written)


def _order(recorded: object, index: str) -> int | None:
    """Return the recorded position when it is a whole number; else the one that the index stands for."""
    found = recorded_order(recorded)
    return fields.order(index) if found is None else found
