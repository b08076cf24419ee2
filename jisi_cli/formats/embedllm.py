"""embedllm: EmbedLLM's correctness table, CSV with one row per (question, model) and no responses.

`prompt_id, model_id, category_id, label, model_name, category, prompt`. A bank made of it can only be asked about
queries; methods that need responses say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jisi_cli.formats import fields
from jisi_cli.formats.files import Preview
from jisi_cli.formats.hub_dataset import dataset_name
from jisi_cli.formats.issues import ImportIssue, Located, Location, OnIssue, Row, usable
from jisi_cli.formats.record import Record
from jisi_cli.formats.table_blocks import read_rows

TABLE = True


def matches(preview: Preview) -> bool:
    """Whether a row is one of EmbedLLM's."""
    return preview.has("prompt_id", "model_id", "label")


def read(source: Path, on_issue: OnIssue) -> Iterator[Located]:
    """Yield a record without a response per row; see `Format`."""
    yield from usable(read_rows(source, on_issue), _record, on_issue)
    on_issue(ImportIssue(str(source), None, "this format records no responses and no tokens", note=True))


def _record(row: Row, location: Location) -> Record:
    index = fields.required(row.get("prompt_id"), "prompt_id")
    score = fields.score(row.get("label"))
    return Record(
        dataset=fields.name(row.get("category"), "category", dataset_name(Path(location.source))),
        index=index,
        query=fields.question(row, ("prompt",)),
        model=fields.required(fields.first(row, ("model_name", "model_id")), "model_name"),
        score=score,
        status=fields.status(None, score),
        order=fields.order(index),
    )
