"""Opening what a user named."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from jisi_cli.errors import InputError


def open_file(source: Path) -> BinaryIO:
    """Open a file for reading bytes.

    Raises:
        InputError: It is not there, is a folder, or may not be read.
    """
    try:
        return source.open("rb")
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}; check the path") from error
