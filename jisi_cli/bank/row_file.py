"""Texts of a build under way, in a file, and how a question and an answer lie there: lengths and numbers, then UTF-8.

What is read back for a bank stays bytes: nothing becomes a Python string, or an object per answer, on its way from the
file into a column.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from struct import Struct
from typing import IO, Any, NamedTuple, Self

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
        end = start + length
        pending = bytes(self._pending[max(0, start - self._written) : max(0, end - self._written)])
        if start >= self._written:
            return pending
        if self._file is None:
            raise ValueError("nothing was written there")
        self._file.seek(start)
        return self._file.read(min(end, self._written) - start) + pending

    def read_rows(self, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
        """Return bytes that hold several rows, and where in them each begins (n,); neighbours are read at once.

        Args:
            starts: Where each begins in the file, no two at the same place (n,).
            sizes: How many bytes each takes (n,).
        """
        order = np.argsort(starts, kind="stable")
        begins, lengths = starts[order], sizes[order]
        ends = begins + lengths
        is_first = np.ones(len(starts), dtype=bool)
        is_first[1:] = begins[1:] != ends[:-1]
        runs = begins[is_first]
        found = b"".join(map(self.read, runs.tolist(), (ends[np.roll(is_first, -1)] - runs).tolist()))
        places = np.empty(len(starts), dtype=np.int64)
        places[order] = np.cumsum(lengths) - lengths
        return found, places

    def _flush(self) -> None:
        if self._file is None:
            self._file = _unnamed_file(self._folder)
        self._file.seek(self._written)
        done, size = 0, len(self._pending)
        with memoryview(self._pending) as pending:
            while done < size:
                # Unbuffered, a disk that is nearly full accepts a part silently; only the next write fails.
                done += self._file.write(pending[done:])
        self._written += size
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
_QUESTION = np.dtype([(name, "<i4") for name in ("query", "reference", "grader")])
"""Before the texts of a question: their lengths."""
_LENGTHS = Struct("<3i")


def pack_question(query: str, reference: str | None, grader: str | None) -> bytes:
    """Return a question as a row."""
    texts = [_utf8(text) for text in (query, reference, grader)]
    return b"".join((_LENGTHS.pack(*map(_length, texts)), *filter(None, texts)))


def unpack_question(row: bytes) -> list[str | None]:
    """Return query, reference and grader of a row."""
    return [_text(found) for found in _split(row, _LENGTHS.unpack_from(row), _LENGTHS.size)]


class UnwrittenAnswers:
    """Answers as rows that are not in a file yet, so that those which belong together can be put side by side.

    Attributes:
        size: The bytes that they take.
    """

    def __init__(self) -> None:
        self.size = 0
        self._heads: list[NDArray[np.void]] = []
        self._texts: list[list[bytes]] = [[] for _ in _TEXTS]

    def add(self, answers: AnswerBlock) -> None:
        """Add answers; they are numbered in the order in which they are added."""
        head = np.zeros(len(answers), dtype=_ANSWER)
        for place, name in enumerate(_NUMBERS):
            values, unknown = answers[name], answers[name].count(None)
            if unknown == 0:
                head[name] = values
                head["known"] |= 1 << place
            elif unknown < len(values):
                head[name] = [0 if value is None else value for value in values]
                head["known"] |= np.array([(value is not None) << place for value in values], dtype=np.uint8)
        for name, texts in zip(_TEXTS, self._texts, strict=True):
            values = answers[name]
            if name == "scored_by":
                values = [None if source == _USUAL_SOURCE else source for source in values]
            if values.count(None) == len(values):
                head[name] = -1
                texts.extend([b""] * len(values))
                continue
            encoded = [None if text is None else text.encode("utf-8", "surrogatepass") for text in values]
            head[name] = [-1 if text is None else len(text) for text in encoded]
            texts.extend([text or b"" for text in encoded])
        self._heads.append(head)
        self.size += int(_sizes(head).sum())

    def packed(self, order: NDArray[np.intp]) -> tuple[bytes, NDArray[np.int64]]:
        """Return all as rows, one after another, and the bytes that each takes (n,).

        Args:
            order: Each answer, in the order in which they are to lie (n,).
        """
        head = np.concatenate(self._heads or [np.zeros(0, dtype=_ANSWER)])[order]
        heads, places = head.tobytes(), order.tolist()
        starts = range(0, len(heads), _PACK.size)
        texts = [[packed[place] for place in places] for packed in self._texts if any(packed)]
        pieces = zip([heads[start : start + _PACK.size] for start in starts], *texts, strict=True)
        return b"".join(chain.from_iterable(pieces)), _sizes(head)


def _sizes(head: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the bytes that answers take, texts included (n,)."""
    sizes = np.full(len(head), _PACK.size, dtype=np.int64)
    for name in _TEXTS:
        sizes += np.maximum(head[name], 0)
    return sizes


class PackedAnswer(NamedTuple):
    """What a row keeps of an answer; the names are those of `Record`."""

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


class Texts(NamedTuple):
    """Texts of a column (n).

    Attributes:
        data: All of them, one after another.
        sizes: How many bytes each takes (n,); -1 where there is none.
    """

    data: bytes
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[Text]) -> Self:
        """Return texts as a column."""
        return cls(b"".join(filter(None, texts)), np.array(list(map(_length, texts)), dtype=np.int64))

    def decoded(self) -> list[str | None]:
        """Return each as text."""
        ends = np.cumsum(np.maximum(self.sizes, 0))
        spans = zip(ends.tolist(), self.sizes.tolist(), strict=True)
        return [_text(None if size < 0 else self.data[end - size : end]) for end, size in spans]


class _Columns:
    """Rows by column (k).

    Args:
        rows: The rows.
        starts: Where in them each begins (k,).
        head: What is before the texts of each.
        texts: The names of the texts.
    """

    def __init__(self, rows: bytes, starts: NDArray[np.int64], head: np.dtype[np.void], texts: Iterable[str]) -> None:
        # Every byte as the beginning of a row, of which those are taken that are one.
        any_row = np.ndarray(max(0, len(rows) - head.itemsize + 1), dtype=head, buffer=rows, strides=(1,))
        self.head = any_row[starts]
        self._texts: dict[str, Texts] = {}
        starts = starts + head.itemsize
        for name in texts:
            lengths = self.head[name].astype(np.int64)
            ends = starts + np.maximum(lengths, 0)
            is_empty = bool((lengths <= 0).all())
            spans = () if is_empty else zip(starts.tolist(), ends.tolist(), strict=True)
            self._texts[name] = Texts(b"".join([rows[start:end] for start, end in spans]), lengths)
            starts = ends

    def text(self, name: str) -> Texts:
        """Return the texts of that name (k)."""
        return self._texts[name]


class QuestionColumns(_Columns):
    """Questions by column (k): `query`, `reference` and `grader`; see `pack_question`."""

    def __init__(self, rows: bytes, starts: NDArray[np.int64]) -> None:
        super().__init__(rows, starts, _QUESTION, _QUESTION.names or ())


class AnswerColumns(_Columns):
    """Answers by column (k): `response`, `error`, `finish_reason`, and numbers; see `UnwrittenAnswers`."""

    def __init__(self, rows: bytes, starts: NDArray[np.int64]) -> None:
        super().__init__(rows, starts, _ANSWER, _TEXTS)

    def number(self, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return `prompt_tokens`, `completion_tokens`, `cost_usd` or `score` (k,), and where it is unknown (k,)."""
        is_known = (self.head["known"] >> _NUMBERS.index(name)) & 1
        return np.ascontiguousarray(self.head[name]), is_known == 0

    def scored_by(self) -> list[str]:
        """Return who scored each, if it has a score (k)."""
        texts = self.text("scored_by")
        if not texts.data:
            return [_USUAL_SOURCE] * len(texts.sizes)
        return [source or _USUAL_SOURCE for source in texts.decoded()]


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
