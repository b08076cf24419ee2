"""Labels of a bank without an answer key: which questions a person is best asked about, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.labels import change_labels
from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.manifest import LONGEST_LABEL, Label
from jisi_cli.bank.score_sources import rows_without_key
from jisi_cli.bank.update import update_scores
from jisi_cli.collect.agreement import (
    Group,
    KeylessAnswers,
    KeylessScores,
    OnRead,
    agree_on,
    groups_of,
    normalised,
    read_keyless_answers,
)
from jisi_cli.collect.label_file import exported, named, read_labels, write_labels
from jisi_cli.collect.regrade import Regraded
from jisi_cli.errors import InputError
from jisi_cli.formats.record import Key
from jisi_cli.printable import printable
from jisi_cli.scoring.agreement import NONE_RIGHT, entropy
from jisi_cli.scoring.exact_sums import row_dots

USUAL_LABELS = 30
"""So many labels that are well chosen say nearly as much as an answer key."""


def most_telling(bank: Bank, finals: KeylessAnswers, labels: Mapping[Key, Label]) -> list[int]:
    """Return the places of the questions that are worth a label, the most telling first.

    These are train rows without a label that have a final answer. First come those whose answers differ most (by the
    entropy of their groups); of equals, those nearest to all train rows in the mean. What was skipped comes last.

    Args:
        bank: The bank.
        finals: The final answers to the questions that no grader has scored.
        labels: What was said before.
    """
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


@dataclass(frozen=True, slots=True)
class KeylessQuestion:
    """A question that no grader has scored, as a person is asked about it.

    Attributes:
        dataset: Where it comes from.
        index: Its name there.
        query: Its text.
        answers: The different final answers, normalised, with how many models gave each; the most frequent first.
        unread: How many models answered without a final answer that can be read.
    """

    dataset: str
    index: str
    query: str
    answers: tuple[Group, ...]
    unread: int

    @property
    def key(self) -> Key:
        """What identifies it."""
        return (self.dataset, self.index)


class LabelConflictError(InputError):
    """Someone else has labelled the question otherwise since it was read.

    Attributes:
        label: What they said.
    """

    def __init__(self, label: Label) -> None:
        said = "none of the answers" if label.answer is None else printable(label.answer)
        super().__init__(f"someone else has said meanwhile that {said} is right on question {named(label)}")
        self.label = label


@dataclass(frozen=True, slots=True)
class Scored:
    """What the labels of a bank come to.

    Attributes:
        labels: Questions that have one.
        skipped: Questions left for later.
        left: Questions that could have one.
        changed: Scores that changed.
        agreement: By what the questions without a key are scored now; None where nothing was said of any.
    """

    labels: int
    skipped: int
    left: int
    changed: int
    agreement: KeylessScores | None

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Imported:
    """Labels that were taken in from a file.

    Attributes:
        labels: How many.
        graded: How many were left out, since graders have scored their questions.
        unmatched: How many say what no model answered, so that all models are wrong there.
        replaced: Labels that the bank had, of which the file says something else.
    """

    labels: int
    graded: int
    unmatched: int
    replaced: tuple[Label, ...]


class Labelling:
    """What people say is right on a bank's questions that no grader has scored.

    Labels are kept in the bank as soon as they are given; several people, or processes, may label one bank at a time.
    The scores that follow from them are written by `score`.

    Example:
        >>> import jisi_cli as jisi
        >>> labelling = jisi.Labelling("my-bank")
        >>> for question in labelling.questions(30):
        ...     labelling.label(question.key, ask_somebody(question.query, question.answers))
        >>> labelling.score()

    Args:
        bank: The bank, or its folder.
        on_read: Told how many of how many answers were read; a thousand take about a second.
        on_wait: Called before waiting for another process that writes the bank.

    Raises:
        BankError: The bank cannot be read.

    Attributes:
        bank: The bank, as it was when it was last read.
        finals: What its models finally answer to these questions.
    """

    def __init__(
        self, bank: Bank | Path | str, *, on_read: OnRead | None = None, on_wait: Callable[[], None] = lambda: None
    ) -> None:
        self._on_read, self._on_wait = on_read, on_wait
        self.bank = bank if isinstance(bank, Bank) else Bank(Path(bank))
        self._read()

    def _read(self) -> None:
        self.finals = read_keyless_answers(self.bank, rows_without_key(self.bank), self._on_read)
        self._places = {question.key: place for place, question in enumerate(self.finals.questions)}
        self._said = {label.key: label for label in self.bank.manifest.labels}

    @property
    def labels(self) -> dict[Key, Label]:
        """The labels of these questions, without those that were skipped; as the bank had them at the last change."""
        return {key: label for key, label in self._said.items() if key in self._places and not label.skipped}

    def said(self, key: Key) -> Label | None:
        """Return what was said of a question; None where nothing was."""
        return self._said.get(key)

    def questions(self, number: int | None = None) -> list[KeylessQuestion]:
        """Return the questions that are worth a label, the most telling first.

        These are train questions without a label whose answers differ most. What was skipped comes last.

        Args:
            number: At most so many; None for all.
        """
        return [self._question(place) for place in most_telling(self.bank, self.finals, self._said)[:number]]

    def _question(self, place: int) -> KeylessQuestion:
        question, groups = self.finals.questions[place], groups_of(self.finals, place)
        unread = int(self.finals.answered[place].sum()) - sum(group.models for group in groups)
        return KeylessQuestion(question.dataset, question.index, question.query, tuple(groups), unread)

    def label(self, key: Key, answer: str | None, *, replace: bool = False) -> bool:
        """Keep what is right on a question.

        Args:
            key: Data set and index of the question.
            answer: The right answer, one of the models' or another; None where none of theirs is right.
            replace: Whether a label that someone else gave meanwhile is replaced.

        Returns:
            Whether a model gave that answer; otherwise all models are wrong there.

        Raises:
            InputError: There is no such question, or the answer cannot be compared with the models'.
            LabelConflictError: Someone else has said something else meanwhile; nothing was changed.
            BankError: The bank cannot be written.
        """
        place = self._place(key)
        text = None if answer is None else printable(answer).strip()
        code = NONE_RIGHT if text is None else self._code(place, text)
        self.keep(key, Label(*key, text), replace=replace)
        return code != NONE_RIGHT

    def is_given(self, key: Key, answer: str) -> bool:
        """Return whether a model gave an answer.

        Raises:
            InputError: There is no such question, or the answer cannot be compared with the models'.
        """
        return self._code(self._place(key), answer) != NONE_RIGHT

    def keep(self, key: Key, label: Label | None, *, replace: bool = False) -> None:
        """Keep a label as it is, or take it back; see `label`.

        Args:
            key: Data set and index of the question.
            label: What is said; None takes back what was said.
            replace: Whether a label that someone else gave meanwhile is replaced.
        """
        known = None if replace else self._said
        manifest, others = change_labels(self.bank.path, {key: label}, self._on_wait, known)
        self._said = {found.key: found for found in manifest.labels}
        if key in others and not replace:
            raise LabelConflictError(others[key])

    def score(self) -> Scored:
        """Score the bank again by its labels and by agreement.

        Without any label, a bank that agreement has not scored stays as it is.

        Raises:
            InputError: The bank's folder cannot be written.
            BankError: The bank cannot be read.
        """
        with exclusive(self.bank.path, self._on_wait):
            before, self.bank = self.bank.manifest, Bank(self.bank.path, self.bank.failed)
            now = self.bank.manifest
            self._said = {label.key: label for label in now.labels}
            if (now.queries, now.responses) != (before.queries, before.responses):  # another command has written it
                self._read()
            labels, found = self.labels, Regraded()
            scores = agree_on(self.bank, self.finals, found) if labels or _is_agreed(self.bank) else None
            if found.changed:
                grades = {model: grades.scores for model, grades in found.models.items()}
                update_scores(self.bank, grades, {}, found.sources)
        skipped = sum(label.skipped for label in now.labels)
        left = len(most_telling(self.bank, self.finals, self._said))
        return Scored(len(labels), skipped, left, found.changed, scores)

    def lines(self, number: int = USUAL_LABELS) -> list[dict[str, Any]]:
        """Return questions for people who label elsewhere: one object each, whose `label` is to be filled in.

        Those that have a label come first; then the most telling ones without, until there are `number`.

        Args:
            number: Labels that the bank is to have in the end.
        """
        labels = self.labels
        places = most_telling(self.bank, self.finals, self._said)[: max(0, number - len(labels))]
        return list(exported(self.finals, labels, places))

    def export(self, path: Path | str, number: int = USUAL_LABELS) -> int:
        """Write those lines to a file; return how many. Where there are none, no file is made.

        Args:
            path: A file that is not there yet.
            number: Labels that the bank is to have in the end.

        Raises:
            InputError: The file is there and may hold labels, or it cannot be written.
        """
        lines = self.lines(number)
        if lines:
            write_labels(Path(path), lines, self.bank.path)
        return len(lines)

    def take_in(self, path: Path | str) -> Imported:
        """Keep the labels of a file that was exported and filled in. Its labels replace others, which are returned.

        Args:
            path: The file; `-` for standard input.

        Raises:
            InputError: The file cannot be used; nothing was changed.
            BankError: The bank cannot be written.
        """
        source = Path(path)
        given = read_labels(source, {question.key: question.query for question in self.bank.questions})
        kept = {key: label for key, label in given.items() if key in self._places}
        alone = self._unmatched(kept.values(), source)
        manifest, others = change_labels(self.bank.path, kept, self._on_wait)
        self._said = {label.key: label for label in manifest.labels}
        return Imported(len(kept), len(given) - len(kept), alone, tuple(others.values()))

    def _unmatched(self, labels: Iterable[Label], source: Path) -> int:
        """Count the labels that no model's answer equals."""
        number = 0
        for label in labels:
            try:
                is_given = label.answer is None or self._code(self._places[label.key], label.answer) != NONE_RIGHT
            except InputError as error:
                raise InputError(f"{source}: the label of question {named(label)}: {error}") from error
            number += not is_given
        return number

    def _place(self, key: Key) -> int:
        place = self._places.get(key)
        if place is None:
            raise InputError(f"{self.bank.path} has no question {named(Label(*key))} that no grader has scored")
        return place

    def _code(self, place: int, text: str) -> int:
        """Return the code of the models' answers that equal a text.

        Raises:
            InputError: It cannot be compared with an answer, as a whole sentence cannot.
        """
        code = self.finals.code(place, text)
        is_answer = 0 < len(text) <= LONGEST_LABEL
        if not is_answer or (code == NONE_RIGHT and normalised(text, self.finals.questions[place]) is None):
            raise InputError(
                "it cannot be compared with the models' answers; give the right answer alone, or say that none is right"
            )
        return code


def _is_agreed(bank: Bank) -> bool:
    """Whether scores of the bank come from agreement or labels."""
    answers = [bank.answers(model) for model in bank.models]
    return any((one.scored_by("agreement") | one.scored_by("label")).any() for one in answers)
