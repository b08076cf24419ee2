"""Replacing answers so that each stands once in a bank's files, whoever reads them.

jisi lets a later part's row count; DuckDB, pandas and whatever else reads `responses/model=*/*.parquet` do not. So what
replaces a row of a part goes into one new part with all other rows of the model. What was replaced is put aside, out
of the way of such readers, until the bank is written again: a process that opened the bank before still finds it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.columns import row_numbers
from jisi_cli.bank.manifest import REPLACED, Manifest, PartFile, is_sha256, write_manifest
from jisi_cli.bank.tables import StagedPart, read_part, read_pieces, stage_part

if TYPE_CHECKING:
    import pyarrow as pa


def repeats(bank: Path, parts: Sequence[PartFile], schema: pa.Schema, more: Sequence[int] = ()) -> bool:
    """Whether any row stands in several of some parts, or in one of them and among further rows."""
    rows = [*(_rows(bank, part, schema) for part in parts), np.asarray(more, dtype=np.int64)]
    found = np.concatenate(rows)
    return len(np.unique(found)) < len(found)


def counting(bank: Path, parts: Sequence[PartFile], schema: pa.Schema, but: Sequence[int] = ()) -> Iterator[pa.Table]:
    """Yield the rows that count, the last of each, in pieces.

    Args:
        bank: The bank's folder.
        parts: One model's parts.
        schema: Theirs.
        but: Rows that are left out.
    """
    numbers = [_rows(bank, part, schema) for part in parts]
    latest = np.full(max((int(rows.max(initial=-1)) for rows in numbers), default=-1) + 1, -1)
    for number, rows in enumerate(numbers):
        latest[rows] = number
    latest[[row for row in but if row < len(latest)]] = -1
    for number, part in enumerate(parts):
        for piece in read_pieces(bank, part, schema.names, schema):
            places = np.flatnonzero(latest[row_numbers(piece.column("row"))] == number)
            if len(places):
                yield piece if len(places) == piece.num_rows else piece.take(places)


class Change:
    """New parts of a bank that take their places together, when the manifest does; a context manager.

    Args:
        bank: The bank's folder.
        before: Its manifest, which is replaced; None for a new bank.
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
        """Place the parts, name them in the manifest, and put aside what it names no more."""
        for part in self._staged:
            part.place(self._bank)
        write_manifest(self._bank, after)
        named = {part.path for part in after.parts()}
        replaced = [part for part in self._before.parts() if part.path not in named] if self._before else []
        if replaced:
            folder = self._bank / REPLACED
            folder.mkdir(exist_ok=True)
            for old in replaced:
                with contextlib.suppress(FileNotFoundError):
                    (self._bank / old.path).replace(folder / old.sha256)


def remove_replaced(bank: Path) -> None:
    """Delete what was put aside, and nothing that anybody else put there."""
    folder = bank / REPLACED
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            if is_sha256(file.name):
                file.unlink()
        folder.rmdir()  # only an empty one goes


def _rows(bank: Path, part: PartFile, schema: pa.Schema) -> NDArray[np.int64]:
    return row_numbers(read_part(bank, part, ["row"], schema).column("row"))
