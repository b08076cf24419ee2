"""Writing a bank: new, extended by questions and models, or with other scores."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jisi_cli
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.diff import Diff, MissingTexts, compute_diff
from jisi_cli.bank.lock import LOCK_NAME, exclusive
from jisi_cli.bank.manifest import (
    MANIFEST_NAME,
    Manifest,
    Source,
    SplitSpec,
    VectorDtype,
    model_folder,
    read_manifest,
    write_manifest,
)
from jisi_cli.bank.staging import Staging
from jisi_cli.bank.tables import query_schema, read_pieces, response_schema
from jisi_cli.bank.transaction import (
    Transaction,
    effective_rows,
    has_repeated_rows,
    is_question_table,
    remove_leftovers,
    remove_replaced,
)
from jisi_cli.bank.vectors import OnProgress, VectorSource
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.errors import BankError, InputError, JisiError
from jisi_cli.formats.record import Failed

if TYPE_CHECKING:
    import pyarrow as pa

BUILDING = ".building"
"""Folder inside a bank for what a build under way must not lose."""
_MANIFEST = re.compile(rb'\s*(\Z|\{\s*"created_by": "jisi |\{.*"format_version")', re.DOTALL)
"""How a manifest begins, whole or cut short; a file of the same name may be somebody else's."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a bank is written.

    Attributes:
        split: Set test rows aside; None keeps the marks that the records carry.
        vector_dtype: Precision on disk of a new bank; an extended one keeps its own.
        append: Extend the existing bank.
        force: Replace the existing bank.
        failed: How a failed or empty answer counts in this bank; None for `wrong`, or what an extended bank says.
    """

    split: SplitSpec | None = None
    vector_dtype: VectorDtype = "float32"
    append: bool = False
    force: bool = False
    failed: Failed | None = None


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        manifest: The bank as it is now.
        questions: Questions added.
        answers: Answers added, by model.
        known: Answers that the bank already had.
        embedded: Texts embedded; 0 when vectors were given or an earlier, killed build had embedded all.
        truncated: Texts that were too long for the embedder and were cut.
        conflicts: Records left out, as sentences.
    """

    manifest: Manifest
    questions: int
    answers: Mapping[str, int]
    known: int
    embedded: int
    truncated: int
    conflicts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what was added and what the bank holds now as plain data."""
        return {
            "questions_added": self.questions,
            "answers_added": dict(self.answers),
            "answers_known": self.known,
            "texts_embedded": self.embedded,
            "texts_truncated": self.truncated,
            "questions": self.manifest.rows,
            "models": list(self.manifest.models),
            "embedder": self.manifest.embedder.to_json(),
        }


@contextlib.contextmanager
def reserved(path: Path, options: BuildOptions) -> Iterator[None]:
    """Hold the lock of a bank that is about to be written, before anything is paid for its answers.

    A bank that is extended is locked by `write_bank` alone, so that several processes may collect answers for it.

    Raises:
        InputError: Another file or folder is in the way.
        BankError: Another build is at work, or there is no bank to extend.
    """
    check_target(path, options)
    if options.append:
        yield
        return
    with exclusive(path):
        check_target(path, options)
        yield


def write_bank(
    path: Path,
    staging: Staging,
    vectors: VectorSource,
    options: BuildOptions,
    sources: Sequence[Source] = (),
    on_progress: OnProgress | None = None,
    *,
    on_wait: Callable[[], None] | None = None,
    is_reserved: bool = False,
) -> BuildReport:
    """Write a bank, or extend one.

    Args:
        path: The bank's folder.
        staging: Questions and answers.
        vectors: An embedder, or vectors that came with the answers.
        options: Split, precision, and what may happen to an existing bank.
        sources: Where the records came from, for the manifest.
        on_progress: Told how far embedding is.
        on_wait: Called before waiting for another build to end; None raises instead of waiting.
        is_reserved: Whether the caller holds the bank's lock (`exclusive`, or `reserved` of a new bank).

    Raises:
        InputError: There is nothing to build from, or another file or folder is in the way.
        BankError: The bank to extend is broken or has another embedder, or another build is at work.
        JisiError: The system cannot write, as on a full disk; the bank is as it was before.
    """
    check_target(path, options)
    with contextlib.nullcontext() if is_reserved else exclusive(path, on_wait):
        try:
            return _write_bank(path, staging, vectors, options, sources, on_progress)
        except OSError as error:
            # An error while writing an open file does not say its name.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise JisiError(
                f"{path} cannot be written ({reason}); free some space or allow writing, and run it again"
            ) from error


def _write_bank(
    path: Path,
    staging: Staging,
    vectors: VectorSource,
    options: BuildOptions,
    sources: Sequence[Source],
    on_progress: OnProgress | None,
) -> BuildReport:
    check_target(path, options)
    old = Bank(path) if options.append else None
    if old is not None:
        require_embedder(path, old.manifest.embedder, vectors.spec)
    remove_replaced(path)
    remove_leftovers(path, old.manifest if old else None)
    diff = compute_diff(old, staging, options.split)
    embedded = vectors.prepare(MissingTexts(diff), path / BUILDING, on_progress)
    manifest = _write_diff(path, old, diff, vectors, options, sources)
    remove_leftovers(path, manifest)
    shutil.rmtree(path / BUILDING, ignore_errors=True)
    return BuildReport(
        manifest=manifest,
        questions=len(diff.new),
        answers={model: len(answers) for model, answers in diff.answers.items()},
        known=diff.known,
        embedded=embedded,
        truncated=vectors.truncated,
        conflicts=(*staging.conflicts, *diff.conflicts),
    )


def check_target(path: Path, options: BuildOptions) -> None:
    """Refuse to write where something else lies, before any work is done.

    Raises:
        InputError: Another file or folder is in the way.
        BankError: There is no bank to extend.
    """
    has_bank = (path / MANIFEST_NAME).exists()
    if has_bank and options.force and not _is_manifest(path / MANIFEST_NAME):
        raise InputError(f"{path / MANIFEST_NAME} is not a manifest that jisi wrote; name another folder, or delete it")
    if options.append and not has_bank:
        raise BankError(f"no bank at {path} to extend; leave out --append to make one")
    if has_bank and not options.append and not options.force:
        raise InputError(f"{path} is a bank already; extend it with --append or replace it with --force")
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; a bank is a folder")
    if path.is_dir() and not has_bank:
        # A killed build leaves its lock; without one, even a file named like a part is somebody else's.
        begun = (path / LOCK_NAME).exists()
        entries = sorted(path.iterdir())
        stranger = next((entry.name for entry in entries if not (begun and _is_ours(entry.name))), None)
        if stranger is not None:
            raise InputError(f"{path} holds other files ({stranger}); name an empty or a new folder")


def require_embedder(path: Path, recorded: EmbedderSpec, found: EmbedderSpec) -> None:
    """Refuse to extend a bank by vectors of another embedder.

    A bank of given vectors may not say which revision made them; then any revision of that embedder is accepted.

    Raises:
        BankError: The two differ.
    """
    if recorded != found and (recorded.revision is not None or recorded != replace(found, revision=None)):
        raise BankError(
            f"{path} was embedded by {recorded.describe()}, not by {found.describe()}; "
            "use its embedder, or another bank"
        )


def _is_manifest(path: Path) -> bool:
    with path.open("rb") as file:
        return _MANIFEST.match(file.read(1 << 16)) is not None


def _is_ours(name: str) -> bool:
    ours = name in (BUILDING, LOCK_NAME, "responses") or name.startswith((".queries.", f".{MANIFEST_NAME}."))
    return ours or is_question_table(name)


def _write_diff(
    path: Path,
    old: Bank | None,
    diff: Diff,
    vectors: VectorSource,
    options: BuildOptions,
    sources: Sequence[Source],
) -> Manifest:
    dtype = old.manifest.vector_dtype if old else options.vector_dtype
    queries = old.manifest.queries if old else ()
    responses = dict(old.manifest.responses) if old else {}
    width = vectors.spec.dimension or 0
    schema = response_schema(width, dtype)
    with Transaction(path, old.manifest if old else None) as transaction:
        if len(diff.new):
            tables = diff.question_tables(old.manifest.rows if old else 0, vectors, dtype)
            queries = (*queries, transaction.stage(".", "queries", query_schema(width, dtype), tables))
        for model, answers in diff.answers.items():
            before, tables = responses.get(model, ()), answers.tables(model, vectors, dtype)
            if has_repeated_rows(path, before, schema, answers.rows.tolist()):
                tables, before = chain(effective_rows(path, before, schema, answers.rows.tolist()), tables), ()
            responses[model] = (*before, transaction.stage(model_folder(model), "part", schema, tables))
        manifest = Manifest(
            embedder=old.manifest.embedder if old else vectors.spec,
            vector_dtype=dtype,
            queries=queries,
            responses=responses,
            hyperparameters=old.manifest.hyperparameters if old else {},
            split=options.split or (old.manifest.split if old else None),
            sources=(*(old.manifest.sources if old else ()), *sources),
            created_by=f"jisi {jisi_cli.__version__}",
            failed=options.failed or (old.manifest.failed if old else "wrong"),
        )
        transaction.commit(manifest)
    return manifest


Scores = Mapping[str, Mapping[int, float | None]]
"""By model and row; None makes a response unscored."""


def update_scores(bank: Bank, scores: Scores, graders: Mapping[int, str]) -> Manifest:
    """Write new scores in one step: afterwards the bank has all of them, or none. Nothing else of a response changes.

    The answers of a model that has new scores, or repeated rows, are written as one new part. The caller holds the
    bank's lock (`exclusive`).

    Args:
        bank: The bank, opened since the lock is held.
        scores: Scores of responses that are there.
        graders: By row, the grader that made them, where the bank names another or none.

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
                tables = _with_scores(effective_rows(bank.path, parts, schema), new or {})
                responses[model] = (transaction.stage(model_folder(model), "part", schema, tables),)
        if graders:
            schema = query_schema(bank.dimension, bank.manifest.vector_dtype)
            queries = (transaction.stage(".", "queries", schema, _with_graders(bank, graders, schema)),)
        created_by = f"jisi {jisi_cli.__version__}"
        manifest = replace(bank.manifest, queries=queries, responses=responses, created_by=created_by)
        transaction.commit(manifest)
    return manifest


def update_hyperparameters(bank: Bank, changes: Mapping[str, Any]) -> None:
    """Write the settings that were found to suit a bank into it.

    Args:
        bank: The bank that they were found on.
        changes: Settings by name, where they differ from the paper's.

    Raises:
        BankError: The bank has changed since it was opened, or is being built.
    """
    with exclusive(bank.path):
        if read_manifest(bank.path) != bank.manifest:
            raise BankError(f"{bank.path} has changed meanwhile, so nothing was written; calibrate it again")
        write_manifest(bank.path, replace(bank.manifest, hyperparameters=dict(changes)))


def _with_scores(pieces: Iterable[pa.Table], scores: Mapping[int, float | None]) -> Iterator[pa.Table]:
    """Yield answers with their new scores; those without one as they are."""
    import pyarrow as pa

    for piece in pieces:
        rows = piece.column("row").to_pylist()
        given, status = piece.column("score").to_pylist(), piece.column("status").to_pylist()
        for number, row in enumerate(rows):
            if row in scores:
                given[number] = scores[row]
                status[number] = "unscored" if scores[row] is None else "ok"
        table = _with_column(piece, "status", pa.array(status, pa.string()))
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
