"""What an importer is: a function from a recorded file or folder to records, reporting what it cannot use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from jisi_cli.bank.records import Record


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a source that could not be used, or that a user should know.

    Attributes:
        source: The file it is in.
        line: Line of a text file, row of a table or item of a JSON list, counted from 1; None when it
            concerns the whole file.
        message: What is wrong, in one line.
        note: True when nothing was skipped because of it (an ignored column, a converted unit).
        doubt: True when answers were kept without a value that could not be used.
    """

    source: str
    line: int | None
    message: str
    note: bool = False
    doubt: bool = False

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{where}: {self.message}"


OnProblem = Callable[[Problem], None]
"""Called with each problem as it is met; it may raise to stop the reading."""


class Place(NamedTuple):
    """Where in a source something was read."""

    source: str
    line: int | None = None

    def problem(self, message: object) -> Problem:
        """Return the problem of something at this place that is skipped, in one line."""
        return Problem(self.source, self.line, " ".join(str(message).split()))


Row = Mapping[str, object]
"""One line or table row by column name."""

Numbered = tuple[Place, Row]


class Unusable(Exception):
    """Why one line, row, value or nested file cannot be used; importers turn it into a `Problem`."""


class Importer(Protocol):
    """Reads the recorded answers of one format."""

    def __call__(self, source: Path, on_problem: OnProblem) -> Iterator[Record]:
        """Yield the records of `source` in its own order.

        Args:
            source: The file or folder.
            on_problem: Told of everything that is skipped.

        Raises:
            InputError: The source as a whole cannot be read.
        """
        ...
