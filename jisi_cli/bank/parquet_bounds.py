"""Parquet from anywhere, where a few kilobytes may claim a trillion rows or unfold to hundreds of gigabytes.

What a file claims is checked before it is read. What a page, a dictionary or a list unfolds to is known only when it
is there, so the system is asked to give this process no more than so much memory meanwhile.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ROWS_PER_BYTE = 100
_ROWS = 2**20
_SIZE_PER_BYTE = 200
_SIZE = 2**30
"""What any file may hold, and what more it may for each of its bytes: texts that repeat take little room."""
_MEMORY = 3 * 2**30
_PER_BYTE = 16
"""Memory that one reading may take, and what more for each byte of the file; Arrow sets a gigabyte aside at once."""
_turn = threading.RLock()


class UnfoldedError(Exception):
    """A file that would unfold to more than its size allows."""


def check_claims(metadata: Any, size: int) -> None:  # noqa: ANN401 - pyarrow has no types
    """Refuse a file whose own list of contents is beyond reason.

    Args:
        metadata: A `FileMetaData`.
        size: Bytes of the file.

    Raises:
        UnfoldedError: It is.
    """
    if metadata.num_rows > _ROWS + _ROWS_PER_BYTE * size:
        raise UnfoldedError(f"{size:,} bytes claim {metadata.num_rows:,} rows")
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    require_size(sum(group.total_byte_size for group in groups), size)


def require_size(unfolded: int, size: int) -> None:
    """Refuse what has unfolded to more than a file of that size can mean.

    Raises:
        UnfoldedError: It has.
    """
    if unfolded > _SIZE + _SIZE_PER_BYTE * size:
        raise UnfoldedError(f"{size:,} bytes unfold to more than {(_SIZE + _SIZE_PER_BYTE * size) >> 20:,} MiB")


@contextlib.contextmanager
def bounded_memory(size: int) -> Iterator[None]:
    """Let this process take only so much more memory while a file of that many bytes is read; on Linux alone.

    One reading at a time: the limit is the process's own.

    Raises:
        UnfoldedError: It did not suffice.
    """
    import pyarrow as pa

    with _turn:
        taken = _taken()
        if taken is None:
            yield
            return
        import resource

        addresses, data = taken
        more = _MEMORY + _PER_BYTE * size
        before = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [(before[0], data), (resource.getrlimit(resource.RLIMIT_AS)[0], addresses)]
        is_tighter = all(limit == resource.RLIM_INFINITY or limit - used > more for limit, used in limits)
        if is_tighter:
            resource.setrlimit(resource.RLIMIT_DATA, (data + more, before[1]))
        try:
            yield
        except (MemoryError, pa.ArrowMemoryError) as error:
            if not is_tighter:
                raise
            raise UnfoldedError(f"{size:,} bytes take more than {more >> 20:,} MiB to read") from error
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, before)


def _taken() -> tuple[int, int] | None:
    """Return the bytes of addresses and of data that count now; None where the system does not say."""
    if sys.platform != "linux":
        return None
    import resource

    try:
        pages = Path("/proc/self/statm").read_text().split()
        return int(pages[0]) * resource.getpagesize(), int(pages[5]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None
