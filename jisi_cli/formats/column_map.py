"""Whose columns hold what: names that everybody uses, and `--map` for all others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.formats import fields
from jisi_cli.formats.blocks import Block, RenamedBlock
from jisi_cli.formats.issues import Numbered, Row

QUERY = ("query", "question", "origin_query", "prompt")
"""The keys of a question's text in the formats of benchmarks, best first: a `prompt` may hold a template around it."""

TEXT = (*QUERY, "input")
"""The keys of a question's text in anybody's table, best first."""

REFERENCE = ("gt", "ground_truth", "reference", "answer", "target", "expected")
"""The keys of the right answer, best first."""

SCORE = ("score", "correct", "is_correct", "label")
"""The keys of whether an answer is right, best first."""

_PLAIN: Mapping[str, tuple[str, ...]] = {
    "query": ("question", "prompt", "input"),
    "gt": ("reference", "answer", "target", "expected"),
    "score": ("correct", "is_correct"),
}
"""Names that mean the same to people, so that two of them with different content may be either."""
_DECIDED: Mapping[str, tuple[str, ...]] = {
    "query": ("query", "origin_query"),
    "gt": ("gt", "ground_truth"),
    "score": ("score",),
}
"""Names that leave no doubt."""

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "query": TEXT,
    "gt": REFERENCE,
    "score": SCORE,
    "index": ("index", "question_id"),
    "dataset": ("dataset", "task"),
    "choices": ("choices", "options", "endings", "answer_choices"),
    "grader": ("grader",),
    "model": ("model", "model_name"),
    "response": ("response", "raw_output"),
    "prompt_tokens": ("prompt_tokens", "input_tokens"),
    "completion_tokens": ("completion_tokens", "output_tokens"),
    "cost": ("cost", "cost_usd"),
    "status": ("status",),
    "split": ("split",),
}
"""What `--map` can name, and all the names under which it would be read otherwise."""
_MEANT = {name: what for what, names in _GROUPS.items() for name in names}
"""What a name stands for: `--map question=frage` says the same as `--map query=frage`."""


@dataclass(frozen=True)
class ColumnMap:
    """Which columns hold what, as the user says it.

    Attributes:
        columns: The column by jisi's name of what it holds, or by another name that is read as that one.

    Raises:
        InputError: A name is none that is read, or two of them say that one thing is in two columns.
    """

    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found: dict[str, str] = {}
        for name, column in self.columns.items():
            _put(found, name, column)
        object.__setattr__(self, "columns", found)

    def __bool__(self) -> bool:
        return bool(self.columns)

    @classmethod
    def parse(cls, values: Sequence[str]) -> ColumnMap:
        r"""Read `query=question,gt=answer`; `\,` stands for a comma in the name of a column.

        Raises:
            InputError: It is written otherwise, or names what is not read.
        """
        found: dict[str, str] = {}
        for part in (part for value in values for part in re.split(r"(?<!\\),", value)):
            name, equals, column = (piece.strip() for piece in part.replace("\\,", ",").partition("="))
            if not (name and equals and column):
                raise InputError(f"--map takes NAME=COLUMN, as in --map query=question,gt=answer, not {part!r}")
            _put(found, name, column)
        return cls(found)

    @property
    def names_answers(self) -> bool:
        """Whether it says where the answers of models are, so that the rows are no bare questions."""
        return "model" in self.columns

    def renamed(self, rows: Iterator[Numbered], source: str) -> Iterator[Numbered]:
        """Yield rows with jisi's names in place of the columns that hold them.

        Args:
            rows: The rows of a file.
            source: What an error calls the file.

        Raises:
            InputError: No row has one of the columns.
        """
        for block in self.renamed_blocks((Block([row]) for row in rows), source):
            yield from block

    def renamed_blocks(self, blocks: Iterator[Block], source: str) -> Iterator[Block]:
        """Yield blocks of rows with jisi's names in place of the columns that hold them; see `renamed`."""
        if not self.columns:
            yield from blocks
            return
        absent, seen = set(self.columns.values()), dict[str, None]()
        hidden = {name for target in self.columns for name in _GROUPS[target]}
        for block in blocks:
            seen.update(dict.fromkeys(block.columns))
            absent.difference_update(block.columns)
            yield RenamedBlock(block, hidden, self.columns)
        if seen and absent:
            missing = sorted(absent)[0]
            names = fields.shown_names(seen)
            raise InputError(f"{source}: no column `{missing}`, which --map names; its columns are {names}")


def _put(found: dict[str, str], name: str, column: str) -> None:
    """Add to a map in which column something is.

    Raises:
        InputError: Nothing of that name is read, or it is said to be in another column already.
    """
    what = _MEANT.get(name)
    if what is None:
        near, names = did_you_mean(name, _GROUPS), ", ".join(_GROUPS)
        turned = f" (the other way round, {column}={name}?)" if column in _MEANT else ""
        raise InputError(f"--map: nothing called `{name}` is read{turned or near}; the names are {names}")
    if found.get(what, column) != column:
        raise InputError(f"--map: `{name}` cannot be in {found[what]!r} and in {column!r}; name one of them")
    found[what] = column


def require_one(row: Row, what: str, source: object) -> None:
    """Refuse a row in which two columns of common names hold different things, either of which may be meant.

    Args:
        row: The row.
        what: `query`, `gt` or `score`.
        source: Where it is.

    Raises:
        InputError: It is such a row.
    """
    if any(_said(row, name) for name in _DECIDED[what]):
        return
    found = {name: said for name in _PLAIN[what] if (said := _said(row, name))}
    if len(set(found.values())) > 1:
        first, second, *_ = found
        raise InputError(
            f"{source}: `{first}` and `{second}` differ, and either may be the {_WORDS[what]}; say which with "
            f"--map {what}={first} or --map {what}={second}"
        )


_WORDS = {"query": "question", "gt": "right answer", "score": "score"}


def _said(row: Row, name: str) -> str:
    return (fields.text(row.get(name)) or "").strip()
