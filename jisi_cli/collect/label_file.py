"""Labels that are given elsewhere: JSON lines, one a question, whose `label` someone fills in."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jisi_cli.bank.manifest import LONGEST_LABEL, Label
from jisi_cli.collect.agreement import KeylessAnswers, groups_of
from jisi_cli.errors import InputError
from jisi_cli.files import ANSWERS_MARK, LABELS, read_lines, written
from jisi_cli.formats import fields
from jisi_cli.formats.issues import ImportIssue, Row, UnusableError
from jisi_cli.formats.record import Key
from jisi_cli.formats.rows import file_json_rows, json_rows
from jisi_cli.printable import printable

_LABEL, _NONE_RIGHT = "label", "none_right"
_FIELDS = (ANSWERS_MARK, _LABEL, _NONE_RIGHT, "dataset", "index", "query", "answers")
"""What an exported line holds."""


def exported(finals: KeylessAnswers, labels: Mapping[Key, Label], places: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield a line for each question that has a label, and then for others.

    Args:
        finals: The final answers to the questions that no grader has scored.
        labels: Labels of some of these questions.
        places: Which of the questions without one.
    """
    done = [place for place, question in enumerate(finals.questions) if question.key in labels]
    mark: dict[str, Any] = {ANSWERS_MARK: "jisi"}
    for place in (*done, *places):
        question = finals.questions[place]
        label = labels.get(question.key)
        yield {
            **mark,
            _LABEL: None if label is None else label.answer,
            _NONE_RIGHT: label is not None and label.answer is None,
            "dataset": question.dataset,
            "index": question.index,
            "query": question.query,
            "answers": [group._asdict() for group in groups_of(finals, place)],
        }
        mark = {}


def write_labels(path: Path, lines: Sequence[Mapping[str, Any]], bank: Path) -> None:
    """Write lines for people who label elsewhere.

    Args:
        path: The file; one that is there is not replaced, since it may hold labels already.
        lines: As `exported` yields them.
        bank: The bank's folder, which must not be written into.

    Raises:
        InputError: The file is there, or cannot be written.
    """
    if path.is_file() and path.stat().st_size:
        raise InputError(f"{path} is there already and may hold labels; --import them, or name another file")
    with written(path, LABELS, (bank,)) as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n")


def read_labels(path: Path, questions: Mapping[Key, str]) -> dict[Key, Label]:
    """Read labels from a file of JSON lines; a line without a label is passed over.

    Args:
        path: The file; `-` for standard input.
        questions: The text of each question of the bank.

    Raises:
        InputError: It cannot be read, a line is not as `exported` yields it, or the bank has no such question.
    """
    found = dict[Key, Label]()
    is_stdin = str(path) == "-"
    rows = json_rows(read_lines(path), "standard input", _refuse) if is_stdin else file_json_rows(path, _refuse)
    for location, row in rows:
        try:
            _require_fields(row)
            label = _label(row)
            if label is None:
                continue
            _require_question(label, row.get("query"), questions)
            if found.setdefault(label.key, label) != label:
                raise UnusableError(f"another label for the question {named(label)} stands before")
        except UnusableError as why:
            _refuse(location.issue(why))
    return found


def _require_fields(row: Row) -> None:
    """Refuse a line that cannot hold a label, or one whose label stands under a misspelt name.

    Raises:
        UnusableError: It is such a line.
    """
    is_given = row.get(_LABEL) not in (None, "") or row.get(_NONE_RIGHT) not in (None, False)
    for name in () if is_given else (name for name in row if name not in _FIELDS):
        near = difflib.get_close_matches(name.casefold().replace("-", "_"), (_LABEL, _NONE_RIGHT), cutoff=0.79)
        if near:
            raise UnusableError(f"there is no field {fields.shown(name)}; did you mean `{near[0]}`?")
    if _LABEL not in row and _NONE_RIGHT not in row:
        raise UnusableError(f"there is no `{_LABEL}`; leave it null where no label is given")


def _require_question(label: Label, query: object, questions: Mapping[Key, str]) -> None:
    """Refuse a label of a question that the bank lacks, or has with another text.

    Raises:
        UnusableError: It is such a label.
    """
    if label.key not in questions:
        raise UnusableError(f"the bank has no question {named(label)}")
    if query is not None and (fields.text(query) or "").split() != questions[label.key].split():
        raise UnusableError(
            f"`query` is not the question {named(label)} of this bank; import the file into the bank that it was "
            "exported from"
        )


def _label(row: Row) -> Label | None:
    """Return the label of a line; None where there is none.

    Raises:
        UnusableError: Something is missing, or of another kind.
    """
    answer, none_right = row.get(_LABEL), row.get(_NONE_RIGHT, False)
    if not isinstance(none_right, bool):
        raise UnusableError(f"`{_NONE_RIGHT}` must be true or false")
    if answer is not None and (isinstance(answer, bool) or not isinstance(answer, str | int | float)):
        raise UnusableError("`label` must be text, a number or null")
    if isinstance(answer, float) and not math.isfinite(answer):
        raise UnusableError("`label` is no finite number; for no label, leave it null")
    text = printable(fields.text(answer) or "").strip()
    if len(text) > LONGEST_LABEL:
        raise UnusableError(f"`label` is longer than {LONGEST_LABEL:,} characters")
    if not text and not none_right:
        return None
    if text and none_right:
        raise UnusableError(f"there is a `label`, but `{_NONE_RIGHT}` says that no answer is right")
    dataset, index = (fields.required(row.get(name), f"`{name}`") for name in ("dataset", "index"))
    return Label(dataset, index, text or None)


def named(label: Label) -> str:
    """Return which question a label is of, for messages."""
    return f"{fields.shown(label.index)} of {fields.shown(label.dataset)}"


def _refuse(issue: ImportIssue) -> NoReturn:
    raise InputError(f"{issue}; correct it and import the file again")
