"""routerbench: RouterBench's wide table, CSV or Parquet with one row per question and columns per model.

`sample_id, prompt, eval_name, <model>` (score)`, <model>|model_response, <model>|total_cost,
oracle_model_to_route_to`. It is published as a pickle, which jisi does not open.

Prompts and responses are written as Python lists of turns (`['C)']`). Costs are dollars: the
published rows agree with the list prices of their time (71 prompt tokens and one token of
gpt-4-1106-preview at 10 and 30 USD per million are recorded as 0.00074).
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from jisi_cli.errors import InputError
from jisi_cli.formats import fields
from jisi_cli.formats.files import Preview
from jisi_cli.formats.hub_dataset import dataset_name
from jisi_cli.formats.issues import Located, Location, OnIssue, Row, UnusableError
from jisi_cli.formats.record import Question, Record
from jisi_cli.formats.table_blocks import read_rows

_RESPONSE, _COST = "|model_response", "|total_cost"
_LONGEST_LIST = 2**20
_ONE_TEXT = re.compile(r"""\['((?:[^'\\\r\n\0]++|\\[nt'"\\])*+)'\]|\["((?:[^"\\\r\n\0]++|\\[nt'"\\])*+)"\]""")
"""A list of one text, as nearly all are: this takes a fifth of the time of Python's parser, which reads the rest."""
_ESCAPED = {r"\n": "\n", r"\t": "\t", r"\'": "'", r"\"": '"', r"\\": "\\"}
_ESCAPE = re.compile(r"\\.")

TABLE = True


def matches(preview: Preview) -> bool:
    """Whether a row is one of RouterBench's."""
    return preview.has("sample_id", "prompt", "eval_name")


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield a record per row and model; see `Format`."""
    numbers, columns, models = fields.Numbers(), tuple[str, ...](), list[str]()
    for location, row in read_rows(source, on_issue):
        if tuple(row) != columns:
            columns, models = tuple(row), _models(row)
        if not models:
            raise InputError(f"{source}: no column ends in {_RESPONSE} or {_COST}; check --format")
        try:
            query = fields.required(_turns(row.get("prompt")), "prompt")
            index = fields.required(row.get("sample_id"), "sample_id")
            dataset = fields.name(row.get("eval_name"), "eval_name", dataset_name(source))
        except UnusableError as why:
            on_issue(location.issue(why))
            continue
        for model in models:
            try:
                record = _record(row, model, Question(dataset, index, query), location, numbers)
            except UnusableError as why:
                on_issue(location.issue(f"{model}: {why}"))
            else:
                yield location, record
    numbers.report(on_issue)


def _models(row: Row) -> list[str]:
    """Return the models in the order of their columns."""
    named = {column.removesuffix(end) for column in row for end in (_RESPONSE, _COST) if column.endswith(end)}
    return [column for column in row if column in named]


def _record(row: Row, model: str, question: Question, location: Location, numbers: fields.Numbers) -> Record:
    score = numbers.score(row[model], location)
    response = _turns(row.get(model + _RESPONSE))
    return Record(
        dataset=question.dataset,
        index=question.index,
        query=question.query,
        model=model,
        response=response,
        cost_usd=numbers.dollars(row.get(model + _COST), location),
        score=score,
        status=fields.status(response, score),
        order=fields.order(question.index),
    )


def _turns(value: object) -> str | None:
    """Return the texts of a list, or of one written as text, with blank lines between; else the text."""
    if isinstance(value, str) and value[:1] + value[-1:] == "[]" and len(value) <= _LONGEST_LIST:
        value = _literal(value)
    if isinstance(value, list) and value and all(isinstance(turn, str) for turn in value):
        value = "\n\n".join(value)
    return fields.text(value)


def _literal(written: str) -> object:
    """Return the list that Python source stands for; the source itself when it stands for none."""
    plain = _ONE_TEXT.fullmatch(written)
    if plain is not None and _is_utf8(written):
        return [_ESCAPE.sub(lambda found: _ESCAPED[found[0]], plain[1] if plain[2] is None else plain[2])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a backslash in a model's text is no mistake of the user's
        try:
            return ast.literal_eval(written)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return written


def _is_utf8(text: str) -> bool:
    """Whether a text holds no half of a surrogate pair, which Python's parser refuses."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
