"""One line per (question, method), written as it happens and found again after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from jisi_cli.errors import InputError

ResultStatus = Literal["scored", "unscored", "needs-live", "failed"]
"""`unscored`: answered, but nobody knows whether rightly. `needs-live`: the replay lacks a call that
the method wanted. `failed`: no model answered; counts as wrong."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one method made of one question.

    Attributes:
        key: Content key: what must be equal for the line to be used again.
        dataset: Where the question comes from.
        index: Its name there.
        method: Name of the method, as the report calls it.
        status: Whether there is a score, and why not.
        score: In [0, 1]; None without one.
        model: Who wrote the final answer.
        mode: route, aggregate, consensus or fallback.
        calls: Calls that were made.
        cost_usd: Dollars of all calls; None when one is unknown.
        winner_cost_usd: Dollars of the call that wrote the answer.
        tokens: Completion tokens of all calls; None when one is unknown.
        support_size: Queries in the support set; None for methods without one.
        error: Why there is no answer.
        answer: The final answer, in a live run; None in a replay.
    """

    key: str
    dataset: str
    index: str
    method: str
    status: ResultStatus
    score: float | None = None
    model: str | None = None
    mode: str | None = None
    calls: int = 0
    cost_usd: float | None = None
    winner_cost_usd: float | None = None
    tokens: int | None = None
    support_size: int | None = None
    error: str | None = None
    answer: str | None = None


def content_key(*parts: object) -> str:
    """Return a key that is the same exactly when all parts are."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class ResultFile:
    """The JSONL file behind `--out`; opening it reads back what an earlier run wrote.

    A half-written last line is cut off. Lines that are not results make the file unusable rather than
    overwritten.

    Args:
        path: The file; None keeps results in memory alone.

    Raises:
        InputError: The file cannot be read or written, or holds something else.
    """

    def __init__(self, path: Path | None) -> None:
        self.known: dict[str, Result] = {}
        self._file = None
        if path is None:
            return
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); name another file with --out") from error
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            result = _parse(line, path, number)
            self.known[result.key] = result
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, result: Result) -> None:
        """Append one result; it survives a kill from here on."""
        self.known[result.key] = result
        if self._file is not None:
            self._file.write(json.dumps(asdict(result), ensure_ascii=False, allow_nan=False).encode() + b"\n")
            self._file.flush()


def read_results(path: Path) -> Iterator[Result]:
    """Yield the results of a file, without changing it.

    Raises:
        InputError: The file cannot be read, or holds something else.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    for number, line in enumerate(lines, start=1):
        yield _parse(line, path, number)


def _parse(line: bytes, path: Path, number: int) -> Result:
    try:
        data: Mapping[str, Any] = json.loads(line)
        known = {field.name for field in fields(Result)}
        return Result(**{name: value for name, value in data.items() if name in known})
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path}:{number}: not a result of `jisi eval`; name another file with --out") from None
