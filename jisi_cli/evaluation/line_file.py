"""A JSONL file of keyed lines that a run appends to as they happen, and that a later run goes on with."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from io import FileIO
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from jisi_cli.errors import InputError
from jisi_cli.files import OutputKind, opened_to_append
from jisi_cli.types import LARGEST_SEED, MOST_TOKENS, is_dollars


class Keyed(Protocol):
    """What stands on one line."""

    @property
    def key(self) -> str:
        """What must be equal for the line to be used again."""
        ...


L = TypeVar("L", bound=Keyed)

_BEGINNING = b'{"key": "'
"""How every line begins; a last line without an end that begins otherwise is not ours to cut."""
_HEAD = 4096
"""Bytes that show whose file it is, so that a large one of somebody else is not read to its end."""
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""What files that cannot be locked say, pipes and some file systems on a network among them."""


@dataclass(frozen=True, slots=True)
class LineKind(Generic[L]):
    """A kind of such file.

    Attributes:
        output: The kind of file that it is among those that jisi writes.
        second: Name of what follows the key on every line.
        command: The command that writes it.
        parse: Makes what stands on a line of the line's JSON; raises ValueError, TypeError, AttributeError or KeyError
            for another's.
        data: Makes the JSON of a line.
    """

    output: OutputKind
    second: str
    command: str
    parse: Callable[[Mapping[str, Any]], L]
    data: Callable[[L], Mapping[str, Any]]

    def read(self, line: bytes, path: Path, number: int) -> L:
        """Return what stands on a line.

        Raises:
            InputError: It is none of ours.
        """
        try:
            return self.parse(json.loads(line))
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise self.foreign(path, number) from None

    def write(self, content: L) -> bytes:
        """Return a line."""
        data = self.data(content)
        try:
            return json.dumps(data, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        except UnicodeEncodeError:
            # Half of a surrogate pair, which models do emit, is in no UTF-8 file but as an escape.
            return json.dumps(data, allow_nan=False).encode() + b"\n"

    def is_half_line(self, data: bytes) -> bool:
        """Whether bytes begin as a line of ours does, as far as they go."""
        if not data.startswith(_BEGINNING):
            return _BEGINNING.startswith(data)
        _, _, rest = data.removeprefix(_BEGINNING).partition(b'"')
        second = f', "{self.second}": "'.encode()
        return rest.startswith(second) or second.startswith(rest)

    def is_another_object(self, line: bytes) -> bool:
        """Whether a line without an end is whole nevertheless, and none of ours: a file that somebody else wrote."""
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            return False
        try:
            self.read(line, Path(), 1)
        except InputError:
            return True
        return False

    def foreign(self, path: Path, number: int) -> InputError:
        """Return the error for a line that is none of ours."""
        return InputError(f"{path}:{number}: not a result of `{self.command}`; name another file with --out")


class LineFile(Generic[L]):
    """The file behind `--out`; opening it reads back what an earlier run wrote.

    A half-written last line is cut off. Lines that are of another kind make the file unusable rather than overwritten.

    Args:
        kind: Which kind of file it is.
        path: The file; None keeps lines in memory alone.

    Raises:
        InputError: The file cannot be read or written, or holds something else.

    Attributes:
        known: What stands on the lines, by key; of equal keys the last.
    """

    def __init__(self, kind: LineKind[L], path: Path | None) -> None:
        self.known: dict[str, L] = {}
        self._kind, self._path = kind, path
        self._file: FileIO | None = None
        if path is None:
            return
        try:
            self._read(path)
        except BaseException:
            # Whoever holds the error holds this file by its traceback, and would hold the lock as long.
            self.close()
            raise

    def _read(self, path: Path) -> None:
        """Lock the file, and read what an earlier run wrote.

        Raises:
            InputError: See the class.
        """
        kind = self._kind
        with self._failures():
            # Unbuffered, so that a line is the system's from the moment it is written.
            self._file = FileIO(opened_to_append(path, kind.output), "a+b")
            self._lock(self._file)
            self._file.seek(0)
            content = self._file.read(_HEAD)
            if not kind.is_half_line(content):
                raise kind.foreign(path, 1)
            content += self._file.read()
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines()
        for number, line in enumerate(lines, start=1):
            found = kind.read(line, path, number)
            self.known[found.key] = found
        half = content[whole:]
        if half:
            if not kind.is_half_line(half) or kind.is_another_object(half):
                raise kind.foreign(path, len(lines) + 1)
            with self._failures():
                self._file.truncate(whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which lets go of its lock."""
        if self._file is not None:
            self._file.close()

    def write(self, content: L) -> None:
        """Append one line, unless it is known already; it survives a kill from here on.

        Raises:
            InputError: The file cannot be written any more, as on a full disk.
        """
        repeated = self.known.get(content.key) == content
        self.known[content.key] = content
        if self._file is None or repeated:
            return
        line = memoryview(self._kind.write(content))
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
            f"{self._path}: another `{self._kind.command}` is writing it; wait for it or name another file with --out"
        )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{self._path}: cannot be written ({reason}); name another file with --out") from error


# Reading the fields of a line, which anybody may have written.

_KINDS: dict[str, Any] = {
    "bool": bool,
    "bool | None": bool | None,
    "int": int,
    "int | None": int | None,
    "float": int | float,
    "float | None": int | float | None,
    "tuple[BilledCall, ...] | None": list | None,
    "tuple[SaidAnswer, ...]": list,
    "tuple[str, ...]": list,
    "Evidence | None": dict | None,
}
"""What a field of a line may hold, by the field's annotation; text where nothing is said."""


def known_fields(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a later version may have added, and refuse a value of another kind.

    Args:
        kind: The dataclass that the fields are for.
        data: Names and values.

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
