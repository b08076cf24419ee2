"""Other scores for the responses that a bank holds; nothing else about them changes, their vectors least of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import jisi_cli
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import remove_unnamed_parts
from jisi_cli.bank.manifest import Manifest, PartFile, model_folder, write_manifest
from jisi_cli.bank.tables import query_schema, read_part, response_schema, write_part

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
    import pyarrow as pa

    schema = response_schema(bank.dimension, bank.manifest.vector_dtype)
    table = _read(bank, bank.manifest.responses[model], schema)
    # The last place of a row is the one that counts.
    places = {row: place for place, row in enumerate(table.column("row").to_pylist())}
    rows = sorted(scores)
    table = table.take([places[row] for row in rows])
    given = [scores[row] for row in rows]
    status = ["unscored" if score is None else "ok" for score in given]
    table = _with_column(table, "status", pa.array(status, pa.string()))
    table = _with_column(table, "score", pa.array(given, pa.float64()))
    return write_part(bank.path, model_folder(model), "part", schema, [table])


def _write_graders(bank: Bank, graders: Mapping[int, str]) -> PartFile:
    """Write the table of questions anew, with other graders."""
    import pyarrow as pa

    schema = query_schema(bank.dimension, bank.manifest.vector_dtype)
    table = _read(bank, bank.manifest.queries, schema)
    names = table.column("grader").to_pylist()
    for row, name in graders.items():
        names[row] = name
    table = _with_column(table, "grader", pa.array(names, pa.string()))
    return write_part(bank.path, ".", "queries", schema, [table])


def _read(bank: Bank, parts: tuple[PartFile, ...], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(read_part(bank.path, part, schema.names, schema) for part in parts)


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
