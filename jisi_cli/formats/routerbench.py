"""routerbench: RouterBench's wide table, CSV or Parquet with one row per question and columns per model.

`sample_id, prompt, eval_name, <model>` (score)`, <model>|model_response, <model>|total_cost,
oracle_model_to_route_to`. It is published as a pickle, which jisi does not open.

Prompts and responses are written as Python lists of turns (`['C)']`). Costs are dollars: the
published rows agree with the list prices of their time (71 prompt tokens and one token of
gpt-4-1106-preview at 10 and 30 USD per million are recorded as 0.00074).
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

from jisi_cli.errors import InputError
from jisi_cli.formats import fields
from jisi_cli.formats.doubts import Doubts
from jisi_cli.formats.record import Located, OnProblem, Place, Question, Record, Row, Unusable, admitted
from jisi_cli.formats.rows import read_rows

_RESPONSE, _COST = "|model_response", "|total_cost"
_LONGEST_LIST = 2**20


def read(source: Path, on_problem: OnProblem) -> Iterator[Record]:
    """Yield a record per row and model; see `Importer`."""
    return admitted(_located(source, on_problem), on_problem)


def _located(source: Path, on_problem: OnProblem) -> Iterator[Located]:
    doubts = Doubts()
    for place, row in read_rows(source, on_problem):
        models = _models(row)
        if not models:
            raise InputError(f"{source}: no column ends in {_RESPONSE} or {_COST}; check --format")
        try:
            query = fields.required(_turns(row.get("prompt")), "prompt")
            index = fields.required(row.get("sample_id"), "sample_id")
            dataset = fields.name(row.get("eval_name"), "eval_name", source.stem)
        except Unusable as why:
            on_problem(place.problem(why))
            continue
        for model in models:
            try:
                record = _record(row, model, Question(dataset, index, query), place, doubts)
            except Unusable as why:
                on_problem(place.problem(f"{model}: {why}"))
            else:
                yield place, record
    doubts.tell(on_problem)


def _models(row: Row) -> list[str]:
    """Return the models in the order of their columns."""
    named = {column.removesuffix(end) for column in row for end in (_RESPONSE, _COST) if column.endswith(end)}
    return [column for column in row if column in named]


def _record(row: Row, model: str, question: Question, place: Place, doubts: Doubts) -> Record:
    score = doubts.score(row[model], place)
    response = _turns(row.get(model + _RESPONSE))
    return Record(
        dataset=question.dataset,
        index=question.index,
        query=question.query,
        model=model,
        response=response,
        cost_usd=doubts.dollars(row.get(model + _COST), place),
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a backslash in a model's text is no mistake of the user's
        try:
            return ast.literal_eval(written)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return written
