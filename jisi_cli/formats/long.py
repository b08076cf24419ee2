"""long: the tidy table, with one row per (question, model), as JSONL, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jisi_cli.formats.answer_block import AnswerBlock
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.issues import Located, OnIssue
from jisi_cli.formats.long_columns import read_block
from jisi_cli.formats.long_rows import COLUMNS, RowReader
from jisi_cli.formats.preview import Preview
from jisi_cli.formats.questions import note_unread, poses_question
from jisi_cli.formats.table_blocks import read_blocks

RANK = 9
"""Asked last: a question and a model say little."""

TABLE = True


def matches(preview: Preview) -> bool:
    """Whether a row has a question and names a model."""
    return poses_question(preview.columns) and not preview.columns.isdisjoint(COLUMNS["model"])


def read(source: Path, on_issue: OnIssue, names: ColumnMap | None = None) -> Iterator[Located]:
    """Yield a record per row; see `Format`, and `read_answers`."""
    for block in read_answers(source, on_issue, names):
        yield from block.located()


def read_answers(source: Path, on_issue: OnIssue, names: ColumnMap | None = None) -> Iterator[AnswerBlock]:
    """Yield an answer per row, by column, and one note with the columns that were not read.

    Plain blocks of rows are read a column at a time: see `long_columns`.

    Args:
        source: The file.
        on_issue: Told of everything that is skipped.
        names: Which columns hold what, where they have no names of their own for it.

    Raises:
        InputError: The file cannot be read, or it cannot be told which column holds what.
    """
    reader = RowReader(source)
    blocks = read_blocks(source, on_issue)
    for block in names.renamed_blocks(blocks, str(source)) if names else blocks:
        yield from read_block(block, reader, on_issue)
    reader.numbers.report(on_issue)
    known = reader.known if names is None else {*reader.known, *names.columns.values()}
    note_unread(reader.columns, known, str(source), on_issue)
