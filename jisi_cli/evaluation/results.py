"""One line per (question, method), written as it happens and found again after an interruption."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from jisi_cli.errors import InputError
from jisi_cli.files import RESULTS, open_plain, opened_to_append
from jisi_cli.types import LARGEST_SEED, MOST_TOKENS, CallRecord, is_dollars

if TYPE_CHECKING:
    from jisi_cli.methods.decision import Evidence

ResultStatus = Literal["scored", "unscored", "needs-live", "failed"]
"""`unscored`: answered, but not known whether correctly. `needs-live`: the replay lacks a call that
the method wanted. `failed`: no model answered; counts as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledCall(CallRecord):
    """A call as a result keeps it: without its time, its attempts and the words of its error.

    Attributes:
        is_answer: Whether it is the final answer.
    """

    FAILED: ClassVar[str] = "failed"

    is_answer: bool = False


_BILLED = (
    *("role", "model", "prompt_tokens", "completion_tokens", "cost_usd", "list_cost_usd", "price_source", "cached"),
    *("failed", "is_answer"),
)
"""What a line says of each call."""


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
        query_hash: SHA-256 of the question, in hexadecimal, as in the ledger.
        bill: Every call; None where they were not kept apart.
        evidence: What the decision rested on; None for methods that compute nothing of the kind.
        confidence: Probability that the answer is right, as the method says; None for methods that do not know.
        split: Seed of the split whose test row it is, where a comparison draws several; else None.
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
    query_hash: str | None = None
    bill: tuple[BilledCall, ...] | None = None
    evidence: Evidence | None = None
    confidence: float | None = None
    split: int | None = None


_KINDS: dict[str, Any] = {
    "bool": bool,
    "int": int,
    "int | None": int | None,
    "float | None": int | float | None,
    "tuple[BilledCall, ...] | None": list | None,
    "Evidence | None": dict | None,
}
"""What a field of a line may hold, by the field's annotation; text where nothing is said."""

_BEGINNING = b'{"key": "'
"""How every line begins; a last line without an end that begins otherwise is not ours to cut."""
_SECOND = b', "dataset": "'
"""What follows the first value."""
_HEAD = 4096
"""Bytes that show whose file it is, so that a large one of somebody else is not read to its end."""


_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""What files that cannot be locked say, pipes and some file systems on a network among them."""


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
        self._path = path
        self._file: FileIO | None = None
        if path is None:
            return
        with self._failures():
            # Unbuffered, so that a line is the system's from the moment it is written.
            self._file = FileIO(opened_to_append(path, RESULTS), "a+b")
            self._lock(self._file)
            self._file.seek(0)
            content = self._file.read(_HEAD)
            if not _is_half_line(content):
                raise _foreign(path, 1)
            content += self._file.read()
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines()
        for number, line in enumerate(lines, start=1):
            result = _parse(line, path, number)
            self.known[result.key] = result
        half = content[whole:]
        if half:
            if not _is_half_line(half) or _is_another_object(half):
                raise _foreign(path, len(lines) + 1)
            with self._failures():
                self._file.truncate(whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, result: Result) -> None:
        """Append one result, unless it is known already; it survives a kill from here on.

        Raises:
            InputError: The file cannot be written any more, as on a full disk.
        """
        repeated = self.known.get(result.key) == result
        self.known[result.key] = result
        if self._file is None or repeated:
            return
        line = memoryview(_line(result))
        with self._failures():
            while line:
                line = line[self._file.write(line) :]

    def _lock(self, file: FileIO) -> None:
        """Refuse a file that another run is writing: its last line may be half written only now.

        The system lets go of the lock when the process ends, however it ends.

        Raises:
            InputError: Another process holds the lock.
        """
        from filelock import lock_descriptor

        try:
            if lock_descriptor(file.fileno(), blocking=False):
                return
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return
        raise InputError(
            f"{self._path}: another `jisi eval` is writing it; wait for it or name another file with --out"
        )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{self._path}: cannot be written ({reason}); name another file with --out") from error


def read_results(path: Path) -> Iterator[Result]:
    """Yield the results of a file, without changing it; a half-written last line is left out.

    Raises:
        InputError: The file cannot be read, or holds something else.
    """
    try:
        with open_plain(path) as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    lines = content.splitlines()
    if lines and not content.endswith(b"\n") and lines[-1].startswith(_BEGINNING):
        lines.pop()
    for number, line in enumerate(lines, start=1):
        yield _parse(line, path, number)


def _is_half_line(data: bytes) -> bool:
    """Whether bytes begin as a line of ours does, as far as they go."""
    if not data.startswith(_BEGINNING):
        return _BEGINNING.startswith(data)
    _, _, rest = data.removeprefix(_BEGINNING).partition(b'"')
    return rest.startswith(_SECOND) or _SECOND.startswith(rest)


def _is_another_object(line: bytes) -> bool:
    """Whether a line without an end is whole nevertheless, and no result: a file that somebody else wrote."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    try:
        _parse(line, Path(), 1)
    except InputError:
        return True
    return False


def _line(result: Result) -> bytes:
    data = asdict(result)
    if result.bill is not None:
        data["bill"] = [{name: getattr(call, name) for name in _BILLED} for call in result.bill]
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:
        # Half of a surrogate pair, which models do emit, is in no UTF-8 file but as an escape.
        return json.dumps(data, allow_nan=False).encode() + b"\n"


def _parse(line: bytes, path: Path, number: int) -> Result:
    try:
        data = _known(Result, json.loads(line))
        if data.get("bill") is not None:
            data["bill"] = tuple(map(_billed, data["bill"]))
        if data.get("evidence") is not None:
            from jisi_cli.methods.decision import parse_evidence

            data["evidence"] = parse_evidence(data["evidence"])
        return Result(**data)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise _foreign(path, number) from None


def _billed(data: Mapping[str, Any]) -> BilledCall:
    kept = {name: data[name] for name in _BILLED if name in data}
    failed = kept.pop("failed", False)
    if not isinstance(failed, bool):
        raise TypeError("failed is not bool")
    return BilledCall(**_known(BilledCall, kept), error=BilledCall.FAILED if failed else None)


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a later version may have added, and refuse a value of another kind.

    Raises:
        TypeError: A value is of another kind.
    """
    kept = {}
    for field in fields(kind):
        if field.name in data:
            value = data[field.name]
            is_mistaken = isinstance(value, bool) and "bool" not in str(field.type)
            if is_mistaken or not isinstance(value, _KINDS.get(str(field.type), str | None)):
                raise TypeError(f"{field.name} is not {field.type}")
            if isinstance(value, int | float) and not _is_possible(field.name, value):
                raise TypeError(f"{field.name} is not a number that can be reckoned with")
            kept[field.name] = value
    return kept


def _is_possible(name: str, value: float) -> bool:
    """Whether a field can hold a number: none is negative, infinite or NaN, and none so large that sums are wrong."""
    if name.endswith("cost_usd"):
        return is_dollars(value)
    most = {"score": 1, "confidence": 1, "split": LARGEST_SEED}.get(name, MOST_TOKENS)
    return 0 <= value <= most


def _foreign(path: Path, number: int) -> InputError:
    return InputError(f"{path}:{number}: not a result of `jisi eval`; name another file with --out")
