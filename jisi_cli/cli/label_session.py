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
from typing import Any

from jisi_cli.bank.manifest import LONGEST_LABEL, Label
from jisi_cli.cli.grading import note_agreement
from jisi_cli.cli.interrupts import give_time
from jisi_cli.cli.output import Column, Output, count, one_line
from jisi_cli.cli.progress import counted
from jisi_cli.collect.labelling import KeylessQuestion, LabelConflictError, Labelling
from jisi_cli.errors import InputError
from jisi_cli.formats.record import Key

_HELP = "number: that answer is right · =TEXT: another one is · n: none · s: skip · u: undo · m: whole text · q: stop"
_SHOWN_TEXT, _SHOWN_LINES, _SHOWN_ANSWER = 1200, 16, 160
"""Characters and lines of a question, and characters of an answer, that are shown at once."""


def _open(path: Path, out: Output) -> Labelling:
    with counted(out, "reading answers") as on_read:
        return Labelling(path, on_read=on_read, on_wait=lambda: out.note(f"waiting for what is writing {path}"))


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
    labelling = _open(path, out)
    if not len(labelling.finals.rows):
        out.note(f"graders have scored all questions of {path}; there is nothing to label")
    session = _Session(labelling, out, wanted)
    try:
        with _deaf_to_hangups():
            session.run()
    except KeyboardInterrupt:
        give_time()  # scoring, which a second Ctrl-C ends: the labels are kept
        raise
    finally:
        # Also when Ctrl-C ends it: what was said counts.
        session.keep()
        data = _score(labelling, out)
    return {**data, "wanted": wanted}


def import_into(path: Path, source: Path, out: Output) -> dict[str, Any]:
    """Take in labels that were given elsewhere.

    Raises:
        InputError: The file cannot be used.
        BankError: The bank cannot be used.
    """
    labelling = _open(path, out)
    found = labelling.take_in(source)
    if found.graded:
        out.warn(f"{count(found.graded, 'label')} not kept: graders have scored these questions")
    if found.unmatched:
        alone = count(found.unmatched, "label")
        out.warn(f"no model gave the answer of {alone}: all models count as wrong on these questions")
    if found.replaced:
        first = found.replaced[0]
        out.warn(
            f"{count(len(found.replaced), 'label')} in the bank said something else and were replaced; the first was "
            f"{_said(first)} on question {one_line(first.index)} of {one_line(first.dataset)}"
        )
    return {**_score(labelling, out), "imported": found.labels, "replaced": len(found.replaced)}


def export_from(path: Path, target: Path, out: Output, *, wanted: int) -> dict[str, Any]:
    """Write the questions that are worth a label, and those that have one, for people who label elsewhere.

    Args:
        path: The bank's folder.
        target: The file; `-` for standard output.
        out: Where standard output is written.
        wanted: Labels that the bank is to have.

    Raises:
        InputError: The file is there already, or cannot be written.
        BankError: The bank cannot be used.
    """
    labelling = _open(path, out)
    if str(target) == "-":
        lines = labelling.lines(wanted)
        for line in lines:
            out.json_line(line)
        number = len(lines)
    else:
        number = labelling.export(target, wanted)
    if number:
        out.note(f"{target}: {count(number, 'question')}; fill in `label`, or set `none_right`, and --import the file")
    else:
        out.note(f"no question of {path} needs a label; nothing was written")
    return {"bank": str(path), "exported": number, "wanted": wanted}


def _score(labelling: Labelling, out: Output) -> dict[str, Any]:
    """Score the bank by its labels, and say what there is now."""
    path = labelling.bank.path
    scored = labelling.score()
    out.note(f"{count(scored.labels, 'question')} labelled; {scored.left:,} more could be")
    if scored.agreement is not None:
        note_agreement(path, scored.agreement, out)
    return {"bank": str(path), **scored.to_json()}


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
        labelling: The bank's labels.
        out: Where questions are shown.
        wanted: Labels that the bank is to have.
    """

    def __init__(self, labelling: Labelling, out: Output, wanted: int) -> None:
        self._labelling, self._out, self._wanted = labelling, out, wanted
        self._queue = labelling.questions()
        self._position = self._line = 0
        self._history: list[tuple[int, Label | None, Label]] = []
        """Positions in the queue, with the label that each had before, and what was said here."""
        self._unkept: tuple[Key, Label | None] | None = None

    @property
    def _is_person(self) -> bool:
        return sys.stdin.isatty()

    def run(self) -> None:
        """Ask until enough is labelled, nothing is left, or the person stops.

        Raises:
            InputError: A line from a file or a pipe is no reply.
        """
        shown = None
        while len(self._labelling.labels) < self._wanted and self._position < len(self._queue):
            question = self._queue[self._position]
            if shown != self._position:
                self._show(question, whole=False)
                shown = self._position
            reply = self._out.reply("right answer?", LONGEST_LABEL)
            self._line += 1
            if reply in (None, "q"):
                return
            self._hear(question, reply or "")

    def keep(self) -> None:
        """Keep what an interrupt kept from being kept."""
        if self._unkept is None:
            return
        (key, label), self._unkept = self._unkept, None
        try:
            self._labelling.keep(key, label)
        except LabelConflictError as error:
            self._out.warn(f"{error}; that stays")

    def _hear(self, question: KeylessQuestion, reply: str) -> None:
        if reply == "u":
            self._undo()
        elif reply == "m":
            self._show(question, whole=True)
        elif reply == "s":
            self._say(Label(*question.key, skipped=True))
        elif reply == "n":
            self._say(Label(*question.key))
        elif reply.isascii() and reply.isdigit() and 1 <= int(reply[:9]) <= len(question.answers):
            self._say(Label(*question.key, question.answers[int(reply[:9]) - 1].answer))
        elif reply.startswith("=") and reply[1:].strip():
            self._say_text(question, reply[1:].strip())
        elif reply == "?" or self._is_person:
            self._out.show(_HELP)
        else:
            raise InputError(
                f"line {self._line} of standard input: {one_line(reply, 40)!r} is not a reply to a question with "
                f"{count(len(question.answers), 'answer')}; replies are: {_HELP}"
            )

    def _say_text(self, question: KeylessQuestion, text: str) -> None:
        """Keep an answer that was typed, unless nothing can be compared with it."""
        try:
            is_given = self._labelling.is_given(question.key, text)
        except InputError as error:
            if not self._is_person:
                raise InputError(f"line {self._line} of standard input: {one_line(text, 40)!r}: {error}") from error
            self._out.show(f"{error} (n)")
            return
        self._say(Label(*question.key, text))
        if not is_given:
            self._out.show(f"no model answered {one_line(text, _SHOWN_ANSWER)}: all are wrong here")

    def _say(self, label: Label) -> None:
        before = self._labelling.said(label.key)
        if label.skipped and before is not None and not before.skipped:
            self._go_on()  # someone else has given the answer
            return
        try:
            self._keep(label.key, label)
        except LabelConflictError as error:
            if self._is_person and not label.skipped:
                self._out.show(f"{error}; reply again to replace that, or s to leave it")
                return
            self._out.warn(f"{error}; that stays")
        else:
            self._history.append((self._position, before, label))
        self._go_on()

    def _go_on(self) -> None:
        """Go to the next question without a label from someone else."""
        self._position += 1
        labels = self._labelling.labels
        while self._position < len(self._queue) and self._queue[self._position].key in labels:
            self._position += 1

    def _undo(self) -> None:
        if not self._history:
            self._out.show("nothing to undo")
            return
        position, before, said = self._history.pop()
        try:
            now = self._labelling.said(said.key)
            if now is not None and now != said:
                raise LabelConflictError(now)
            self._keep(said.key, before)
        except LabelConflictError as error:
            self._out.warn(f"{error}; that stays")
        else:
            self._position = position

    def _keep(self, key: Key, label: Label | None) -> None:
        """Keep a label before anything else is asked.

        Raises:
            LabelConflictError: Someone else has said something else.
        """
        self._unkept = key, label
        try:
            self._labelling.keep(key, label)
        except LabelConflictError:
            self._unkept = None
            raise
        self._unkept = None

    def _show(self, question: KeylessQuestion, *, whole: bool) -> None:
        number = len(self._labelling.labels) + 1
        self._out.show(f"\n{number} of {self._wanted} · {one_line(question.dataset)} {one_line(question.index)}\n")
        self._out.show(question.query if whole else _shortened(question.query))
        self._out.table(_COLUMNS, _rows(question, whole=whole), stderr=True)
        self._out.show(_HELP if self._line == 0 else "number, =TEXT, n, s, u, m, q; ? says what they do")


_COLUMNS = (Column("", right=True), Column("final answer"), Column("models", right=True))


def _rows(question: KeylessQuestion, *, whole: bool) -> Iterator[tuple[str, str, str]]:
    for number, group in enumerate(question.answers, start=1):
        yield f"{number}", one_line(group.answer, None if whole else _SHOWN_ANSWER), f"{group.models}"
    if question.unread:
        yield "", "(none that can be read)", f"{question.unread}"


def _said(label: Label) -> str:
    return "that none is right" if label.answer is None else one_line(label.answer, _SHOWN_ANSWER)


def _shortened(text: str) -> str:
    lines = text[:_SHOWN_TEXT].split("\n")
    shown = "\n".join(lines[:_SHOWN_LINES])
    return shown if len(shown) == len(text) else f"{shown} … (m: the whole text)"
