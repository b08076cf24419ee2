"""Which questions of a bank a person is best asked about, and labels that were given elsewhere."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import LONGEST_LABEL, Label
from jisi_cli.collect.agreement import KeylessAnswers, normalised
from jisi_cli.errors import InputError
from jisi_cli.files import ANSWERS_MARK, LABELS, written
from jisi_cli.formats import fields
from jisi_cli.formats.issues import ImportIssue, Row, UnusableError
from jisi_cli.formats.record import Key
from jisi_cli.formats.rows import file_json_rows
from jisi_cli.scoring.agreement import NO_ANSWER, NONE_RIGHT, entropy
from jisi_cli.scoring.exact_sums import row_dots


class Group(NamedTuple):
    """A final answer, and how many models gave it."""

    answer: str
    models: int


def groups_of(finals: KeylessAnswers, place: int) -> list[Group]:
    """Return the different final answers to a question, the most frequent first; equals in code-point order."""
    counts = Counter(code for code in finals.codes[place].tolist() if code != NO_ANSWER)
    groups = [Group(finals.texts[place][code], number) for code, number in counts.items()]
    return sorted(groups, key=lambda group: (-group.models, group.answer))


def most_telling(bank: Bank, finals: KeylessAnswers) -> list[int]:
    """Return the places of the questions that are worth a label, the most telling first.

    These are train rows without a label that have a final answer. First come those whose answers differ most (by the
    entropy of their groups); of equals, those nearest to all train rows in the mean. What was skipped comes last.

    Args:
        bank: The bank.
        finals: The final answers to the questions that no grader has scored.
    """
    labels = {label.key: label for label in bank.manifest.labels}
    trains = np.isin(finals.rows, bank.train_rows)
    found = []
    for place, question in enumerate(finals.questions):
        label = labels.get(question.key)
        if trains[place] and finals.texts[place] and (label is None or label.skipped):
            found.append((label is not None, -entropy(finals.codes[place].tolist()), place))
    total = bank.train_vectors.sum(axis=0, dtype=np.float64)
    places = np.array([place for *_, place in found], dtype=np.intp)
    nearness = row_dots(bank.query_vectors, finals.rows[places], total)
    order = sorted(range(len(found)), key=lambda which: (*found[which][:2], -nearness[which], found[which][2]))
    return [found[which][2] for which in order]


# Labels that are given elsewhere: one JSON object a question, whose `label` somebody fills in.


_NONE_RIGHT = "none_right"


def export_labels(path: Path, bank: Bank, finals: KeylessAnswers, places: Iterable[int]) -> int:
    """Write questions for people who label elsewhere; return how many.

    Args:
        path: The file; one that is there is not replaced, since it may hold labels already.
        bank: The bank.
        finals: The final answers to the questions that no grader has scored.
        places: Which of these questions; those that have a label are written too.

    Raises:
        InputError: The file is there, or cannot be written.
    """
    if path.is_file() and path.stat().st_size:
        raise InputError(f"{path} is there already and may hold labels; --import them, or name another file")
    labels = {label.key: label for label in bank.manifest.labels if not label.skipped}
    done = [place for place, question in enumerate(finals.questions) if question.key in labels]
    chosen = [*done, *places]
    mark: dict[str, Any] = {ANSWERS_MARK: "jisi"}
    with written(path, LABELS, (bank.path,)) as file:
        for place in chosen:
            question = finals.questions[place]
            label, groups = labels.get(question.key), groups_of(finals, place)
            line = {
                **mark,
                "label": None if label is None else label.answer,
                _NONE_RIGHT: label is not None and label.answer is None,
                "dataset": question.dataset,
                "index": question.index,
                "query": question.query,
                "answers": [group._asdict() for group in groups],
            }
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n")
            mark = {}
    return len(chosen)


def read_labels(path: Path, keys: Sequence[Key]) -> dict[Key, Label]:
    """Read labels from a file of JSON lines; a line without a label is passed over.

    Args:
        path: The file.
        keys: The questions of the bank.

    Raises:
        InputError: It cannot be read, a line is not as `export_labels` writes it, or the bank lacks its question.
    """
    known, found = frozenset(keys), dict[Key, Label]()
    for location, row in file_json_rows(path, _refuse):
        try:
            label = _label(row)
            if label is None:
                continue
            if label.key not in known:
                raise UnusableError(f"the bank has no question {_named(label)}")
            if found.setdefault(label.key, label) != label:
                raise UnusableError(f"another label for the question {_named(label)} stands before")
        except UnusableError as why:
            _refuse(location.issue(why))
    return found


def _label(row: Row) -> Label | None:
    """Return the label of a line; None where there is none.

    Raises:
        UnusableError: Something is missing, or of another kind.
    """
    answer, none_right = row.get("label"), row.get(_NONE_RIGHT, False)
    if not isinstance(none_right, bool):
        raise UnusableError(f"`{_NONE_RIGHT}` must be true or false")
    if answer is not None and (isinstance(answer, bool) or not isinstance(answer, str | int | float)):
        raise UnusableError("`label` must be text, a number or null")
    if isinstance(answer, float) and not math.isfinite(answer):
        raise UnusableError("`label` is no finite number; for no label, leave it null")
    text = (fields.text(answer) or "").strip()
    if len(text) > LONGEST_LABEL:
        raise UnusableError(f"`label` is longer than {LONGEST_LABEL:,} characters")
    if not text and not none_right:
        return None
    if text and none_right:
        raise UnusableError(f"there is a `label`, but `{_NONE_RIGHT}` says that no answer is right")
    dataset, index = (fields.required(row.get(name), f"`{name}`") for name in ("dataset", "index"))
    return Label(dataset, index, text or None)


def unmatched(labels: Mapping[Key, Label], finals: KeylessAnswers, source: Path) -> int:
    """Count the labels that no model's answer equals, so that all models count as wrong there.

    Args:
        labels: Labels of some of the questions.
        finals: What the models answer.
        source: Where the labels stand, for the error.

    Raises:
        InputError: A label cannot be compared with an answer, as a whole sentence cannot.
    """
    number = 0
    for place, question in enumerate(finals.questions):
        label = labels.get(question.key)
        if label is None or label.answer is None or finals.code(place, label.answer) != NONE_RIGHT:
            continue
        if normalised(label.answer, question) is None:
            raise InputError(
                f"{source}: the label of question {_named(label)} cannot be compared with the models' answers; "
                "write the right answer alone, or set `none_right`"
            )
        number += 1
    return number


def _named(label: Label) -> str:
    return f"{fields.shown(label.index)} of {fields.shown(label.dataset)}"


def _refuse(issue: ImportIssue) -> NoReturn:
    raise InputError(f"{issue}; correct it and import the file again")


def kept(labels: Mapping[Key, Label], finals: KeylessAnswers) -> dict[Key, Label]:
    """Return the labels of questions that no grader has scored: others are never heeded."""
    keyless = {question.key for question in finals.questions}
    return {key: label for key, label in labels.items() if key in keyless}
