"""What the format of a source is detected by."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Preview(NamedTuple):
    """A look at a source: its path, then a row of it, or the document that it is.

    Attributes:
        path: The file or folder.
        columns: Keys of a row, or names of the columns; empty while only the path is looked at.
        document: The parsed file where it is one JSON document, else None.
    """

    path: Path
    columns: frozenset[str] = frozenset()
    document: object = None

    def has(self, *columns: str) -> bool:
        """Whether a row has all of these columns."""
        return self.columns.issuperset(columns)
