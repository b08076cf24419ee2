"""embedllm: EmbedLLM's correctness table, CSV with one row per (question, model) and no responses.

`prompt_id, model_id, category_id, label, model_name, category, prompt`. A bank made of it can be
asked about queries only; methods that need responses say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.record import Located, OnProblem, Place, Problem, Record, Row, admitted, usable
from jisi_cli.formats.rows import read_rows


def read(source: Path, on_problem: OnProblem) -> Iterator[Record]:
    """Yield a record without response per row; see `Importer`."""
    return admitted(_located(source, on_problem), on_problem)


def _located(source: Path, on_problem: OnProblem) -> Iterator[Located]:
    yield from usable(read_rows(source, on_problem), _record, on_problem)
    on_problem(Problem(str(source), None, "this format records no responses and no tokens", note=True))


def _record(row: Row, place: Place) -> Record:
    index = fields.required(row.get("prompt_id"), "prompt_id")
    score = fields.score(row.get("label"))
    return Record(
        dataset=fields.name(row.get("category"), "category", Path(place.source).stem),
        index=index,
        query=fields.question(row, ("prompt",)),
        model=fields.required(fields.first(row, ("model_name", "model_id")), "model_name"),
        score=score,
        status=fields.status(None, score),
        order=fields.order(index),
    )
