"""jisi: JSONL with one question a line and all models' answers in it; the format of the JiSi authors.

`{query, dataset, index, split, records: {model: score}, usages: {model: {prompt_tokens,
completion_tokens, cost}}, raw_output: {model: text}, gt}`. Avengers-Pro writes the same without
split, raw_output and gt. jisi itself adds `errors: {model: text}` for calls that failed, and `finish_reasons:
{model: word}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.files import Preview
from jisi_cli.formats.hub_dataset import dataset_name
from jisi_cli.formats.issues import Located, Location, Numbered, OnIssue, Row, UnusableError
from jisi_cli.formats.long_rows import COLUMNS as LONG
from jisi_cli.formats.questions import poses_question, question_of
from jisi_cli.formats.record import Question, Record
from jisi_cli.formats.rows import json_value
from jisi_cli.formats.table_blocks import read_rows

_LONGEST_WORD = 100


RANK = 2
"""Asked late: one key tells it."""

TABLE = True


def matches(preview: Preview) -> bool:
    """Whether a row has `records`, or, where nothing is graded yet, a question and the models' answers alone."""
    is_of_one_model = not preview.columns.isdisjoint(LONG["model"])
    is_ungraded = preview.has("raw_output") and poses_question(preview.columns) and not is_of_one_model
    return preview.has("records") or is_ungraded


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield a record per question and model; see `Format`."""
    return records_of(read_rows(source, on_issue), dataset_name(source), on_issue)


def records_of(rows: Iterable[Numbered], dataset: str, on_issue: OnIssue) -> Iterator[Located]:
    """Yield the records of each row; an unusable value costs one model's answer, not the line.

    Args:
        rows: The lines.
        dataset: The dataset of lines that name none.
        on_issue: Told of what is skipped.
    """
    numbers = fields.Numbers()
    for location, row in rows:
        try:
            question = question_of(row, dataset, location)
            answers = _Answers(row, location, numbers)
        except (UnusableError, RecursionError) as why:
            on_issue(location.issue(why))
            continue
        for model in answers.models:
            try:
                record = answers.record(model, question)
            except (UnusableError, RecursionError) as why:
                on_issue(location.issue(f"{model}: {why}"))
            else:
                yield location, record
    numbers.report(on_issue)


class _Answers:
    """The three maps of a line from model to score, usage and response, whichever it has."""

    def __init__(self, row: Row, location: Location, numbers: fields.Numbers) -> None:
        self._location, self._numbers = location, numbers
        self._scores = _table(row, "records")
        self._usages = _table(row, "usages")
        self._responses = _table(row, "raw_output")
        # Other programs' lines may have keys of these names, so only what jisi itself writes is read.
        self._errors, self._reasons = _own_table(row, "errors"), _own_table(row, "finish_reasons")
        self._split = fields.split(row.get("split"))
        # The order of raw_output is the model axis of the authors' vectors, so it comes first.
        self.models = list(dict.fromkeys([*self._responses, *self._scores]))
        if not self.models:
            raise UnusableError("no model's answer; this format keeps scores in `records`")

    def record(self, model: str, question: Question) -> Record:
        name = fields.required(model, "model name")
        score = self._numbers.score(self._scores.get(model), self._location)
        response = fields.text(self._responses.get(model))
        usage = self._usage(model)
        failed = self._errors.get(model) is not None and response is None
        return Record(
            dataset=question.dataset,
            index=question.index,
            query=question.query,
            model=name,
            reference=question.reference,
            response=response,
            prompt_tokens=self._numbers.tokens(usage.get("prompt_tokens"), "prompt_tokens", self._location),
            completion_tokens=self._numbers.tokens(usage.get("completion_tokens"), "completion_tokens", self._location),
            cost_usd=self._numbers.dollars(usage.get("cost"), self._location),
            score=score,
            status=fields.status(response, score, "failed" if failed else None),
            split=self._split,
            grader=question.grader,
            error=(fields.text(self._errors[model]) or None) if failed else None,
            order=question.order,
            finish_reason=_word(self._reasons.get(model)),
        )

    def _usage(self, model: str) -> Row:
        try:
            return _table(self._usages, model)
        except UnusableError:
            return {"completion_tokens": [self._usages[model]]}  # which is no number, and counted as such


def _word(value: object) -> str | None:
    """Return a word, cut to a bounded length; None for anything else."""
    return value[:_LONGEST_WORD] if isinstance(value, str) and value.strip() else None


def _own_table(row: Row, key: str) -> Row:
    """Return a table that jisi adds to the format; empty where something else has its name."""
    try:
        return _table(row, key)
    except UnusableError:
        return {}


def _table(row: Row, key: str) -> Row:
    found = row.get(key)
    if isinstance(found, str) and found.strip()[:1] == "{":  # a cell of CSV
        found = json_value(found.encode())
    if isinstance(found, list) and all(isinstance(pair, tuple) for pair in found):  # a map of Parquet
        found = dict(found)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise UnusableError(f"`{key}` must be an object with a key per model, not {fields.shown(found)}")
    return found
