"""Rows of a table a few hundred at a time, so that a format may take a whole column of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeVar, cast

from jisi_cli.formats.issues import ImportIssue, Location, Numbered, OnIssue

Column = Sequence[object]
Item = TypeVar("Item")

_ROWS = 512
_LENGTH = 1 << 18
"""Characters in a block, but for what the last row adds: rows may be long."""
_SMALL = frozenset({int, float, bool, type(None)})


class Block:
    """Rows of one file that follow each other.

    Args:
        rows: The rows, each with its place.
    """

    def __init__(self, rows: Sequence[Numbered]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Numbered]:
        return iter(self._rows)

    def numbered(self, row: int) -> Numbered:
        """Return one row, counted from 0 in this block, and its place in the file."""
        return self._rows[row]

    def location(self, row: int) -> Location:
        """Return the place of one row in the file."""
        return self._rows[row][0]

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """The columns, of which one is None where a row lacks it."""
        rows = [row for _, row in self._rows]
        names: dict[str, object] = {}
        for row in rows:
            names.update(row)
        return {name: [row.get(name) for row in rows] for name in names}

    @cached_property
    def kinds(self) -> Mapping[str, frozenset[type]]:
        """The types that each column's values have."""
        return {name: frozenset(map(type, column)) for name, column in self.columns.items()}


class ColumnBlock(Block):
    """Rows that came as columns.

    Args:
        source: The file.
        first: The number of the first row.
        columns: The columns, of the same length.
    """

    def __init__(self, source: str, first: int, columns: Mapping[str, Column]) -> None:
        self._source, self._first = source, first
        self.columns = columns
        self._length = len(next(iter(columns.values()), ()))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Numbered]:
        return map(self.numbered, range(len(self)))

    def numbered(self, row: int) -> Numbered:
        """Return one row, counted from 0 in this block, and its place in the file."""
        return self.location(row), {name: column[row] for name, column in self.columns.items()}

    def location(self, row: int) -> Location:
        """Return the place of one row in the file."""
        return Location(self._source, self._first + row)


class RenamedBlock(Block):
    """Rows of another block, some of whose columns have other names.

    Args:
        block: The other block.
        hidden: Columns of it that are left out, unless they get a name.
        names: The column of it by each new name; None in every row where there is none.
    """

    def __init__(self, block: Block, hidden: Collection[str], names: Mapping[str, str]) -> None:
        self._block, self._hidden, self._names = block, hidden, names

    def __len__(self) -> int:
        return len(self._block)

    def __iter__(self) -> Iterator[Numbered]:
        return map(self.numbered, range(len(self)))

    def numbered(self, row: int) -> Numbered:
        """Return one row, counted from 0 in this block, and its place in the file."""
        location, values = self._block.numbered(row)
        kept = {name: value for name, value in values.items() if name not in self._hidden}
        return location, kept | {name: values.get(column) for name, column in self._names.items()}

    def location(self, row: int) -> Location:
        """Return the place of one row in the file."""
        return self._block.location(row)

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """The columns, by their new names."""
        held, nothing = self._block.columns, [None] * len(self)
        kept = {name: column for name, column in held.items() if name not in self._hidden}
        return kept | {name: held.get(column, nothing) for name, column in self._names.items()}


def in_blocks(
    read: Callable[[OnIssue], Iterator[Item]], on_issue: OnIssue, length: Callable[[Item], int]
) -> Iterator[list[Item]]:
    """Yield what is read some hundred items at a time; issues are told in turn, once the items before are used.

    Args:
        read: Yields items, and tells the function that it is given of what it cannot use.
        on_issue: Told in turn.
        length: Returns how many characters an item holds.

    Raises:
        Exception: What `read` raises, after the items before it.
    """
    told: list[ImportIssue] = []
    found, held = list[Item](), 0
    items: Iterator[Item] | None = None
    ended: Exception | None = None
    while True:
        try:
            items = read(told.append) if items is None else items
            item = next(items, None)
        except Exception as error:
            item, ended = None, error
        if found and (told or item is None or len(found) == _ROWS or held > _LENGTH):
            yield found
            found, held = [], 0
        for issue in told:
            on_issue(issue)
        told.clear()
        if ended is not None:
            raise ended
        if item is None:
            return
        found.append(item)
        held += length(item)


def row_length(numbered: Numbered) -> int:
    """Return how many characters a row holds; a list or an object, which may hold anything, fills a block."""
    length = 0
    for value in numbered[1].values():
        kind = type(value)
        if kind is str:
            length += len(cast("str", value))
        elif kind not in _SMALL:
            return _LENGTH + 1
    return length
