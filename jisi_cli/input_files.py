"""The files jisi reads: plain files alone. A pipe, a device or a file of the kernel's may never end.

A pipe is read where the user named one of the process's own streams (`/dev/stdin`, or `/dev/fd/N`, which a shell makes
of `<(command)`). An empty file is not opened at all: what the kernel shows as files has no size, and may wait for ever.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

_STREAM = re.compile(r"/dev/stdin|/dev/fd/\d{1,4}")
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_PIECE = 1 << 16
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading bytes.

    Args:
        path: The file; a link to one is followed.

    Raises:
        OSError: It cannot be opened, or is no plain file.
    """
    found = path.stat()
    is_stream = _STREAM.fullmatch(str(path)) is not None
    if not (is_stream and stat.S_ISFIFO(found.st_mode)):
        _require_plain(path, found)
        if not found.st_size:
            return io.BytesIO()
    place = os.open(path, _FLAGS | (0 if is_stream else _NO_WAITING))
    try:
        if not is_stream:
            _require_plain(path, os.fstat(place))
        return os.fdopen(place, "rb")
    except BaseException:
        os.close(place)
        raise


def read_plain(path: Path, most: int) -> bytes:
    """Return what a file holds.

    Args:
        path: The file.
        most: Bytes that it may hold.

    Raises:
        OSError: It cannot be opened, is no plain file, or holds more.
    """
    content = bytearray()
    with open_plain(path) as file:
        while piece := file.read(_PIECE):  # not all at once: so much would be set aside for any file
            content += piece
            if len(content) > most:
                raise OSError(errno.EFBIG, f"it holds more than {most >> 20} MiB", str(path))
    return bytes(content)


def _require_plain(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISCHR(found.st_mode) and str(path) == os.devnull:
        return
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
