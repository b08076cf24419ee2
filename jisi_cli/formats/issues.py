"""What cannot be used of a source: where it is, why, and how it is reported while the rest is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from jisi_cli.formats.record import Record

if TYPE_CHECKING:
    from jisi_cli.formats.fields import Numbers


@dataclass(frozen=True, slots=True)
class ImportIssue:
    """Something in a source that could not be used, or that the user should know.

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
        return f"{Location(self.source, self.line)}: {self.message}"


OnIssue = Callable[[ImportIssue], None]
"""Called with each issue as it is found; it may raise to stop the reading."""


class Location(NamedTuple):
    """A file, and the line, row or item in it, counted from 1."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def issue(self, message: object) -> ImportIssue:
        """Return the issue of something here that is skipped, in one line."""
        return ImportIssue(self.source, self.line, " ".join(str(message).split()))


Row = Mapping[str, object]
"""One line or table row by column name."""

Numbered = tuple[Location, Row]
Located = tuple[Location, Record]
Item = TypeVar("Item")


class UnusableError(Exception):
    """Why one line, row, value or nested file cannot be used; formats turn it into an `ImportIssue`."""


def usable(
    items: Iterable[tuple[Location, Item]],
    make: Callable[[Item, Location], Record],
    on_issue: OnIssue,
    numbers: Numbers | None = None,
) -> Iterator[Located]:
    """Yield the record that `make` makes of each item; report the items that it refuses.

    Args:
        items: What is read.
        make: Makes a record; raises UnusableError for an item that is skipped.
        on_issue: Told of every skipped item.
        numbers: What `make` reads numbers with; it reports the unusable ones at the end.
    """
    for location, item in items:
        try:
            record = make(item, location)
        except (UnusableError, RecursionError) as why:
            on_issue(location.issue(why))
        else:
            yield location, record
    if numbers is not None:
        numbers.report(on_issue)


def items_of(items: object, source: str) -> Iterator[tuple[Location, object]]:
    """Yield the items of a JSON list, numbered from 1; nothing for anything else."""
    for number, item in enumerate(items if isinstance(items, list) else [], start=1):
        yield Location(source, number), item
