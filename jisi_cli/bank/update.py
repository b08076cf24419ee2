"""Changing a bank without a build: other scores for its responses, other settings. Vectors and texts stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jisi_cli
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.manifest import Manifest, model_folder, read_manifest, write_manifest
from jisi_cli.bank.tables import query_schema, read_pieces, response_schema
from jisi_cli.bank.transaction import (
    Transaction,
    effective_rows,
    has_repeated_rows,
    remove_leftovers,
    remove_replaced,
)
from jisi_cli.errors import BankError
from jisi_cli.formats.record import ScoreSource
from jisi_cli.hyperparameters import OWN_SETTINGS

if TYPE_CHECKING:
    import pyarrow as pa

Scores = Mapping[str, Mapping[int, float | None]]
"""By model and row; None makes a response unscored."""


def update_scores(
    bank: Bank, scores: Scores, graders: Mapping[int, str], sources: Mapping[int, ScoreSource] | None = None
) -> Manifest:
    """Write new scores in one step: afterwards the bank has all of them, or none. Nothing else of a response changes.

    The answers of a model that has new scores, or repeated rows, are written as one new part. The caller holds the
    bank's lock (`exclusive`).

    Args:
        bank: The bank, opened since the lock is held.
        scores: Scores of responses that are there.
        graders: By row, the grader that made them, where the bank names another or none.
        sources: By row, where its scores come from; graders by default.

    Raises:
        BankError: A part is missing or broken.
    """
    remove_replaced(bank.path)
    remove_leftovers(bank.path, bank.manifest)
    schema = response_schema(bank.dimension, bank.manifest.vector_dtype)
    responses, queries = dict(bank.manifest.responses), bank.manifest.queries
    with Transaction(bank.path, bank.manifest) as transaction:
        for model, parts in bank.manifest.responses.items():
            new = scores.get(model)
            if new or has_repeated_rows(bank.path, parts, schema):
                tables = _with_scores(effective_rows(bank.path, parts, schema), new or {}, sources or {})
                responses[model] = (transaction.stage(model_folder(model), "part", schema, tables),)
        if graders:
            schema = query_schema(bank.dimension, bank.manifest.vector_dtype)
            queries = (transaction.stage(".", "queries", schema, _with_graders(bank, graders, schema)),)
        created_by = f"jisi {jisi_cli.__version__}"
        manifest = replace(bank.manifest, queries=queries, responses=responses, created_by=created_by)
        transaction.commit(manifest)
    return manifest


def update_hyperparameters(bank: Bank, changes: Mapping[str, Any], method: str = "jisi") -> None:
    """Write the settings that were found to suit a bank into it.

    Args:
        bank: The bank that they were found on.
        changes: Settings by name, where they differ from the defaults; none leaves the defaults.
        method: Whose they are. Those of a method with settings of its own leave all others alone; those of any other
            method are what the paper's stages share.

    Raises:
        BankError: The bank has changed since it was opened, or is being built.
    """
    with exclusive(bank.path):
        if read_manifest(bank.path) != bank.manifest:
            raise BankError(f"{bank.path} has changed meanwhile, so nothing was written; calibrate it again")
        shared, own = bank.shared_settings, bank.own_settings
        if method in OWN_SETTINGS:
            own.pop(method, None)
            own |= {method: dict(changes)} if changes else {}
        else:
            shared = dict(changes)
        chosen = {**shared, **own}
        write_manifest(bank.path, replace(bank.manifest, hyperparameters=chosen))


def _with_scores(
    pieces: Iterable[pa.Table], scores: Mapping[int, float | None], sources: Mapping[int, ScoreSource]
) -> Iterator[pa.Table]:
    """Yield answers with their new scores; those without one as they are."""
    import pyarrow as pa

    for piece in pieces:
        rows = piece.column("row").to_pylist()
        given, status, source = (piece.column(name).to_pylist() for name in ("score", "status", "score_source"))
        for number, row in enumerate(rows):
            if row in scores:
                given[number] = scores[row]
                status[number] = "unscored" if scores[row] is None else "ok"
                source[number] = None if scores[row] is None else sources.get(row, "grader")
        table = _with_column(piece, "status", pa.array(status, pa.string()))
        table = _with_column(table, "score_source", pa.array(source, pa.string()))
        yield _with_column(table, "score", pa.array(given, pa.float64()))


def _with_graders(bank: Bank, graders: Mapping[int, str], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the table of questions with other graders."""
    import pyarrow as pa

    row = 0
    for part in bank.manifest.queries:
        for piece in read_pieces(bank.path, part, schema.names, schema):
            names = [graders.get(row + number, name) for number, name in enumerate(piece.column("grader").to_pylist())]
            row += len(names)
            yield _with_column(piece, "grader", pa.array(names, pa.string()))


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
