"""`jisi bank label`: ask a person which answers are right, one question at a time.

It reads lines, each ended by Enter, instead of single keys: a slip can be taken back before it counts, an answer has to
be typed as a line anyway, and a terminal, ssh and a pipe work alike, with nothing to restore where one of them dies.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.labels import change_labels
from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.manifest import LONGEST_LABEL, Label
from jisi_cli.bank.score_sources import rows_without_key
from jisi_cli.bank.update import update_scores
from jisi_cli.cli.grading import note_agreement
from jisi_cli.cli.output import Column, Output, count, one_line
from jisi_cli.cli.progress import counted
from jisi_cli.collect.agreement import KeylessAnswers, agree_on, read_keyless_answers
from jisi_cli.collect.labelling import Group, export_labels, groups_of, kept, most_telling, read_labels, unmatched
from jisi_cli.collect.regrade import Regraded
from jisi_cli.errors import InputError
from jisi_cli.formats.record import Key
from jisi_cli.scoring.agreement import NONE_RIGHT

_HELP = "number: that answer is right · =TEXT: another one is · n: none · s: skip · u: undo · m: whole text · q: stop"
_SHOWN_TEXT, _SHOWN_LINES, _SHOWN_ANSWER = 1200, 16, 160
"""Characters and lines of a question, and characters of an answer, that are shown at once."""


class Keyless(NamedTuple):
    """A bank's questions without an answer key, and what the models answer to them.

    Attributes:
        bank: The bank, opened when the answers were read.
        finals: The final answers.
    """

    bank: Bank
    finals: KeylessAnswers

    @classmethod
    def read(cls, path: Path, out: Output) -> Keyless:
        """Open a bank and read the answers."""
        bank = Bank(path)
        with counted(out, "reading answers") as on_read:
            return cls(bank, read_keyless_answers(bank, rows_without_key(bank), on_read))

    def labels(self) -> dict[Key, Label]:
        """Return the labels of these questions, but for those that were left for later."""
        return kept({label.key: label for label in self.bank.manifest.labels if not label.skipped}, self.finals)


def label_bank(path: Path, out: Output, *, wanted: int) -> dict[str, Any]:
    """Ask a person about the questions whose answers differ most, until so many have a label.

    Args:
        path: The bank's folder.
        out: Where questions are shown.
        wanted: Labels that the bank is to have.

    Raises:
        InputError: A line from a file or a pipe is no reply.
        BankError: The bank cannot be used.
    """
    keyless = Keyless.read(path, out)
    if not len(keyless.finals.rows):
        out.note(f"graders have scored all questions of {path}; there is nothing to label")
    session = _Session(path, keyless, out, wanted)
    try:
        with _deaf_to_hangups():
            session.run()
    finally:
        # Also when Ctrl-C ends it: what was said counts.
        session.keep()
        data = heed(path, keyless, out)
    return {**data, "wanted": wanted}


def import_into(path: Path, source: Path, out: Output) -> dict[str, Any]:
    """Take in labels that were given elsewhere.

    Raises:
        InputError: The file cannot be used.
        BankError: The bank cannot be used.
    """
    keyless = Keyless.read(path, out)
    labels = read_labels(source, keyless.bank.keys)
    heeded = kept(labels, keyless.finals)
    alone = unmatched(heeded, keyless.finals, source)
    change_labels(path, heeded, lambda: _wait(path, out))
    if len(heeded) < len(labels):
        out.warn(f"{count(len(labels) - len(heeded), 'label')} not kept: graders have scored these questions")
    if alone:
        out.warn(f"no model gave the answer of {count(alone, 'label')}: all models count as wrong on these questions")
    return {**heed(path, keyless, out), "imported": len(heeded)}


def export_from(path: Path, target: Path, out: Output, *, wanted: int) -> dict[str, Any]:
    """Write the questions that are worth a label, and those that have one, for people who label elsewhere.

    Raises:
        InputError: The file is there already, or cannot be written.
        BankError: The bank cannot be used.
    """
    keyless = Keyless.read(path, out)
    places = most_telling(keyless.bank, keyless.finals)[: max(0, wanted - len(keyless.labels()))]
    number = export_labels(target, keyless.bank, keyless.finals, places)
    out.note(f"{target}: {count(number, 'question')}; fill in `label`, or set `none_right`, and --import the file")
    return {"bank": str(path), "exported": number, "wanted": wanted}


def heed(path: Path, keyless: Keyless, out: Output) -> dict[str, Any]:
    """Score a bank anew by its labels and by agreement; return what there is now as plain data.

    Without any label, a bank that agreement has not scored stays as it is.
    """
    with exclusive(path, lambda: _wait(path, out)):
        bank, before = Bank(path), keyless.bank.manifest
        if (bank.manifest.queries, bank.manifest.responses) == (before.queries, before.responses):
            keyless = Keyless(bank, keyless.finals)
        else:  # another command has written it meanwhile
            keyless = Keyless.read(path, out)
        labels, found = keyless.labels(), Regraded()
        scores = agree_on(bank, keyless.finals, found) if labels or _is_agreed(bank) else None
        if found.changed:
            update_scores(bank, {model: grades.scores for model, grades in found.models.items()}, {}, found.sources)
    skipped = sum(label.skipped for label in bank.manifest.labels)
    left = len(most_telling(bank, keyless.finals))
    out.note(f"{count(len(labels), 'question')} labelled; {left:,} more could be")
    if scores is not None:
        note_agreement(path, scores, out)
    return {
        "bank": str(path),
        "labels": len(labels),
        "skipped": skipped,
        "left": left,
        "changed": found.changed,
        "agreement": None if scores is None else scores.to_json(),
    }


def _is_agreed(bank: Bank) -> bool:
    """Whether scores of the bank come from agreement or labels."""
    answers = [bank.answers(model) for model in bank.models]
    return any((one.scored_by("agreement") | one.scored_by("label")).any() for one in answers)


def _wait(path: Path, out: Output) -> None:
    out.note(f"another command is writing {path}; waiting for it")


@contextmanager
def _deaf_to_hangups() -> Iterator[None]:
    """Let the end of a connection be the end of the input, not of the process: the scores are still to be written."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None:
        yield
        return
    before = signal.signal(hangup, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(hangup, before)


class _Session:
    """Questions one after another, and what was said of those before.

    Args:
        path: The bank's folder.
        keyless: What the models answer.
        out: Where questions are shown.
        wanted: Labels that the bank is to have.
    """

    def __init__(self, path: Path, keyless: Keyless, out: Output, wanted: int) -> None:
        self._path, self._finals, self._out, self._wanted = path, keyless.finals, out, wanted
        self._labels: dict[Key, Label] = {label.key: label for label in keyless.bank.manifest.labels}
        self._done = len(keyless.labels())
        self._queue = most_telling(keyless.bank, keyless.finals)
        self._position = self._line = 0
        self._history: list[tuple[int, Label | None]] = []
        """Positions in the queue, with the label that each had before."""
        self._unkept: dict[Key, Label | None] = {}

    def run(self) -> None:
        """Ask until enough is labelled, nothing is left, or the person stops.

        Raises:
            InputError: A line from a file or a pipe is no reply.
        """
        shown = None
        while self._done < self._wanted and self._position < len(self._queue):
            place = self._queue[self._position]
            if shown != self._position:
                self._show(place, whole=False)
                shown = self._position
            reply = self._out.reply("right answer?", LONGEST_LABEL)
            self._line += 1
            if reply in (None, "q"):
                return
            self._hear(place, reply or "")

    def keep(self) -> None:
        """Keep what an interrupt kept from being kept."""
        if self._unkept:
            change_labels(self._path, self._unkept, lambda: _wait(self._path, self._out))
            self._unkept = {}

    def _hear(self, place: int, reply: str) -> None:
        question, groups = self._finals.questions[place], groups_of(self._finals, place)
        if reply == "u":
            self._undo()
        elif reply == "m":
            self._show(place, whole=True)
        elif reply == "s":
            self._say(Label(*question.key, skipped=True))
        elif reply == "n":
            self._say(Label(*question.key))
        elif reply.isascii() and reply.isdigit() and 1 <= int(reply[:9]) <= len(groups):
            self._say(Label(*question.key, groups[int(reply[:9]) - 1].answer))
        elif reply.startswith("=") and reply[1:].strip():
            label = Label(*question.key, reply[1:].strip())
            self._say(label)
            if self._finals.code(place, label.answer) == NONE_RIGHT:
                self._out.show(f"no model answered {one_line(label.answer or '', _SHOWN_ANSWER)}: all are wrong here")
        elif reply == "?" or sys.stdin.isatty():
            self._out.show(_HELP)
        else:
            raise InputError(
                f"line {self._line} of standard input: {one_line(reply, 40)!r} is no reply to a question with "
                f"{count(len(groups), 'answer')}; replies are: {_HELP}"
            )

    def _say(self, label: Label) -> None:
        before = self._labels.get(label.key)
        self._history.append((self._position, before))
        self._change(label.key, label)
        self._position += 1

    def _undo(self) -> None:
        if not self._history:
            self._out.show("nothing to undo")
            return
        self._position, before = self._history.pop()
        self._change(self._finals.questions[self._queue[self._position]].key, before)

    def _change(self, key: Key, label: Label | None) -> None:
        """Keep a label before anything else is asked."""
        self._unkept = {key: label}
        self.keep()
        self._done -= _counts(self._labels.pop(key, None))
        self._done += _counts(label)
        if label is not None:
            self._labels[key] = label

    def _show(self, place: int, *, whole: bool) -> None:
        question, groups = self._finals.questions[place], groups_of(self._finals, place)
        self._out.show(
            f"\n{self._done + 1} of {self._wanted} · {one_line(question.dataset)} {one_line(question.index)}\n"
        )
        self._out.show(question.query if whole else _shortened(question.query))
        self._out.table(_COLUMNS, _rows(groups, self._silent(place), whole=whole), stderr=True)
        self._out.show(_HELP if self._line == 0 else "number, =TEXT, n, s, u, m, q; ? says what they do")

    def _silent(self, place: int) -> int:
        """Return how many models answered without a final answer that can be read."""
        return int(self._finals.answered[place].sum()) - sum(group.models for group in groups_of(self._finals, place))


_COLUMNS = (Column("", right=True), Column("final answer"), Column("models", right=True))


def _rows(groups: list[Group], silent: int, *, whole: bool) -> Iterator[tuple[str, str, str]]:
    for number, group in enumerate(groups, start=1):
        yield f"{number}", one_line(group.answer, None if whole else _SHOWN_ANSWER), f"{group.models}"
    if silent:
        yield "", "(none that can be read)", f"{silent}"


def _shortened(text: str) -> str:
    lines = text[:_SHOWN_TEXT].split("\n")
    shown = "\n".join(lines[:_SHOWN_LINES])
    return shown if len(shown) == len(text) else f"{shown} … (m: the whole text)"


def _counts(label: Label | None) -> bool:
    return label is not None and not label.skipped
