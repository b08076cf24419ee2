"""`bank.json`: what a bank is made of. Replacing this one file is what commits a build."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

from jisi_cli.embedders.protocol import EmbedderSpec
from jisi_cli.errors import BankError

FORMAT_VERSION = 1
MANIFEST_NAME = "bank.json"
VectorDtype = Literal["float16", "float32"]

_LONGEST_FOLDER_NAME = 200


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


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows came from."""

    name: str
    format: str
    sha256: str
    records: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of `bank.json`.

    Attributes:
        embedder: What made the vectors; a query must be embedded by the same.
        vector_dtype: Precision of the vectors on disk.
        queries: Parts of the question table, in bank order.
        responses: Parts per model; within a model a later part's row replaces an earlier one's.
        hyperparameters: Settings chosen for this bank; empty means the paper's.
        split: How test rows were set aside; None when every row is train.
        sources: What the bank was built from.
        created_by: Version of jisi that wrote it.
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

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in code-point order."""
        return tuple(sorted(self.responses))

    @property
    def rows(self) -> int:
        """Number of questions, train and test."""
        return sum(part.rows for part in self.queries)


def model_folder(model: str) -> str:
    """Return the folder of a model's responses, safe as a file name on every system."""
    escaped = quote(model, safe="")
    if len(escaped) > _LONGEST_FOLDER_NAME:
        import hashlib

        escaped = escaped[:_LONGEST_FOLDER_NAME] + "~" + hashlib.sha256(model.encode()).hexdigest()[:12]
    return f"responses/model={escaped}"


def write_manifest(bank: Path, manifest: Manifest) -> None:
    """Commit a build: replace `bank.json` in one step, after everything it names is on disk."""
    temporary = bank / f".{MANIFEST_NAME}.{os.getpid()}"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(bank / MANIFEST_NAME)


def read_manifest(bank: Path) -> Manifest:
    """Read and check `bank.json`.

    Raises:
        BankError: There is no bank, its manifest is broken, or a newer jisi wrote it.
    """
    path = bank / MANIFEST_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BankError(f"no bank at {bank}; build one with `jisi bank build SOURCE -o {bank}`") from None
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BankError(f"{path} cannot be read ({error}); build the bank again with --force") from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BankError(
            f"{bank} has bank format {version}, this jisi reads up to {FORMAT_VERSION}; upgrade jisi "
            "(`pip install -U jisi`) or build the bank again with --force"
        )
    try:
        return _parse(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BankError(f"{path} is not a bank manifest ({error!r}); build the bank again with --force") from error


def _parse(data: dict[str, Any]) -> Manifest:
    if data["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format_version {data['format_version']!r}")
    if data["vector_dtype"] not in ("float16", "float32"):
        raise ValueError(f"vector_dtype {data['vector_dtype']!r}")
    return Manifest(
        embedder=EmbedderSpec(**data["embedder"]),
        vector_dtype=data["vector_dtype"],
        queries=tuple(_part(part) for part in data["queries"]),
        responses={str(model): tuple(_part(part) for part in parts) for model, parts in data["responses"].items()},
        hyperparameters=dict(data["hyperparameters"]),
        split=SplitSpec(**data["split"]) if data["split"] else None,
        sources=tuple(Source(**source) for source in data["sources"]),
        created_by=str(data["created_by"]),
    )


def _part(data: dict[str, Any]) -> PartFile:
    part = PartFile(path=str(data["path"]), rows=int(data["rows"]), sha256=str(data["sha256"]))
    pure = PurePosixPath(part.path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in part.path or part.rows < 0:
        raise ValueError(f"unsafe part {part.path!r}")
    return part
