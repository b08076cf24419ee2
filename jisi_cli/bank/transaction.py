"""How the files of a bank change: new parts are staged, placed together, and what they replace is put aside.

Parts are immutable and named by their contents; `bank.json` names the parts that count and is replaced last, in one
step. A build that dies leaves the old bank, or none, and its journal.

Each answer is in a bank's files once. For jisi a later part's row replaces an earlier one's, but DuckDB, pandas and
other readers of `responses/model=*/*.parquet` know nothing of that. So when a row of a part is replaced, all rows of
that model are written to one new part. The replaced parts are moved out of sight of such readers and kept until the
bank is written again: a process that has opened the bank before still finds them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.columns import row_numbers
from jisi_cli.bank.manifest import MANIFEST_NAME, REPLACED, Manifest, PartFile, is_sha256, write_manifest
from jisi_cli.bank.tables import StagedPart, read_part, read_pieces, stage_part
from jisi_cli.bank.vector_map import remove_maps

if TYPE_CHECKING:
    import pyarrow as pa

_QUERIES = re.compile(r"queries(-[0-9a-f]{12})?\.parquet")
"""How `stage_part` names tables of questions; files with similar names belong to somebody else."""
_RESPONSES = re.compile(r"part-[0-9a-f]{12}\.parquet")
_MODEL = re.compile(r"responses/model=[^/]+")
_DRAFT = re.compile(r"\.(queries|part)\.\d+\.part|\.bank\.json\.\d+")


class Transaction:
    """New parts of a bank that appear together, when its manifest is replaced; a context manager.

    Args:
        bank: The bank's folder.
        before: Its manifest, which will be replaced; None for a new bank.
    """

    def __init__(self, bank: Path, before: Manifest | None) -> None:
        self._bank, self._before = bank, before
        self._staged: list[StagedPart] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete what was not committed."""
        for part in self._staged:
            part.temporary.unlink(missing_ok=True)

    def stage(self, folder: str, stem: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> PartFile:
        """Write a part where no reader takes it for one; see `stage_part`."""
        self._staged.append(stage_part(self._bank, folder, stem, schema, tables))
        return self._staged[-1].part

    def commit(self, after: Manifest) -> None:
        """Give the parts their names, replace the manifest, and put aside the parts that it no longer names."""
        for part in self._staged:
            part.publish(self._bank)
        write_manifest(self._bank, after, [part.part for part in self._staged])
        named = {part.path for part in after.parts()}
        put_aside(self._bank, [part for part in self._before.parts() if part.path not in named] if self._before else [])


def put_aside(bank: Path, replaced: Collection[PartFile]) -> None:
    """Move parts that a bank no longer names to where only jisi looks for them, and only until the next change."""
    if not replaced:
        return
    folder = bank / REPLACED
    folder.mkdir(exist_ok=True)
    for old in replaced:
        with contextlib.suppress(FileNotFoundError):
            (bank / old.path).replace(folder / old.sha256)


def has_repeated_rows(bank: Path, parts: Sequence[PartFile], schema: pa.Schema, more: Sequence[int] = ()) -> bool:
    """Whether any row is in several of some parts, or in one of them and among further rows."""
    rows = [*(_rows(bank, part, schema) for part in parts), np.asarray(more, dtype=np.int64)]
    found = np.sort(np.concatenate(rows))  # np.unique imports numpy.ma
    return bool((found[1:] == found[:-1]).any())


def effective_rows(
    bank: Path, parts: Sequence[PartFile], schema: pa.Schema, without: Sequence[int] = ()
) -> Iterator[pa.Table]:
    """Yield the last occurrence of each row, in pieces.

    Args:
        bank: The bank's folder.
        parts: One model's parts.
        schema: Theirs.
        without: Rows to leave out.
    """
    numbers = [_rows(bank, part, schema) for part in parts]
    latest = np.full(max((int(rows.max(initial=-1)) for rows in numbers), default=-1) + 1, -1)
    for number, rows in enumerate(numbers):
        latest[rows] = number
    latest[[row for row in without if row < len(latest)]] = -1
    for number, part in enumerate(parts):
        for piece in read_pieces(bank, part, schema.names, schema):
            kept = np.flatnonzero(latest[row_numbers(piece.column("row"))] == number)
            if len(kept):
                yield piece if len(kept) == piece.num_rows else piece.take(kept)


def remove_replaced(bank: Path) -> None:
    """Delete the parts that were put aside, and no other file in their folder."""
    folder = bank / REPLACED
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            if is_sha256(file.name):
                file.unlink()
        folder.rmdir()  # fails unless it is empty


def remove_leftovers(path: Path, manifest: Manifest | None) -> None:
    """Delete what killed or replaced builds left behind.

    Args:
        path: The bank's folder.
        manifest: The manifest whose parts stay; None for a new bank.
    """
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
            folder.rmdir()  # fails unless it is empty


def is_question_table(name: str) -> bool:
    """Whether a file is named like a bank's table of questions."""
    return _QUERIES.fullmatch(name) is not None


def is_part(path: str) -> bool:
    """Whether a path inside a bank is one that a build gives to a part."""
    folder, _, name = path.rpartition("/")
    return _RESPONSES.fullmatch(name) is not None if _MODEL.fullmatch(folder) else is_question_table(path)


def _rows(bank: Path, part: PartFile, schema: pa.Schema) -> NDArray[np.int64]:
    return row_numbers(read_part(bank, part, ["row"], schema).column("row"))
