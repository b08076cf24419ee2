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
from typing import TYPE_CHECKING

import jisi_cli
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.diff import Addition, Change, Texts, beyond, counting, remove_replaced, repeats
from jisi_cli.bank.lock import LOCK_NAME, exclusive
from jisi_cli.bank.manifest import MANIFEST_NAME, Manifest, Source, SplitSpec, VectorDtype, model_folder
from jisi_cli.bank.staging import Gathered
from jisi_cli.bank.tables import query_schema, read_pieces, response_schema
from jisi_cli.bank.vector_map import remove_maps
from jisi_cli.bank.vectors import OnProgress, VectorSource
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.errors import BankError, InputError, JisiError
from jisi_cli.formats.record import Failed

if TYPE_CHECKING:
    import pyarrow as pa


# Writing a bank: new, or extended by questions and models.
#
# Parts are immutable and named by their contents; `bank.json` names the parts that count and is
# replaced last, in one step. A build that dies leaves the old bank, or none, and its journal.


BUILDING = ".building"
"""Folder inside a bank for what a build under way must not lose."""
_QUERIES = re.compile(r"queries(-[0-9a-f]{12})?\.parquet")
"""How `stage_part` calls tables of questions; what is only similar belongs to somebody else."""
_RESPONSES = re.compile(r"part-[0-9a-f]{12}\.parquet")
_DRAFT = re.compile(r"\.(queries|part)\.\d+\.part|\.bank\.json\.\d+")
_MANIFEST = re.compile(rb'\s*(\Z|\{\s*"created_by": "jisi |\{.*"format_version")', re.DOTALL)
"""How a manifest begins, whole or cut short; a file of the same name may be somebody else's."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a bank is written.

    Attributes:
        split: Set test rows aside; None keeps the marks that the records carry.
        vector_dtype: Precision on disk of a new bank; an extended one keeps its own.
        append: Extend the bank that is there.
        force: Replace the bank that is there.
        failed: What a failed or empty answer counts in this bank; None for wrong, or what an extended bank says.
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
        embedded: Texts embedded; 0 when vectors were given or an earlier, killed build had done it.
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


def build_bank(
    path: Path,
    gathered: Gathered,
    vectors: VectorSource,
    options: BuildOptions,
    sources: Sequence[Source] = (),
    on_progress: OnProgress | None = None,
    on_wait: Callable[[], None] | None = None,
) -> BuildReport:
    """Write a bank, or extend one.

    Args:
        path: The bank's folder.
        gathered: Questions and answers.
        vectors: An embedder, or vectors that were given.
        options: Split, precision, and what may happen to a bank that is there.
        sources: Where the records came from, for the manifest.
        on_progress: Told how far embedding is.
        on_wait: Called before waiting for another build to end; None refuses to wait.

    Raises:
        InputError: There is nothing to build from, or something else is in the way.
        BankError: The bank to extend is broken or has another embedder; another build is at work.
    """
    check_target(path, options)
    with exclusive(path, on_wait):
        return write_bank(path, gathered, vectors, options, sources, on_progress)


def write_bank(
    path: Path,
    gathered: Gathered,
    vectors: VectorSource,
    options: BuildOptions,
    sources: Sequence[Source] = (),
    on_progress: OnProgress | None = None,
) -> BuildReport:
    """Do what `build_bank` does, for a caller that holds the bank's lock (`exclusive`).

    Raises:
        JisiError: The machine refuses to write, as on a full disk; the bank is as it was.
    """
    try:
        return _write_bank(path, gathered, vectors, options, sources, on_progress)
    except OSError as error:
        # An open file that cannot be written does not say its name.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise JisiError(f"{path} cannot be written ({reason}); make room or allow it, and run it again") from error


def _write_bank(
    path: Path,
    gathered: Gathered,
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
    remove_unnamed_parts(path, old.manifest if old else None)
    addition = beyond(old, gathered, options.split)
    embedded = vectors.prepare(Texts(addition), path / BUILDING, on_progress)
    manifest = _write(path, old, addition, vectors, options, sources)
    remove_unnamed_parts(path, manifest)
    shutil.rmtree(path / BUILDING, ignore_errors=True)
    return BuildReport(
        manifest=manifest,
        questions=len(addition.new),
        answers={model: len(answers) for model, answers in addition.answers.items()},
        known=addition.known,
        embedded=embedded,
        truncated=vectors.truncated,
        conflicts=(*gathered.conflicts, *addition.conflicts),
    )


def require_embedder(path: Path, recorded: EmbedderSpec, found: EmbedderSpec) -> None:
    """Refuse to extend a bank by vectors of another embedder.

    A bank of given vectors may not say which revision made them; then any of that embedder will do.

    Raises:
        BankError: The two differ.
    """
    if recorded != found and (recorded.revision is not None or recorded != replace(found, revision=None)):
        raise BankError(
            f"{path} was embedded by {recorded.describe()}, not by {found.describe()}; "
            "use its embedder, or another bank"
        )


def check_target(path: Path, options: BuildOptions) -> None:
    """Refuse to write where something else lies, before any work is done.

    Raises:
        InputError: The place is taken.
        BankError: There is no bank to extend.
    """
    has_bank = (path / MANIFEST_NAME).exists()
    if has_bank and options.force and not _is_manifest(path / MANIFEST_NAME):
        raise InputError(f"{path / MANIFEST_NAME} is no manifest that jisi wrote; name another folder, or delete it")
    if options.append and not has_bank:
        raise BankError(f"no bank at {path} to extend; leave out --append to make one")
    if has_bank and not options.append and not options.force:
        raise InputError(f"{path} is a bank already; extend it with --append or replace it with --force")
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; a bank is a folder")
    if path.is_dir() and not has_bank:
        # A build that died has left its lock; without one, even what is named like a part is somebody else's.
        begun = (path / LOCK_NAME).exists()
        entries = sorted(path.iterdir())
        stranger = next((entry.name for entry in entries if not (begun and _is_ours(entry.name))), None)
        if stranger is not None:
            raise InputError(f"{path} holds other files ({stranger}); name an empty or a new folder")


def _write(
    path: Path,
    old: Bank | None,
    addition: Addition,
    vectors: VectorSource,
    options: BuildOptions,
    sources: Sequence[Source],
) -> Manifest:
    dtype = old.manifest.vector_dtype if old else options.vector_dtype
    queries = old.manifest.queries if old else ()
    responses = dict(old.manifest.responses) if old else {}
    width = vectors.spec.dimension or 0
    schema = response_schema(width, dtype)
    with Change(path, old.manifest if old else None) as change:
        if len(addition.new):
            tables = addition.question_tables(old.manifest.rows if old else 0, vectors, dtype)
            queries = (*queries, change.stage(".", "queries", query_schema(width, dtype), tables))
        for model, answers in addition.answers.items():
            before, tables = responses.get(model, ()), answers.tables(model, vectors, dtype)
            if repeats(path, before, schema, answers.rows.tolist()):
                tables, before = chain(counting(path, before, schema, answers.rows.tolist()), tables), ()
            responses[model] = (*before, change.stage(model_folder(model), "part", schema, tables))
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
        change.commit(manifest)
    return manifest


def remove_unnamed_parts(path: Path, manifest: Manifest | None) -> None:
    """Delete what builds that died or were replaced left behind."""
    if manifest is None and (path / MANIFEST_NAME).exists():
        return  # a bank that is about to be replaced stays readable until the new one is committed
    remove_maps(path)
    named = {path / part.path for part in manifest.parts()} if manifest else set()
    leftovers = (
        *(file for file in path.glob("queries*.parquet") if _QUERIES.fullmatch(file.name)),
        *(file for file in path.glob("responses/model=*/*.parquet") if _RESPONSES.fullmatch(file.name)),
        *(file for file in (*path.glob(".*"), *path.glob("responses/model=*/.*")) if _DRAFT.fullmatch(file.name)),
    )
    for file in leftovers:
        if file not in named:
            file.unlink(missing_ok=True)
    for folder in path.glob("responses/model=*"):
        with contextlib.suppress(OSError):
            folder.rmdir()  # only an empty one goes


def _is_manifest(path: Path) -> bool:
    with path.open("rb") as file:
        return _MANIFEST.match(file.read(1 << 16)) is not None


def _is_ours(name: str) -> bool:
    ours = name in (BUILDING, LOCK_NAME, "responses") or name.startswith((".queries.", f".{MANIFEST_NAME}."))
    return ours or _QUERIES.fullmatch(name) is not None


# Other scores for the responses that a bank holds; nothing else about them changes, their vectors least of all.


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
