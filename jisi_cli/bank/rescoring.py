"""Other scores for the responses that a bank holds; nothing else about them changes, their vectors least of all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import jisi_cli
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import remove_unnamed_parts
from jisi_cli.bank.manifest import Manifest, model_folder
from jisi_cli.bank.replacing import Change, counting, remove_replaced, repeats
from jisi_cli.bank.tables import query_schema, read_pieces, response_schema

if TYPE_CHECKING:
    import pyarrow as pa

Scores = Mapping[str, Mapping[int, float | None]]
"""By model and row; None makes a response unscored."""


def commit_scores(bank: Bank, scores: Scores, graders: Mapping[int, str]) -> Manifest:
    """Write new scores in one step: the bank has all of them afterwards, or none.

    Each model's answers that are scored anew, or that stand in several parts, are written anew as one part. The caller
    holds the bank's lock (`exclusive`).

    Args:
        bank: The bank, opened since the lock is held.
        scores: Scores of responses that are there.
        graders: By row, the grader that made them, where the bank names another or none.

    Raises:
        BankError: A part is missing or broken.
    """
    remove_replaced(bank.path)
    remove_unnamed_parts(bank.path, bank.manifest)
    schema = response_schema(bank.dimension, bank.manifest.vector_dtype)
    responses, queries = dict(bank.manifest.responses), bank.manifest.queries
    with Change(bank.path, bank.manifest) as change:
        for model, parts in bank.manifest.responses.items():
            new = scores.get(model)
            if new or repeats(bank.path, parts, schema):
                tables = _rescored(counting(bank.path, parts, schema), new or {})
                responses[model] = (change.stage(model_folder(model), "part", schema, tables),)
        if graders:
            schema = query_schema(bank.dimension, bank.manifest.vector_dtype)
            queries = (change.stage(".", "queries", schema, _regraded(bank, graders, schema)),)
        created_by = f"jisi {jisi_cli.__version__}"
        manifest = replace(bank.manifest, queries=queries, responses=responses, created_by=created_by)
        change.commit(manifest)
    return manifest


def _rescored(pieces: Iterable[pa.Table], scores: Mapping[int, float | None]) -> Iterator[pa.Table]:
    """Yield answers with their new scores; those without one as they are."""
    import pyarrow as pa

    for piece in pieces:
        rows = piece.column("row").to_pylist()
        given, status = piece.column("score").to_pylist(), piece.column("status").to_pylist()
        for place, row in enumerate(rows):
            if row in scores:
                given[place] = scores[row]
                status[place] = "unscored" if scores[row] is None else "ok"
        table = _with_column(piece, "status", pa.array(status, pa.string()))
        yield _with_column(table, "score", pa.array(given, pa.float64()))


def _regraded(bank: Bank, graders: Mapping[int, str], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the table of questions with other graders."""
    import pyarrow as pa

    row = 0
    for part in bank.manifest.queries:
        for piece in read_pieces(bank.path, part, schema.names, schema):
            names = [graders.get(row + place, name) for place, name in enumerate(piece.column("grader").to_pylist())]
            row += len(names)
            yield _with_column(piece, "grader", pa.array(names, pa.string()))


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
