"""Rows of a build that are too many for memory: appended to a file without a name, read back by their place."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

_IN_MEMORY = 1 << 22
"""Bytes that are kept back before they are written; what is smaller than that never becomes a file."""


class RowFile:
    """Rows of plain values, in a file that is gone with the process, however the process ends.

    Args:
        folder: Where the file is made, once it is needed; the system's own place for such files by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._written = 0
        self._pending = bytearray()

    def append(self, row: Sequence[Any]) -> tuple[int, int]:
        """Keep a row; return where it begins and how many bytes it takes.

        Raises:
            OSError: The file cannot be made or written.
        """
        # Half a character, which JSON can hold, must come back as it was.
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")
        start = self._written + len(self._pending)
        self._pending += line
        if len(self._pending) > _IN_MEMORY:
            self._flush()
        return start, len(line)

    def read(self, start: int, length: int) -> list[Any]:
        """Return the row that `append` kept there."""
        if start >= self._written:
            line = bytes(self._pending[start - self._written : start - self._written + length])
        elif self._file is None:
            raise ValueError("nothing was written there")
        else:
            self._file.seek(start)
            line = self._file.read(length)
        row: list[Any] = json.loads(line.decode("utf-8", "surrogatepass"))
        return row

    def _flush(self) -> None:
        if self._file is None:
            self._file = _unnamed_file(self._folder)
        self._file.seek(self._written)
        rest = memoryview(bytes(self._pending))
        while rest:
            # Unbuffered, a disk that is nearly full takes a part without a word; only the next write is an error.
            rest = rest[self._file.write(rest) :]
        self._written += len(self._pending)
        self._pending.clear()


def _unnamed_file(folder: Path | None) -> IO[bytes]:
    # Unbuffered: a read takes the bytes of one row, and a mapped file would count as memory.
    if folder is None:
        return tempfile.TemporaryFile(buffering=0)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
        except FileNotFoundError:
            continue  # a build that ended just now took the folder with it
        with contextlib.suppress(OSError):
            folder.rmdir()  # the file has no name in it
        return file
