"""Questions without answers: what `jisi bank build --call` and `jisi eval` ask the models of a pool."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from sys import intern
from typing import NamedTuple

from jisi_cli.conversation import Conversation, read_conversation
from jisi_cli.errors import InputError
from jisi_cli.formats import fields
from jisi_cli.formats.choices import CHOICES, LETTERS, POSITIONS, Choices, choices_of, is_position
from jisi_cli.formats.column_map import REFERENCE, TEXT, ColumnMap, require_one
from jisi_cli.formats.hub_dataset import dataset_name
from jisi_cli.formats.issues import ImportIssue, Location, OnIssue, Row, UnusableError
from jisi_cli.formats.record import Question
from jisi_cli.formats.rows import json_rows, json_value
from jisi_cli.formats.table_blocks import read_rows

STEMS = ("question_stem", "ctx", "goal", "sentence")
"""The keys of what comes before the choices, where a row has choices and no question."""

_CHOSEN = ("answerKey", "answer_key", "correct_option", "correct_answer", "correct", "target")
"""The keys of the right choice, where a row has choices and no reference."""

_ANSWERS = frozenset({"records", "usages", "raw_output", "errors"})
"""What the format `jisi` keeps beside its questions."""

MESSAGES = "messages"
"""The key of a whole conversation, beside or instead of a question."""


def read_questions(
    source: Path | Iterable[bytes],
    on_issue: OnIssue,
    *,
    dataset: str = "questions",
    columns: ColumnMap | None = None,
) -> Iterator[Question]:
    """Yield the questions of a file, or of JSON lines such as standard input; lines may hold answers too.

    A line may hold `messages`, a conversation in OpenAI's shape whose last turn is the question: models get all of it,
    and `query` is what it is routed by.

    Args:
        source: A JSONL, CSV or Parquet file, `hf:DATASET[/CONFIG[/SPLIT]]`, or lines of JSON.
        on_issue: Told of every line that is skipped; a repeated (dataset, index) is one.
        dataset: The dataset of lines that name none; a file's own name takes its place.
        columns: Which columns hold what, where they have no names of their own for it.

    Raises:
        InputError: The file cannot be read, or it cannot be told which column holds what.
    """
    if isinstance(source, Path):
        dataset, rows = dataset_name(source), read_rows(source, on_issue)
    else:
        rows = json_rows(source, "-", on_issue)
    columns, where = columns or ColumnMap(), str(source) if isinstance(source, Path) else "-"
    rows = columns.renamed(rows, where)
    seen: set[tuple[str, str]] = set()
    found_columns: dict[str, None] = {}
    read = {"index", "dataset", "grader", MESSAGES, *TEXT, *REFERENCE, *CHOICES, *_ANSWERS, *columns.columns.values()}
    for location, row in rows:
        found_columns.update(dict.fromkeys(row))
        try:
            question, found = _question_of(row, dataset, location, asked=True)
            read.update(found)
            if (question.dataset, question.index) in seen:
                raise UnusableError(f"{question.dataset} {question.index} appears twice; the first is kept")
        except (UnusableError, RecursionError) as why:
            on_issue(location.issue(why))
        else:
            seen.add((question.dataset, question.index))
            yield question
    if seen or not found_columns or poses_question(found_columns) or MESSAGES in found_columns:
        note_unread(found_columns, read, where, on_issue)
    else:
        names = fields.shown_names(found_columns)
        unnamed = f"no column is called `question`; say which one is it with --map query=COLUMN: {names}"
        on_issue(ImportIssue(where, None, unnamed, note=True))


def question_of(row: Row, dataset: str, location: Location) -> Question:
    """Return the question of one line of recorded answers; the line's number is the index when it has none of its own.

    Raises:
        UnusableError: It has no question, or a value of the wrong kind.
    """
    return _question_of(row, dataset, location, asked=False)[0]


def _question_of(row: Row, dataset: str, location: Location, *, asked: bool) -> tuple[Question, tuple[str, ...]]:
    """Return the question of one line, and the columns in which it was found."""
    said = _conversation_of(row) if asked else None
    if said is not None:
        row = {**row, "query": said.routed_text}
    if asked:
        require_one(row, "query", location)
        if choices_of(row) is None:
            require_one(row, "gt", location)
    index = fields.name(row.get("index"), "index", str(location.line))
    found = posed(row, TEXT, REFERENCE, asked=asked)
    question = Question(
        dataset=fields.name(row.get("dataset"), "dataset", dataset),
        index=index,
        query=found.query,
        reference=found.reference,
        grader=found.grader,
        order=fields.order(index),
        place=str(location),
        conversation=said if said is not None and (said.system or said.history) else None,
    )
    return question, found.read


def _conversation_of(row: Row) -> Conversation | None:
    """Return the conversation that `messages` hold, as a list or as JSON in a table's cell; None where there is none.

    Raises:
        UnusableError: It cannot be used, or is more than words: pictures and tools are for one question at a time.
    """
    messages = row.get(MESSAGES)
    if messages in (None, ""):
        return None
    try:
        said = read_conversation(json_value(messages.encode()) if isinstance(messages, str) else messages)
    except InputError as why:
        raise UnusableError(str(why)) from None
    if said.needs:
        raise UnusableError("messages: pictures and calls of tools cannot be read from a file; send text")
    if choices_of(row) is not None:
        raise UnusableError("messages: its choices belong into the last message; leave the column of choices out")
    return said


class FirstRows:
    """What stands for the index of questions that have none: the row on which each was first met."""

    def __init__(self) -> None:
        # Hashes, because the questions themselves need not fit into memory.
        self._lines: dict[tuple[str, int], str] = {}

    def index(self, dataset: str, query: str, location: Location) -> str:
        """Return the number of the question's first row, which all its models share."""
        return self._lines.setdefault((intern(dataset), hash(query)), str(location.line))


def poses_question(columns: Collection[str]) -> bool:
    """Whether a row has a column for a question, or columns for choices and for what comes before them."""
    return any(name in columns for name in TEXT) or (
        any(name in columns for name in STEMS) and any(name in columns for name in CHOICES)
    )


def with_choices(stem: str, choices: object) -> str:
    """Return a question with its choices lettered below it; the question alone where they are in no known shape."""
    try:
        found = choices_of({"choices": choices})
    except UnusableError:
        return stem
    return stem if found is None else found.below(stem)


class Posed(NamedTuple):
    """A question as a model is asked it.

    Attributes:
        query: Its text, with its choices below it where it has any.
        reference: The right answer; the label of a choice where it has any.
        grader: The row's own, else the one for letters where the answer is one; None when nothing says so.
        read: The columns in which question, choices and answer were found.
    """

    query: str
    reference: str | None
    grader: str | None
    read: tuple[str, ...]


def posed(row: Row, names: tuple[str, ...], answers: tuple[str, ...], *, asked: bool) -> Posed:
    """Return the question of a row.

    Args:
        row: The row.
        names: The columns of the question's text, best first.
        answers: The columns of the right answer, best first.
        asked: Whether models are still to be asked it: then choices that cannot be read are refused, since money
            would be spent on half a question, and all labels become letters.

    Raises:
        UnusableError: It has no question, or an answer that is no choice of it.
    """
    match row.get("question"):
        case {"stem": stem, "choices": _ as offered}:  # ARC and CommonsenseQA as first published
            row = {**row, "question": stem, "choices": offered}
    try:
        choices = choices_of(row)
    except UnusableError:
        if asked:
            raise
        choices = None
    grader = fields.text(row.get("grader"))
    if choices is None:
        return Posed(fields.question(row, names), fields.text(fields.first(row, answers)), grader, (*names, *answers))
    names = (*names, *STEMS)
    if asked:
        answers = (*answers, *_CHOSEN, *POSITIONS)
    read = (*names, *answers, *choices.columns)
    reference = fields.text(fields.first(row, _found(row, answers)))
    try:
        letter = _chosen(row, answers, choices)
    except UnusableError:
        if asked:
            raise
        letter = None
    stem = fields.question(row, names)
    if asked and choices.below(stem) != stem:
        lettered = choices.lettered()
        letter = letter and lettered.labels[choices.labels.index(letter)]
        choices = lettered
    grader = grader or ("choice" if letter is not None and letter in LETTERS else None)
    return Posed(choices.below(stem), letter or reference, grader, read)


def _found(row: Row, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if row.get(name) not in (None, ""))


def _chosen(row: Row, answers: tuple[str, ...], choices: Choices) -> str | None:
    """Return the label of the right choice; None where the answer names none.

    Raises:
        UnusableError: It cannot be told which choice is meant.
    """
    column = next(iter(_found(row, answers)), "")
    answer = row.get(column)
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if column in POSITIONS and isinstance(answer, str) and is_position(answer.strip()):
        answer = int(answer)
    elif choices.is_ambiguous(answer) and all(isinstance(cell, str | None) for cell in row.values()):
        raise UnusableError(
            f"answer {fields.shown(answer)} is one choice and the position of another; write its letter"
        )
    return choices.letter(answer)


def note_unread(columns: Iterable[str], read: Collection[str], source: str, on_issue: OnIssue) -> None:
    """Tell of the columns of a table that were not read, in one note."""
    ignored = [column for column in columns if column not in read]
    if ignored:
        names = fields.shown_names(ignored)
        on_issue(ImportIssue(source, None, f"columns that are not read: {names}", note=True))
