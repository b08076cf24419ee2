"""Texts of a build under way, in a file, and how a question and an answer lie there: lengths and numbers, then UTF-8.

What is read back for a bank stays bytes: nothing becomes a Python string, or an object per answer, on its way from the
file into a column.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from struct import Struct
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jisi_cli.formats.answer_block import AnswerBlock

_IN_MEMORY = 1 << 22
"""Bytes held in memory before they are written; less than that never becomes a file."""

Text = bytes | None
"""UTF-8; a lone surrogate, which JSON can hold, lies there as it would be encoded."""


class RowFile:
    """Rows of bytes, in a file that disappears with the process, however the process ends.

    Args:
        folder: Where the file is created, once it is needed; the system's temporary folder by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._written = 0
        self._pending = bytearray()

    def append(self, row: bytes) -> int:
        """Keep a row; return where it begins.

        Raises:
            OSError: The file cannot be made or written.
        """
        start = self._written + len(self._pending)
        self._pending += row
        if len(self._pending) > _IN_MEMORY:
            self._flush()
        return start

    def read(self, start: int, length: int) -> bytes:
        """Return the row that `append` kept there."""
        if start >= self._written:
            return bytes(self._pending[start - self._written : start - self._written + length])
        if self._file is None:
            raise ValueError("nothing was written there")
        self._file.seek(start)
        return self._file.read(length)

    def _flush(self) -> None:
        if self._file is None:
            self._file = _unnamed_file(self._folder)
        self._file.seek(self._written)
        rest = memoryview(bytes(self._pending))
        while rest:
            # Unbuffered, a disk that is nearly full accepts a part silently; only the next write fails.
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
            continue  # a build that has just ended removed the folder
        with contextlib.suppress(OSError):
            folder.rmdir()  # the file has no name in it
        return file


_NUMBERS = ("prompt_tokens", "completion_tokens", "cost_usd", "score")
_TEXTS = ("response", "error", "finish_reason", "scored_by")
_TYPES = ("<i8", "<i8", "<f8", "<f8", *["<i4"] * len(_TEXTS), "u1")
_ANSWER = np.dtype(list(zip((*_NUMBERS, *_TEXTS, "known"), _TYPES, strict=True)))
"""Before the texts of an answer: its numbers, the length of each text (-1: none), and a bit for each known number."""
_PACK = Struct("<qqdd4iB")
_USUAL_SOURCE = "grader"
"""Who scored an answer, where its row does not say."""
_LENGTHS = Struct("<3i")
"""Before the texts of a question."""


def pack_question(query: str, reference: str | None, grader: str | None) -> bytes:
    """Return a question as a row."""
    texts = [_utf8(text) for text in (query, reference, grader)]
    return b"".join((_LENGTHS.pack(*map(_length, texts)), *filter(None, texts)))


def unpack_question(row: bytes) -> list[str | None]:
    """Return query, reference and grader of a row."""
    return [_text(found) for found in _split(row, _LENGTHS.unpack_from(row), _LENGTHS.size)]


def pack_answers(answers: AnswerBlock) -> tuple[bytes, NDArray[np.int64]]:
    """Return answers as rows, one after another, and the bytes that each takes (k,)."""
    head = np.zeros(len(answers), dtype=_ANSWER)
    for place, name in enumerate(_NUMBERS):
        values = answers[name]
        is_known = np.array([value is not None for value in values], dtype=bool)
        head["known"] |= is_known.astype(np.uint8) << place
        head[name] = values if is_known.all() else [0 if value is None else value for value in values]
    texts = {name: answers[name] for name in _TEXTS}
    texts["scored_by"] = [None if value == _USUAL_SOURCE else value for value in texts["scored_by"]]
    sizes = np.full(len(answers), _PACK.size, dtype=np.int64)
    packed = []
    for name, values in texts.items():
        found = [b"" if text is None else text.encode("utf-8", "surrogatepass") for text in values]
        lengths = np.array(list(map(len, found)), dtype=np.int64)
        sizes += lengths
        head[name] = np.where([text is None for text in values], -1, lengths)
        if lengths.any():
            packed.append(found)
    heads = head.tobytes()
    starts = range(0, len(heads), _PACK.size)
    rows = zip((heads[start : start + _PACK.size] for start in starts), *packed, strict=True)
    return b"".join(chain.from_iterable(rows)), sizes


class PackedAnswer(NamedTuple):
    """What `pack_answers` kept of one; the names are those of `Record`."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    score: float | None
    response: str | None
    error: str | None
    finish_reason: str | None
    scored_by: Any


def unpack_answer(row: bytes) -> PackedAnswer:
    """Return what a row says of an answer."""
    *numbers, response, error, finish_reason, scored_by, known = _PACK.unpack_from(row)
    texts = _split(row, (response, error, finish_reason, scored_by), _PACK.size)
    numbers = [number if known >> place & 1 else None for place, number in enumerate(numbers)]
    *others, scored_by = map(_text, texts)
    return PackedAnswer._make((*numbers, *others, scored_by or _USUAL_SOURCE))


def response_of(row: bytes) -> str:
    """Return the text of an answer; empty where there is none."""
    length = _PACK.unpack_from(row)[len(_NUMBERS)]
    return _text(row[_PACK.size : _PACK.size + max(0, length)]) or ""


class AnswerColumns:
    """Answers by column (k).

    Args:
        rows: Each as `pack_answers` made it.
    """

    def __init__(self, rows: Sequence[bytes]) -> None:
        self._head = np.frombuffer(b"".join([row[: _PACK.size] for row in rows]), dtype=_ANSWER)
        self._texts: dict[str, list[Text]] = {}
        starts = np.full(len(rows), _PACK.size)
        for name in _TEXTS:
            sizes = self._head[name]
            if (sizes < 0).all():
                self._texts[name] = [None] * len(rows)
                continue
            ends = starts + np.maximum(sizes, 0)
            places = zip(rows, starts.tolist(), ends.tolist(), sizes.tolist(), strict=True)
            self._texts[name] = [row[start:end] if size >= 0 else None for row, start, end, size in places]
            starts = ends

    def number(self, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return `prompt_tokens`, `completion_tokens`, `cost_usd` or `score` (k,), and where it is unknown (k,)."""
        is_known = (self._head["known"] >> _NUMBERS.index(name)) & 1
        return np.ascontiguousarray(self._head[name]), is_known == 0

    def text(self, name: str) -> list[Text]:
        """Return `response`, `error`, `finish_reason` or `scored_by` (k)."""
        found = self._texts[name]
        return [source or _USUAL_SOURCE.encode() for source in found] if name == "scored_by" else found


def _utf8(text: str | None) -> Text:
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _text(found: Text) -> str | None:
    return None if found is None else found.decode("utf-8", "surrogatepass")


def _length(text: Text) -> int:
    return -1 if text is None else len(text)


def _split(row: bytes, lengths: Sequence[int], start: int) -> list[Text]:
    found: list[Text] = []
    for length in lengths:
        found.append(row[start : start + length] if length >= 0 else None)
        start += max(0, length)
    return found
