"""`bank.json`: what a bank is made of. Replacing this one file is what commits a build."""

from __future__ import annotations

import errno
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args
from urllib.parse import quote

from jisi_cli.copies import is_copy
from jisi_cli.embed.protocol import LONGEST_PROMPT, EmbedderSpec, Truncation, name_problem
from jisi_cli.errors import BankError, InputError
from jisi_cli.files import read_plain
from jisi_cli.formats.record import Failed, Key
from jisi_cli.table_reader import TableReader

FORMAT_VERSION = 1
MANIFEST_NAME = "bank.json"
VectorDtype = Literal["float16", "float32"]

REPLACED = ".replaced"
"""Folder inside a bank for parts that its last change replaced, each called by its hash."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_FOLDER_NAME = 200
MOST_BYTES = 16 * 2**20
"""Of a manifest."""
_MAX_REPEATS = 100
_WIDEST = 2**20
_LONGEST_REVISION = 256
LONGEST_LABEL = 20_000
"""Characters of a right answer that a person gives."""


@dataclass(frozen=True, slots=True)
class PartFile:
    """One Parquet file of the bank; written once, never changed.

    Attributes:
        path: Relative to the bank, with forward slashes.
        rows: How many rows it holds.
        sha256: Hash of its bytes.
    """

    path: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How train and test rows were told apart (paper §4.1)."""

    fraction: float
    seed: int
    method: str = "numpy.random.RandomState(seed).shuffle per dataset, first int(fraction * n) are train"


def split_rule(fraction: float | None, seed: int) -> SplitSpec | None:
    """Return the rule that sets test rows aside; None for a fraction of None.

    Args:
        fraction: Share of train rows.
        seed: Seed of the shuffle.

    Raises:
        InputError: A value is out of range.
    """
    if fraction is not None and not 0 < fraction <= 1:
        raise InputError(f"--split must be above 0 and at most 1, not {fraction:g}")
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed must be from 0 to 2^32 - 1, not {seed}")
    return None if fraction is None else SplitSpec(fraction, seed)


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows came from."""

    name: str
    format: str
    sha256: str
    records: int


@dataclass(frozen=True, slots=True)
class Label:
    """What a person says about the answers to a question.

    Attributes:
        dataset: The question's.
        index: The question's.
        answer: The right final answer; None where none of the answers is right.
        skipped: Whether they left the question for later; then the answer says nothing.
    """

    dataset: str
    index: str
    answer: str | None = None
    skipped: bool = False

    @property
    def key(self) -> Key:
        """What identifies the question."""
        return (self.dataset, self.index)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of `bank.json`.

    Attributes:
        embedder: What made the vectors; a query must be embedded by the same.
        vector_dtype: Precision of the vectors on disk.
        queries: Parts of the question table, in bank order.
        responses: Parts per model; where several have a row, as in banks of earlier versions, the last one's counts.
        hyperparameters: Settings chosen for this bank; empty means the paper's.
        split: How test rows were set aside; None where no rule did: what is marked as test came so marked.
        sources: What the bank was built from.
        created_by: Version of jisi that wrote it.
        failed: What a failed or empty answer to a graded question counts.
        labels: What people said about questions, one a question.
    """

    embedder: EmbedderSpec
    vector_dtype: VectorDtype
    queries: tuple[PartFile, ...]
    responses: dict[str, tuple[PartFile, ...]]
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    split: SplitSpec | None = None
    sources: tuple[Source, ...] = ()
    created_by: str = ""
    format_version: int = FORMAT_VERSION
    failed: Failed = "wrong"
    labels: tuple[Label, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in code-point order."""
        return tuple(sorted(self.responses))

    @property
    def rows(self) -> int:
        """Number of questions, train and test."""
        return sum(part.rows for part in self.queries)

    def parts(self) -> Iterator[PartFile]:
        """Yield all parts."""
        yield from self.queries
        for parts in self.responses.values():
            yield from parts


def model_folder(model: str) -> str:
    """Return the folder of a model's responses, safe as a file name on every system."""
    escaped = quote(model, safe="")
    if len(escaped) > _LONGEST_FOLDER_NAME:
        import hashlib

        escaped = escaped[:_LONGEST_FOLDER_NAME] + "~" + hashlib.sha256(model.encode()).hexdigest()[:12]
    return f"responses/model={escaped}"


def is_sha256(name: str) -> bool:
    """Whether a name is a hash, as parts are called that were put aside."""
    return _SHA256.fullmatch(name) is not None


def part_path(bank: Path, part: PartFile) -> Path:
    """Return where a part is: under its own name, or where the bank's last change moved what it replaced."""
    path, kept = bank / part.path, bank / REPLACED / part.sha256
    # Links in a downloaded bank must not lead outside of it.
    if path.exists() or not is_sha256(part.sha256) or (bank / REPLACED).is_symlink() or kept.is_symlink():
        return path
    return kept if kept.is_file() else path


def write_manifest(bank: Path, manifest: Manifest, staged: Collection[PartFile] = ()) -> None:
    """Commit a build: replace `bank.json` in one step, after everything it names is on disk.

    Where the folder is the copy of a bank in an object store, it is replaced there first.

    Args:
        bank: The bank's folder.
        manifest: What is to stand there.
        staged: Parts that were written for it.

    Raises:
        BankError: Another writer has changed the bank in the store, or the store cannot be written.
    """
    text = json.dumps(_written(manifest), indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False)
    content = text.encode("utf-8")
    if is_copy(bank):
        from jisi_cli.bank.remote_commit import publish

        publish(bank, manifest, content, staged)
    replace_manifest(bank, content)


def replace_manifest(bank: Path, content: bytes) -> None:
    """Replace `bank.json` in one step by what is to stand there."""
    temporary = bank / f".{MANIFEST_NAME}.{os.getpid()}"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(bank / MANIFEST_NAME)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _written(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as plain data; what came later is left out where it says nothing, as in banks from before."""
    data = asdict(manifest)
    if manifest.failed == "wrong":
        del data["failed"]
    if not manifest.labels:
        del data["labels"]
    return data


def read_manifest(bank: Path) -> Manifest:
    """Read and check `bank.json`, which may come from anywhere.

    Raises:
        BankError: There is no bank, its manifest is broken, or a newer jisi wrote it.
    """
    path = bank / MANIFEST_NAME
    try:
        content = read_plain(path, MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise BankError(f"no bank at {bank}; build one with `jisi bank build SOURCE -o {bank}`") from None
    except PermissionError as error:
        raise forbidden(path) from error
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise BankError(
                f"{path} is larger than any manifest ({MOST_BYTES >> 20} MiB); is it the right file?"
            ) from error
        raise _unreadable(path, error) from error
    return parse_manifest(content, bank)


def parse_manifest(content: bytes, bank: Path) -> Manifest:
    """Read and check what `bank.json` holds, which may come from anywhere.

    Args:
        content: Its bytes.
        bank: The bank's folder, for errors.

    Raises:
        BankError: It is broken, or a newer jisi wrote it.
    """
    path = bank / MANIFEST_NAME
    try:
        data = json.loads(content.decode("utf-8"))
        # Python reads lone surrogates and NaN as JSON, but neither can be written again.
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise BankError(
            f"{bank} has bank format {version}, this jisi reads up to {FORMAT_VERSION}; upgrade jisi "
            "(`pip install -U jisi`) or build the bank again with --force"
        )
    try:
        return _parse(TableReader(data, "the manifest"))
    except ValueError as error:
        raise BankError(f"{path} is not a bank manifest ({error}); build the bank again with --force") from error


def _unreadable(path: Path, error: Exception) -> BankError:
    return BankError(f"{path} cannot be read ({error}); build the bank again with --force")


def forbidden(path: Path) -> BankError:
    """Return the error for a file of a bank that the user may not read, where building again would not help."""
    return BankError(f"{path} cannot be read (permission denied); allow it, or use a copy that is yours")


def _parse(table: TableReader) -> Manifest:
    table.require("embedder", "queries", "responses", "hyperparameters", "split", "sources")
    table.need_whole("format_version", FORMAT_VERSION, FORMAT_VERSION)
    responses = table.table("responses")
    manifest = Manifest(
        embedder=_embedder(table.table("embedder")),
        vector_dtype=cast(VectorDtype, table.need_one_of("vector_dtype", get_args(VectorDtype))),
        queries=tuple(map(_part, table.tables("queries"))),
        responses={model: tuple(map(_part, responses.tables(model))) for model in responses.names()},
        hyperparameters=table.table("hyperparameters").data,
        split=None if table.data["split"] is None else _split(table.table("split")),
        sources=tuple(map(_source, table.tables("sources"))),
        created_by=table.need_text("created_by"),
        failed=cast(Failed, table.one_of("failed", get_args(Failed)) or "wrong"),
        labels=tuple(map(_label, table.tables("labels"))),
    )
    _refuse_repetition(manifest)
    return manifest


def _refuse_repetition(manifest: Manifest) -> None:
    """Refuse a part that is named very often, since it would be read every time.

    An answer that fails in the same way again is the same part again, so a model may name one twice.
    """
    parts = [*manifest.queries, *(part for parts in manifest.responses.values() for part in parts)]
    for part, times in Counter(part.path for part in parts).most_common(1):
        if times > _MAX_REPEATS:
            raise ValueError(f"the part {part!r} is named {times:,} times")
    if len(set(manifest.queries)) < len(manifest.queries):
        raise ValueError("a part of `queries` is named twice")
    if len({label.key for label in manifest.labels}) < len(manifest.labels):
        raise ValueError("a question is labelled twice")


def _embedder(table: TableReader) -> EmbedderSpec:
    table.require("revision", "prompt", "max_tokens")
    name = table.need_text("name")
    revision, prompt = table.text("revision", blank=True), table.text("prompt", blank=True)
    problem = name_problem(name) if name else "it has no name"
    if problem is not None:
        raise ValueError(f"the embedder {name[:80]!r} cannot be used: {problem}")
    if len(revision or "") > _LONGEST_REVISION or not (revision or "").isprintable():
        raise ValueError(f"the embedder's revision {(revision or '')[:80]!r} is not a revision")
    if len(prompt or "") > LONGEST_PROMPT:
        raise ValueError(f"the embedder's prompt is longer than {LONGEST_PROMPT:,} characters")
    return EmbedderSpec(
        name=name,
        dimension=table.need_whole("dimension", 1, _WIDEST),
        max_tokens=table.whole("max_tokens", 1),
        truncation=cast(Truncation, table.need_one_of("truncation", get_args(Truncation))),
        revision=revision,
        prompt=prompt,
    )


def _part(table: TableReader) -> PartFile:
    path = table.need_text("path")
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or set("\\:\0") & set(path) or pure.suffix != ".parquet":
        raise ValueError(f"the part {path!r} is not a Parquet file inside the bank")
    digest = table.need_text("sha256")
    if not is_sha256(digest):
        # A part that is replaced is moved to where its hash says, which must not lead outside of the bank.
        raise ValueError(f"the hash of the part {path!r} is not one")
    return PartFile(path, table.need_whole("rows", 0), digest)


def _label(table: TableReader) -> Label:
    answer, skipped = table.text("answer"), table.data.get("skipped", False)
    if len(answer or "") > LONGEST_LABEL:
        raise table.problem("answer", f"is longer than {LONGEST_LABEL:,} characters")
    if not isinstance(skipped, bool):
        raise table.problem("skipped", "must be true or false")
    return Label(table.need_text("dataset"), table.need_text("index"), answer, skipped)


def _split(table: TableReader) -> SplitSpec:
    table.require("fraction")
    fraction = table.data["fraction"]
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise table.problem("fraction", "must be a number above 0 and at most 1")
    return SplitSpec(fraction, table.need_whole("seed", 0, 2**32 - 1), table.need_text("method"))


def _source(table: TableReader) -> Source:
    text = table.need_text
    return Source(text("name"), text("format"), text("sha256"), table.need_whole("records", 0))
