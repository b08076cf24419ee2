"""Opening what a user named, finding files in it, and telling by the first bytes what they hold."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast

from jisi_cli.errors import InputError
from jisi_cli.files import open_plain

LONGEST_LINE = 64 * 2**20
"""Bytes; a longer line or value is a damaged file rather than an answer."""


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


class Preview(NamedTuple):
    """A look at a source: its path, then a row of it, or the document that it is.

    Attributes:
        path: The file or folder.
        columns: Keys of a row, or names of the columns; empty while only the path is looked at.
        document: The parsed file where it is one JSON document, else None.
    """

    path: Path
    columns: frozenset[str] = frozenset()
    document: object = None

    def has(self, *columns: str) -> bool:
        """Whether a row has all of these columns."""
        return self.columns.issuperset(columns)


Kind = Literal["parquet", "csv", "json"]

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_FOREIGN = {
    b"BZh": "is packed with bzip2; unpack it first",
    b"\xfd7zXZ\x00": "is packed with xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "is packed with zstd; unpack it first",
    b"PK\x03\x04": "is a zip archive or a spreadsheet; unpack it, or save it as CSV",
    b"SQLite format 3": "is an SQLite database; write its table as JSONL, CSV or Parquet",
    b"ARROW1": "is an Arrow file; save it as Parquet",
    b"\x89HDF": "is an HDF5 file; save its table as Parquet",
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
    **dict.fromkeys(
        (bytes((0x80, protocol)) for protocol in range(2, 6)),
        "is a pickle, which can run any code when it is opened; convert it to Parquet in a sandbox",
    ),
}
_BEGINNING = 64
_BOM = b"\xef\xbb\xbf"
_MOST_UNPACKED, _MOST_TIMES = 1 << 28, 200
"""Bytes that a packed file may always unpack to, and how many times its own size beyond that."""


def kind_of(source: Path) -> Kind:
    """Return what a file holds.

    Raises:
        InputError: It cannot be read, or holds what jisi does not read.
    """
    with open_file(source) as stream:
        if stream.read(len(_PARQUET)) == _PARQUET:
            return "parquet"
    with open_text(source) as stream:
        begins = stream.read(_BEGINNING).removeprefix(_BOM).lstrip()[:1]
    suffix = source.with_suffix("").suffix if source.suffix.lower() == ".gz" else source.suffix
    if begins in (b"{", b"["):
        return "json"
    match suffix.lower():
        case ".parquet":
            return "parquet"  # whose reader says what is wrong with it
        case ".csv" | ".tsv":
            return "csv"
        case _:
            return "json"


def open_text(source: Path) -> BinaryIO:
    """Open a text file for reading bytes, unpacked where it is packed with gzip.

    Raises:
        InputError: It cannot be read, or is something else.
    """
    stream = open_file(source)
    if not stream.seekable():
        stream.close()
        raise InputError(f"{source} is a pipe, and this is read more than once; write it into a file first")
    begins = stream.read(_BEGINNING)
    stream.seek(0)
    if begins.startswith(_GZIP):
        return io.BufferedReader(cast(io.RawIOBase, _Unpacked(source, stream)))
    why = next((why for magic, why in _FOREIGN.items() if begins.startswith(magic)), None)
    if begins.startswith(_PARQUET):
        why = "is Parquet, and this format is read from JSON only"
    if why is not None:
        stream.close()
        raise InputError(f"{source} {why}")
    return stream


class _Unpacked(io.RawIOBase):
    """What a gzip file unpacks to; a bomb and a damaged file are refused in one line."""

    def __init__(self, source: Path, stream: BinaryIO) -> None:
        self._source, self._stream = source, stream
        self._most = max(_MOST_UNPACKED, _MOST_TIMES * stream.seek(0, 2))
        stream.seek(0)
        self._gzip = gzip.GzipFile(fileobj=stream)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self._gzip.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{self._source}: cannot be unpacked: {error}") from error
        self._read += len(data)
        if self._read > self._most:
            raise InputError(f"{self._source} unpacks to more than {_MOST_TIMES} times its size; unpack it yourself")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()
