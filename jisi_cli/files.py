"""Files that jisi reads and writes for a user, and databases on disks that cannot be written.

Only regular files are read: a pipe, a device or a file of the kernel may never end. A pipe is read where the user named
one of the process's own streams (`/dev/stdin`, or `/dev/fd/N`, which a shell makes of `<(command)`). An empty file is
not even opened: the kernel's files seem empty, and reading one may block for ever.

Every option that names a file to write goes through `require_output`. Only a file that jisi wrote as one of the same
kind is ever replaced, which is told from how it begins, never from its name. Links, folders, pipes and devices are
refused, except the process's own streams (`/dev/stdout`, `/dev/fd/N`) and the null device. A new file appears complete
or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from jisi_cli.errors import InputError

if TYPE_CHECKING:
    import sqlite3

_STREAM = re.compile(r"/dev/stdin|/dev/fd/\d{1,4}")
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_PIECE = 1 << 16
_MOST_TEXT = 16 * 2**20
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading bytes.

    Args:
        path: The file; a link to one is followed.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    found = path.stat()
    is_shells = _STREAM.fullmatch(str(path)) is not None
    if not (is_shells and stat.S_ISFIFO(found.st_mode)):
        _require_plain(path, found)
        if not found.st_size:
            return io.BytesIO()
    place = os.open(path, _FLAGS | (0 if is_shells else _NO_WAITING))
    try:
        if not is_shells:
            _require_plain(path, os.fstat(place))
        return os.fdopen(place, "rb")
    except BaseException:
        os.close(place)
        raise


def is_stream(path: Path) -> bool:
    """Whether it is standard input (`-`) or a pipe of the shell (`<(…)`), which can be read only once."""
    if str(path) == "-":
        return True
    return _STREAM.fullmatch(str(path)) is not None and path.exists() and stat.S_ISFIFO(path.stat().st_mode)


def read_plain(path: Path, most: int) -> bytes:
    """Return what a file holds.

    Args:
        path: The file.
        most: Bytes that it may hold.

    Raises:
        OSError: It cannot be opened, is not a regular file, or holds more than that.
    """
    content = bytearray()
    with open_plain(path) as file:
        while piece := file.read(_PIECE):  # not all at once, which would reserve that much memory for any file
            content += piece
            if len(content) > most:
                raise OSError(errno.EFBIG, f"it holds more than {most >> 20} MiB", str(path))
    return bytes(content)


def read_lines(source: Path) -> list[bytes]:
    """Return the lines of a file, or of standard input for `-`.

    Raises:
        InputError: The file cannot be read, or standard input is closed.
    """
    if str(source) == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed; pipe questions in, or name a file of them")
        return sys.stdin.buffer.readlines()
    try:
        with open_plain(source) as file:
            return file.read().splitlines()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); check the path") from error


def read_text(path: Path) -> str:
    """Return the text of a small file.

    Raises:
        InputError: It cannot be read as UTF-8.
    """
    try:
        return read_plain(path, _MOST_TEXT).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _require_plain(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISCHR(found.st_mode) and str(path) == os.devnull:
        return
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))


_BEGINNING = 4096
"""Bytes of a file by which it is recognised."""
_OUTPUT_STREAM = re.compile(r"/dev/fd/(\d{1,4})")
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class OutputKind:
    """A kind of file that jisi writes.

    Attributes:
        name: What it is, for people.
        beginning: What the first bytes of every such file match.
    """

    name: str
    beginning: re.Pattern[bytes]


ANSWERS_MARK = "written_by"
"""First key of the first line of a file of answers; its value is `jisi`."""

PAGE = OutputKind(
    "page",
    re.compile(
        rb'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="jisi"'
    ),
)
ANSWERS = OutputKind("file of answers", re.compile(rb'\{"written_by": "jisi", "dataset": "'))
LABELS = OutputKind("file of labels", re.compile(rb'\{"written_by": "jisi", "label": '))
ASKED = OutputKind("file of answered questions", re.compile(rb'\{"key": "[^"\\]{1,100}", "query": "'))
RESULTS = OutputKind("file of results", re.compile(rb'\{"key": "[^"\\]{1,100}", "dataset": "'))


def require_output(path: Path, kind: OutputKind, inputs: Iterable[Path] = (), others: Iterable[Path] = ()) -> None:
    """Refuse a file that must not or cannot be written, before any work is done for it.

    Args:
        path: The file that is to be written.
        kind: As what.
        inputs: Files and folders that the same command reads.
        others: Files and folders that the same command writes.

    Raises:
        InputError: Something is there that jisi did not write as such a file, or that the command reads; or there is
            no folder for it.
    """
    if _own_stream(path) is not None or _is_null(path):
        return
    if any(_is_same(path, other) for other in others):
        raise _refused(path, "it would replace what another option of this command names")
    try:
        found = path.lstat()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise InputError(
                f"{path}: cannot be written (there is no folder {path.parent}); make it, or name another file"
            ) from None
        return
    except (OSError, ValueError) as error:
        raise _refused(path, getattr(error, "strerror", None) or str(error)) from error
    _require_file(path, found)
    if any(_reads(source, found) for source in inputs):
        raise _refused(path, "it would replace what this command reads")
    # An empty file holds no work, unless it is the lock of a bank.
    if (found.st_size or (path.parent / "bank.json").exists()) and not kind.beginning.match(_first_bytes(path)):
        raise _refused(path, f"it is not a {kind.name} that jisi wrote")


@contextlib.contextmanager
def written(path: Path, kind: OutputKind, inputs: Iterable[Path] = ()) -> Iterator[IO[bytes]]:
    """Give a file to write into, which takes the place of an earlier one of its kind when all is written.

    Args:
        path: The file.
        kind: What it becomes.
        inputs: Files and folders that the command reads.

    Raises:
        InputError: As `require_output`, or the file cannot be written.
    """
    try:
        stream = _own_stream(path)
        if stream is not None or _is_null(path):
            place = os.dup(stream) if stream is not None else os.open(os.devnull, os.O_WRONLY | _NO_LINKS)
            with os.fdopen(place, "wb") as file:
                yield file
            return
        draft = path.parent / f".jisi-{secrets.token_hex(8)}.part"
        require_output(path, kind, inputs)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS, 0o666), "wb") as file:
                yield file
            _put(draft, path, kind, inputs)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error


def opened_to_append(path: Path, kind: OutputKind) -> int:
    """Open a file that is written piece by piece; return its descriptor, for reading and appending.

    Its beginning is checked; whether the rest is of the kind, too, is for the caller to see before changing it.

    Raises:
        InputError: It is a link, not a regular file, or does not begin as such a file does.
        OSError: It cannot be opened.
    """
    if _is_null(path):
        return os.open(os.devnull, os.O_RDWR | _NO_LINKS)
    with contextlib.suppress(FileNotFoundError):
        _require_file(path, path.lstat())
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_LINKS | _NO_WAITING
    place = os.open(path, flags, 0o666)
    try:
        _require_file(path, os.fstat(place))
    except BaseException:
        os.close(place)
        raise
    return place


def _put(draft: Path, path: Path, kind: OutputKind, inputs: Iterable[Path]) -> None:
    """Give a finished file its name, if there is still nothing there, or something that may be replaced."""
    with contextlib.suppress(FileNotFoundError):
        draft.chmod(path.lstat().st_mode & 0o777)  # who could read the file before can read it after
        require_output(path, kind, inputs)
        draft.replace(path)
        return
    try:
        os.link(draft, path)  # unlike renaming, it never replaces a file that has just appeared
    except FileExistsError:
        raise _refused(path, "another program has just made it") from None
    except OSError:  # a file system without hard links
        draft.replace(path)


def _require_file(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _refused(path, "it is a link, and jisi does not write through links")
    if stat.S_ISDIR(found.st_mode):
        raise _refused(path, "it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "it is a pipe or a device")


def _first_bytes(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _NO_LINKS | _NO_WAITING), "rb") as file:
            return file.read(_BEGINNING)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error


def _own_stream(path: Path) -> int | None:
    """Return the descriptor that a path names, of this process; None for any other path."""
    named = {"/dev/stdout": 1, "/dev/stderr": 2}.get(str(path))
    found = _OUTPUT_STREAM.fullmatch(str(path))
    return int(found[1]) if found else named


def _is_null(path: Path) -> bool:
    return str(path) == os.devnull


def _is_same(path: Path, other: Path) -> bool:
    """Whether two names are, or would become, one file: also where a file system does not tell A from a."""
    try:
        if path.name.casefold() == other.name.casefold() and path.parent.resolve() == other.parent.resolve():
            return True
        return path.samefile(other)
    except (OSError, RuntimeError):  # not there, or links that lead to each other
        return False


def _reads(source: Path, found: os.stat_result) -> bool:
    """Whether a source is a file, or a folder that has it below."""
    try:
        if os.path.samestat(source.stat(), found):
            return True
        if not source.is_dir():
            return False
    except (OSError, ValueError):
        return False
    for folder, _, names in os.walk(source):
        for name in names:
            with contextlib.suppress(OSError):
                if os.path.samestat(Path(folder, name).stat(), found):
                    return True
    return False


def _refused(path: Path, why: str) -> InputError:
    return InputError(f"{path}: cannot be written ({why}); name another file")


def is_refused(error: Exception) -> bool:
    """Whether the system refuses to write, which is no fault of the file."""
    import sqlite3

    refusals = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
    code = getattr(error, "sqlite_errorcode", None)
    # The lowest byte is the kind, what is above it the detail.
    return isinstance(error, OSError) or (isinstance(code, int) and code & 0xFF in refusals)


def connect_unwritable(path: Path) -> sqlite3.Connection:
    """Open a database for reading only, and briefly: it may become writable again.

    Writers and readers share an index beside the database. Where that is missing and cannot be created, there is no
    writer, and the file is read as it is.

    Raises:
        sqlite3.Error: It cannot be read, or what a writer left beside the file would be missing.
    """
    import sqlite3

    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("PRAGMA schema_version")
        return connection
    except sqlite3.Error as error:
        connection.close()
        left = path.with_name(f"{path.name}-wal")
        if not is_refused(error) or (left.exists() and left.stat().st_size):
            raise
    return sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
