"""Building a bank: new, or extended by questions and models."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import jisi_cli
from jisi_cli.bank.bank import Bank, local_folder
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
)
from jisi_cli.bank.sources import Selection, read_sources
from jisi_cli.bank.staging import Staging
from jisi_cli.bank.tables import query_schema, response_schema
from jisi_cli.bank.transaction import (
    Transaction,
    effective_rows,
    has_repeated_rows,
    is_question_table,
    remove_leftovers,
    remove_replaced,
)
from jisi_cli.bank.vectors import EmbeddedVectors, OnProgress, VectorSource
from jisi_cli.embed.protocol import Embedder, EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import BankError, InputError, JisiError, did_you_mean
from jisi_cli.formats.issues import OnIssue
from jisi_cli.formats.record import Failed

if TYPE_CHECKING:
    pass

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

    Raises:
        InputError: The options contradict each other, or a bank cannot have that precision.
    """

    split: SplitSpec | None = None
    vector_dtype: VectorDtype = "float32"
    append: bool = False
    force: bool = False
    failed: Failed | None = None

    def __post_init__(self) -> None:
        if self.append and self.force:
            raise InputError("--append extends a bank and --force replaces it; give one of them")
        if self.vector_dtype not in get_args(VectorDtype):
            near = did_you_mean(self.vector_dtype, get_args(VectorDtype))
            raise InputError(f"--vector-dtype must be float16 or float32, not {self.vector_dtype!r}{near}")


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
        agreement: How many questions agreement and labels score now; None where neither was asked for.
    """

    manifest: Manifest
    questions: int
    answers: Mapping[str, int]
    known: int
    embedded: int
    truncated: int
    conflicts: tuple[str, ...] = ()
    agreement: Mapping[str, int] | None = None

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
            **({} if self.agreement is None else {"agreement": dict(self.agreement)}),
        }


def build_bank(
    sources: str | Path | Sequence[str | Path],
    path: str | Path,
    *,
    embedder: str | Embedder | None = None,
    format: str | None = None,
    selection: Selection | None = None,
    options: BuildOptions | None = None,
    on_issue: OnIssue | None = None,
    on_progress: OnProgress | None = None,
) -> BuildReport:
    """Build a bank from recorded answers.

    Example:
        >>> report = build_bank("sample_data/answers.jsonl", "my-bank", embedder="hashing")
        >>> report.questions, sorted(report.answers)[0]
        (256, 'gemma3-examples')

    Args:
        sources: Files and folders of recorded answers.
        path: The bank's folder or address.
        embedder: Its name, or the embedder itself; by default that of an extended bank, or `minilm`.
        format: The format of all sources; None detects the format of each.
        selection: Which records to take; all by default.
        options: Split, precision, and what may happen to an existing bank.
        on_issue: Called with each line that cannot be used; by default such lines are skipped.
        on_progress: Told how far embedding is.

    Raises:
        InputError: A source, the embedder or an option cannot be used, or another file or folder is in the way.
        BankError: The bank to extend is missing, broken or of another embedder, or another build is at work.
    """
    path, options = local_folder(path), options or BuildOptions()
    paths = [Path(source) for source in ([sources] if isinstance(sources, str | Path) else sources)]
    check_target(path, options, paths)
    if embedder is None:
        spec = read_manifest(path).embedder if options.append else EmbedderSpec("minilm")
        embedder = load_embedder(spec)
    vectors = EmbeddedVectors(load_embedder(EmbedderSpec(embedder)) if isinstance(embedder, str) else embedder)
    with reserved(path, options):
        found = read_sources(
            paths,
            format=format,
            selection=selection,
            on_issue=on_issue or (lambda issue: None),
            folder=path / BUILDING,
        )
        is_reserved = not options.append
        return write_bank(path, found.staging, vectors, options, found.described, on_progress, is_reserved=is_reserved)


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


def check_target(path: Path, options: BuildOptions, sources: Sequence[Path] = ()) -> None:
    """Refuse to overwrite anything else, before any work is done.

    Args:
        path: The bank's folder.
        options: What may happen to an existing bank.
        sources: What will be read, which must not be replaced.

    Raises:
        InputError: Another file or folder is in the way.
        BankError: There is no bank to extend.
    """
    inside = None if options.append else next((source for source in sources if _is_within(source, path)), None)
    if inside is not None:
        raise InputError(f"{inside} is inside {path}, which will be replaced; move it elsewhere first")
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


def _is_within(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead to each other
        return False


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
            labels=old.manifest.labels if old else (),
        )
        transaction.commit(manifest)
    return manifest
