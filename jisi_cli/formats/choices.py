"""Multiple choice: what a question offers, in the shapes that data sets have, and what its answer column means.

MMLU and MMLU-Pro keep a list and a position or letter; ARC, CommonsenseQA and OpenBookQA `{"text": […], "label": […]}`;
HellaSwag `endings`; tables a column per choice (`A`, `B`, …; `option1`, …; `opa`, …).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_uppercase

from jisi_cli.formats import fields
from jisi_cli.formats.issues import Row, UnusableError

CHOICES = ("choices", "options", "endings", "answer_choices")
"""The keys of a question's choices, best first."""

POSITIONS = ("answer_index", "answer_idx", "label", "gold", "cop")
"""Columns that hold a position or letter, where a question has choices."""

LETTERS = ascii_uppercase[:10]
"""The labels of choices that the grader `choice` reads."""

_TEXT, _LABEL = ("text", "content", "value"), ("label", "labels", "key", "id", "letter")
_COLUMN = re.compile(r"(?P<stem>|option|choice|op|ending|sol)(?P<name>[a-z]|[0-9])")
_LEAST, _LONGEST = 2, 2**16
_DIGITS = re.compile(r"[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Choices:
    """What a question offers.

    Attributes:
        labels: A letter or number for each choice.
        texts: The choices.
        columns: The columns of the row that hold them.
    """

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    columns: tuple[str, ...] = ()

    def lettered(self) -> Choices:
        """Return the same with letters from A where the labels are anything else."""
        if len(self.texts) > len(LETTERS) or all(label in LETTERS for label in self.labels):
            return self
        return Choices(tuple(LETTERS[: len(self.texts)]), self.texts, self.columns)

    def below(self, stem: str) -> str:
        """Return a question with its choices below it, a line each; the question alone where it names them itself."""
        pairs = list(zip(self.labels, self.texts, strict=True))
        if all(self._named(stem, label, text) for label, text in pairs):
            return stem
        return "\n".join((stem, *(f"{label}. {text}" for label, text in pairs)))

    def letter(self, answer: object) -> str | None:
        """Return the label of the choice that an answer stands for; None for one that names no choice.

        A number is a position from 0. Text is a label, with or without its choice, else a choice, else a position.

        Raises:
            UnusableError: It is a position that there is not.
        """
        if isinstance(answer, int | float) and not isinstance(answer, bool) and answer == answer // 1:
            return self._at(int(answer))
        if not isinstance(answer, str):
            return None
        words = answer.strip()
        pairs = list(zip(self.labels, self.texts, strict=True))
        by_label = [label for label in self.labels if label.casefold() == words.strip("(). ").casefold()]
        by_text = [label for label, text in pairs if text.strip() == words]
        by_both = [label for label, text in pairs if self._named(words, label, text)]
        found = next((labels[0] for labels in (by_label, by_text, by_both) if len(labels) == 1), None)
        return self._at(int(words)) if found is None and is_position(words) else found

    def is_ambiguous(self, answer: object) -> bool:
        """Whether text is one choice and the position of another: a table without types cannot tell which is meant."""
        if not isinstance(answer, str) or not is_position(answer) or answer in self.labels:
            return False
        place = int(answer)
        return answer in self.texts and place < len(self.texts) and self.texts[place] != answer

    def _at(self, place: int) -> str:
        if not 0 <= place < len(self.labels):
            raise UnusableError(f"answer {place} is no position, counted from 0, of {len(self.labels)} choices")
        return self.labels[place]

    @staticmethod
    def _named(words: str, label: str, text: str) -> bool:
        """Whether some words have a choice behind its label: `(C) seven`."""
        return re.search(rf"(?<!\w){re.escape(label)}[).:\]]+\s*{re.escape(text.strip())}", words) is not None


def is_position(words: str) -> bool:
    """Whether text is a short whole number."""
    return _DIGITS.fullmatch(words) is not None


def choices_of(row: Row) -> Choices | None:
    """Return the choices of a question's row; None when it has none.

    Raises:
        UnusableError: It has choices in a shape that is not known.
    """
    for column in CHOICES:
        if row.get(column) not in (None, "", [], {}):
            return _offered(*_listed(row[column]), (column,))
    return _in_columns(row)


def are_choices(columns: tuple[str, ...]) -> bool:
    """Whether some of the columns of a table may hold the choices of its questions."""
    return not set(CHOICES).isdisjoint(columns) or bool(_alike(columns))


def _offered(labels: list[str], texts: list[str], columns: tuple[str, ...]) -> Choices | None:
    while texts and not texts[-1].strip():  # tables give every question as many as the longest has
        texts.pop()
    if not texts:
        return None
    labels = labels or [*(LETTERS if len(texts) <= len(LETTERS) else _numbers(texts))]
    labels = labels[: len(texts)]
    marks = [re.match(rf"\(?{re.escape(label)}\s?[).:]\s*", text) for label, text in zip(labels, texts, strict=True)]
    if all(marks):  # AQuA writes its letters into the choices
        texts = [text[mark.end() :] for text, mark in zip(texts, marks, strict=True) if mark is not None]
    return Choices(tuple(labels), tuple(texts), columns)


def _numbers(texts: list[str]) -> Iterator[str]:
    return (str(number) for number in range(1, len(texts) + 1))


def _listed(value: object) -> tuple[list[str], list[str]]:
    """Return labels, none where there are none, and texts."""
    value = _written(value) if isinstance(value, str) else value
    match value:
        case [*items] if all(isinstance(item, Mapping) for item in items):
            return _from_items([item for item in items if isinstance(item, Mapping)])
        case [*items] if not any(isinstance(item, Mapping | list) for item in items):
            return [], _words(items)
        case Mapping():
            return _from_table(value)
    raise UnusableError(f"choices in a shape that is not read: {fields.shown(value)}")


def _from_items(items: list[Mapping[str, object]]) -> tuple[list[str], list[str]]:
    texts, labels = ([fields.first(item, names) for item in items] for names in (_TEXT, _LABEL))
    if None in texts:
        raise UnusableError("choices without `text`")
    return [] if None in labels else _words(labels), _words(texts)


def _from_table(table: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Read {"text": […], "label": […]}, or {"A": …, "B": …}."""
    texts, labels = fields.first(table, _TEXT), fields.first(table, _LABEL)
    if not isinstance(texts, list):
        labels, texts = list(table), list(table.values())
        if any(isinstance(text, Mapping | list) for text in texts):
            raise UnusableError("choices in a shape that is not read: an object without lists `text` and `label`")
    known = isinstance(labels, list) and len(labels) == len(texts)
    return _words(labels if known else []), _words(texts)


def _words(values: object) -> list[str]:
    return [fields.text(value) or "" for value in values] if isinstance(values, list) else []


def _written(text: str) -> object:
    """Return the list or object that a cell of a table holds as JSON or as Python writes it."""
    if len(text) > _LONGEST or text.strip()[:1] not in ("[", "{"):
        raise UnusableError(f"choices in a shape that is not read: {fields.shown(text)}; give a list")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UnusableError(f"choices in a shape that is not read: {fields.shown(text)}; give a list") from None


def _in_columns(row: Row) -> Choices | None:
    for labels, columns in _alike(tuple(row)):
        if isinstance(row[columns[0]], str):
            return _offered(list(labels), _words([row[column] for column in columns]), columns)
    return None


@lru_cache(8)  # few: the names of a hostile file may be as long as its lines
def _alike(row: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Return labels and columns of choices that are called alike, but for a letter or number at the end.

    Args:
        row: The names of all columns, which are the same in most rows.
    """
    alike: dict[str, dict[str, str]] = {}
    found = []
    for column in row:
        named = _COLUMN.fullmatch(re.sub(r"[^a-z0-9]", "", column.lower()))
        if named is not None:
            alike.setdefault(named["stem"], {})[named["name"]] = column
    for stem, columns in alike.items():
        for first in ("a", "0", "1") if stem else ("a",):
            names = _run(columns, first)
            if len(names) >= _LEAST:
                labels = tuple(names if first != "a" else [name.upper() for name in names])
                found.append((labels, tuple(columns[name] for name in names)))
    return tuple(found)


def _run(columns: Mapping[str, str], first: str) -> list[str]:
    """Return the names that follow each other from the first: a, b, c."""
    names: list[str] = []
    while chr(ord(first) + len(names)) in columns:
        names.append(chr(ord(first) + len(names)))
    return names
