"""The folder of one answer's program: looked after while it runs, and removed whatever it holds."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class ScratchFolder:
    """An empty folder; a context manager, after which the folder is gone.

    Attributes:
        path: Where it is.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="jisi-grading-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)

    def holds_more_than(self, entries: int, size: int) -> bool:
        """Whether there are more files and folders in it, or more bytes, or some that cannot be looked at."""
        pending = [str(self.path)]
        while pending:
            try:
                with os.scandir(pending.pop()) as found:
                    for entry in found:
                        entries -= 1
                        size -= entry.stat(follow_symlinks=False).st_size
                        if entries < 0 or size < 0:
                            return True
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone since it was found
            except OSError:
                return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._flatten()
        self._folder.cleanup()

    def _flatten(self) -> None:
        """Remove all files, and folders level by level: `shutil.rmtree` gives up a thousand levels down."""
        self.path.chmod(0o700)
        prefix, moved, pending = secrets.token_hex(8), 0, True
        while pending:
            pending = False
            for entry in list(self.path.iterdir()):
                if not _is_folder(entry):
                    entry.unlink()
                    continue
                for inner in list(entry.iterdir()):
                    if _is_folder(inner):
                        pending, moved = True, moved + 1
                        inner.rename(self.path / f"{prefix}-{moved}")
                    else:
                        inner.unlink()
                entry.rmdir()


def _is_folder(path: Path) -> bool:
    """Whether it is a folder and no link to one; if so it can be read and emptied from now on."""
    if path.is_symlink() or not path.is_dir():
        return False
    path.chmod(0o700)
    return True
