"""Opening what a user named, and looking for files in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from jisi_cli.errors import InputError
from jisi_cli.input_files import open_plain


def open_file(source: Path) -> BinaryIO:
    """Open a file for reading bytes.

    Raises:
        InputError: It is not there, is no plain file, or may not be read.
    """
    try:
        return open_plain(source)
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}; check the path") from error


def files_in(source: Path, *patterns: str) -> Iterator[Path]:
    """Yield a file itself, or the matching files of a folder and its subfolders, by path.

    Raises:
        InputError: The folder has none.
    """
    if not source.is_dir():
        yield source
        return
    found = sorted({path for pattern in patterns for path in source.rglob(pattern) if path.is_file()})
    if not found:
        raise InputError(f"{source}: no {' or '.join(patterns)} in it or below; check the path or --format")
    yield from found


def refuse_repeated(source: Path, columns: Sequence[str]) -> None:
    """Refuse a table in which two columns have one name: a row would keep either of them.

    Raises:
        InputError: It is such a table.
    """
    twice = next((name for place, name in enumerate(columns) if name and name in columns[:place]), None)
    if twice is not None:
        raise InputError(f"{source}: the column {twice!r} is there more than once; rename or remove one")
