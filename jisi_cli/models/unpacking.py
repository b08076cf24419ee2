"""The body of an HTTP answer, unpacked in small pieces and cut off if it never ends.

Two megabytes of gzip can hold gigabytes of zeros, and httpx unpacks all that has arrived in one go, on the event
loop. Here the bytes that come out are counted, and other tasks have their turn between two pieces.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import cache
from typing import Any

ENCODINGS = "gzip, deflate"
"""The codings that are asked for, as a header says it: those that can be unpacked in pieces."""
_MOST_BYTES = 96 * 2**20
"""Bytes of an answer, unpacked: more than the longest text that is taken."""
_MOST_OF_A_STREAM = 192 * 2**20
"""The same of an answer that comes in events, each of which repeats much; they are not kept."""
_MOST_OF_AN_ERROR = 2**20
"""Bytes of an answer that says what failed; what follows is left out."""
_LONGEST_LINE = 16 * 2**20
"""Bytes of one event of a stream, which is put together piece by piece: time grows with the square."""
_PIECE = 2**16
_BOUND = "jisi_bound"
"""Marks a response, among its `extensions`."""
_MOST_CODINGS = 3


class EndlessError(Exception):
    """An answer that is too large, or coded in a way that was not asked for."""


def bound_body(response: Any, most: int | None = None) -> None:  # noqa: ANN401 - a response of either httpx
    """Have a response that was not read yet unpack its body in pieces, no more than an answer can have.

    Reading it raises httpx's `ReadError` where it is too much. The response no longer says how it was packed.

    Args:
        response: What came.
        most: Bytes of a body that holds many answers, a line each; None for one answer.
    """
    if _BOUND in response.extensions:
        return
    response.extensions[_BOUND] = True
    httpx = _module_of(response)
    headers = response.headers
    names = [name.strip().lower() for name in headers.get("content-encoding", "").split(",")]
    is_stream = headers.get("content-type", "").startswith("text/event-stream")
    is_error = response.status_code >= 400
    body = _Body(
        [name for name in names if name not in ("", "identity")],
        _MOST_OF_AN_ERROR if is_error else most or (_MOST_OF_A_STREAM if is_stream else _MOST_BYTES),
        _LONGEST_LINE if is_stream else _MOST_BYTES,
        is_error=is_error,
        error=httpx.ReadError,
    )
    for name in ("content-encoding", "content-length"):
        if name in headers:
            del headers[name]
    if isinstance(response.stream, httpx.AsyncByteStream | httpx.SyncByteStream):
        response.stream = _bounded(httpx)(response.stream, body)


class _Body:
    """Unpacks what arrives, and counts what comes out.

    Args:
        codings: Names of codings, in the order in which they were applied.
        most: Bytes of it that are read.
        longest_line: Bytes of a line.
        is_error: Whether more than that is left out in silence, instead of being an error.
        error: What is raised then.
    """

    def __init__(
        self, codings: list[str], most: int, longest_line: int, *, is_error: bool, error: type[Exception]
    ) -> None:
        self._codings, self._error = codings, error
        self._stages: list[_Stage] | None = None
        self._most, self._longest_line, self._is_error = most, longest_line, is_error
        self._line = 0
        self.is_full = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out of more bytes.

        Raises:
            Exception: The `error` of this body: it is too much, or cannot be unpacked.
        """
        try:
            yield from self._unpacked(data)
        except EndlessError as endless:
            raise self._error(str(endless)) from endless

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        if self._stages is None:
            self._stages = _stages(self._codings, self._most)
        for piece in _through(self._stages, data):
            self._most -= len(piece)
            ended = piece.rfind(b"\n") + 1
            self._line = len(piece) - ended if ended else self._line + len(piece)
            if self._most < 0 and self._is_error:
                self.is_full = True
                yield piece[: self._most]
                return
            if self._most < 0 or self._line > self._longest_line:
                raise EndlessError("the answer, or a line of it, went on without end")
            yield piece


class _Stage:
    """One coding, undone in pieces.

    Args:
        name: Of the coding.
        most: Bytes that may come out.
    """

    def __init__(self, name: str, most: int) -> None:
        self._bits = zlib.MAX_WBITS if name == "deflate" else zlib.MAX_WBITS | 16
        self._stream = zlib.decompressobj(self._bits)
        self._may_be_bare, self._left = name == "deflate", most

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data and not self._stream.eof:
            try:
                piece = self._stream.decompress(data, _PIECE)
            except zlib.error as error:
                if not self._may_be_bare:
                    raise EndlessError(f"the answer cannot be unpacked ({error})") from error
                # What is called deflate comes with zlib's frame and without.
                self._may_be_bare = False
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
                continue
            self._may_be_bare = False
            data = self._stream.unconsumed_tail
            self._left -= len(piece)
            if self._left < -_PIECE:
                raise EndlessError("the answer went on without end")
            if piece:
                yield piece


def _stages(codings: list[str], most: int) -> list[_Stage]:
    odd = next((name for name in codings if name not in ("gzip", "x-gzip", "deflate")), None)
    if odd is not None or len(codings) > _MOST_CODINGS:
        named = (odd or ", ".join(codings))[:40]
        raise EndlessError(f"the answer is packed in a way that was not asked for ({named})")
    return [_Stage(name, most) for name in reversed(codings)]


def _through(stages: list[_Stage], data: bytes) -> Iterator[bytes]:
    pieces: Iterable[bytes] = [data]
    for stage in stages:
        pieces = _each(stage, pieces)
    yield from pieces


def _each(stage: _Stage, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from stage.pieces(piece)


def _module_of(response: Any) -> Any:  # noqa: ANN401 - as above
    import importlib

    return importlib.import_module(type(response).__module__.partition(".")[0])


class _Bounded:
    """The stream of an answer to a client of either kind, as far as its body may go."""

    def __init__(self, inner: Any, body: _Body) -> None:  # noqa: ANN401 - a stream of either httpx
        self._inner, self._body = inner, body

    def __iter__(self) -> Iterator[bytes]:
        for data in self._inner:
            yield from self._body.pieces(data)
            if self._body.is_full:
                return

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._inner:
            for piece in self._body.pieces(data):
                yield piece
                if len(piece) == _PIECE:
                    await asyncio.sleep(0)
            if self._body.is_full:
                return

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()


@cache
def _bounded(httpx: Any) -> type:  # noqa: ANN401 - either httpx
    """Return the class of bounded streams that an httpx takes for its own; made on first use: httpx loads late."""
    return type("Bounded", (_Bounded, httpx.AsyncByteStream, httpx.SyncByteStream), {})
