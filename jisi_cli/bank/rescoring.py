"""Other scores for the responses that a bank holds; nothing else about them changes, their vectors least of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import jisi_cli
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import remove_unnamed_parts
from jisi_cli.bank.manifest import Manifest, PartFile, model_folder, write_manifest
from jisi_cli.bank.tables import query_schema, read_part, read_pieces, response_schema, write_part

if TYPE_CHECKING:
    import pyarrow as pa

Scores = Mapping[str, Mapping[int, float | None]]
"""By model and row; None makes a response unscored."""


def commit_scores(bank: Bank, scores: Scores, graders: Mapping[int, str]) -> Manifest:
    """Write new scores in one step: the bank has all of them afterwards, or none.

    The rows go into one further part per model, where they replace the earlier ones. The caller holds the
    bank's lock (`exclusive`).

    Args:
        bank: The bank, opened since the lock is held.
        scores: Scores of responses that are there.
        graders: By row, the grader that made them, where the bank names another or none.

    Raises:
        BankError: A part is missing or broken.
    """
    # What is replaced now stays until the next time: it may be open somewhere.
    remove_unnamed_parts(bank.path, bank.manifest)
    responses = dict(bank.manifest.responses)
    for model, rows in scores.items():
        if rows:
            responses[model] = (*responses[model], _write_scores(bank, model, rows))
    manifest = replace(
        bank.manifest,
        queries=(_write_graders(bank, graders),) if graders else bank.manifest.queries,
        responses=responses,
        created_by=f"jisi {jisi_cli.__version__}",
    )
    write_manifest(bank.path, manifest)
    return manifest


def _write_scores(bank: Bank, model: str, scores: Mapping[int, float | None]) -> PartFile:
    schema = response_schema(bank.dimension, bank.manifest.vector_dtype)
    tables = _rescored(bank, bank.manifest.responses[model], scores, schema)
    return write_part(bank.path, model_folder(model), "part", schema, tables)


def _rescored(
    bank: Bank, parts: Sequence[PartFile], scores: Mapping[int, float | None], schema: pa.Schema
) -> Iterator[pa.Table]:
    """Yield the rows that are scored anew, in pieces; of a row that several parts have, the last one counts."""
    import pyarrow as pa

    latest = {
        row: number
        for number, part in enumerate(parts)
        for row in read_part(bank.path, part, ["row"], schema).column("row").to_pylist()
    }
    for number, part in enumerate(parts):
        for piece in read_pieces(bank.path, part, schema.names, schema):
            rows = piece.column("row").to_pylist()
            places = [place for place, row in enumerate(rows) if row in scores and latest[row] == number]
            if not places:
                continue
            given = [scores[rows[place]] for place in places]
            status = ["unscored" if score is None else "ok" for score in given]
            table = _with_column(piece.take(places), "status", pa.array(status, pa.string()))
            yield _with_column(table, "score", pa.array(given, pa.float64()))


def _write_graders(bank: Bank, graders: Mapping[int, str]) -> PartFile:
    """Write the table of questions anew, with other graders."""
    schema = query_schema(bank.dimension, bank.manifest.vector_dtype)
    return write_part(bank.path, ".", "queries", schema, _regraded(bank, graders, schema))


def _regraded(bank: Bank, graders: Mapping[int, str], schema: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow as pa

    row = 0
    for part in bank.manifest.queries:
        for piece in read_pieces(bank.path, part, schema.names, schema):
            names = [graders.get(row + place, name) for place, name in enumerate(piece.column("grader").to_pylist())]
            row += len(names)
            yield _with_column(piece, "grader", pa.array(names, pa.string()))


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
