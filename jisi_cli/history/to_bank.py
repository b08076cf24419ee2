"""Feedback as rows of a bank: questions with the answers that something was said of, and gaps for all others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.manifest import Source
from jisi_cli.bank.sources import ReadSources, stage_records
from jisi_cli.bank.update import update_scores
from jisi_cli.formats.record import Question, Record, ScoreSource, Status
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.history.feedback import DATASET, Feedback, fingerprint

_NUMBER = re.compile(r"[-+]?\$?[\d.,]*\d%?")
_LETTER = re.compile(r"\(?[A-Z]\)?")


@dataclass(frozen=True, slots=True)
class Taken:
    """What a bank can take of the feedback that waits.

    Attributes:
        pieces: The pieces of feedback.
        left: How many say something of no model that the bank knows.
        records: The answers, as a bank records them.
    """

    pieces: Sequence[Feedback]
    left: int
    records: Sequence[Record]

    @property
    def sources(self) -> ReadSources:
        """The same as what a bank is built from."""
        described = Source(DATASET, DATASET, fingerprint(self.pieces), len(self.records))
        return ReadSources(stage_records(self.records), [described], 0)


async def take(waiting: Sequence[Feedback], models: Collection[str]) -> Taken:
    """Return what a bank of some models can take; with a reference, answers are graded by it.

    Args:
        waiting: The feedback that waits.
        models: The bank's models.
    """
    records = {piece.name: list(piece.records(models)) for piece in waiting}
    pieces = [piece for piece in waiting if records[piece.name]]
    with GraderSet() as graders:
        graded = [await _graded(record, graders) for piece in pieces for record in records[piece.name]]
    return Taken(pieces, len(waiting) - len(pieces), graded)


def correct(path: Path, said: Sequence[Record], on_wait: Callable[[], None]) -> None:
    """Give rows that a bank had already the scores that were said last of their answers.

    Args:
        path: The bank's folder.
        said: The answers with these scores.
        on_wait: Called if another process is writing the bank.
    """
    with exclusive(path, on_wait):
        bank = Bank(path)
        rows = {key: row for row, key in enumerate(bank.keys)}
        changed: dict[str, dict[int, float | None]] = defaultdict(dict)
        sources: dict[int, ScoreSource] = {}
        for record in said:
            row = rows.get((record.dataset, record.index))
            if row is not None and record.score not in (None, bank.answers(record.model).scores[row]):
                changed[record.model][row], sources[row] = record.score, record.scored_by
        if changed:
            update_scores(bank, changed, {}, sources)


async def _graded(record: Record, graders: GraderSet) -> Record:
    if record.reference is None or record.response is None:
        return record
    grader = grader_for(record.reference)
    question = Question(record.dataset, record.index, record.query, record.reference, grader)
    score = await graders.grade(question, record.response)
    status: Status = "unscored" if score is None else "ok"
    return replace(record, grader=grader, score=score, status=status, scored_by="grader")


def grader_for(reference: str) -> str:
    """Return the grader that compares an answer with such a reference: a number, the letter of a choice, or words."""
    if _NUMBER.fullmatch(reference.strip()):
        return "numeric"
    return "choice" if _LETTER.fullmatch(reference.strip()) else "exact"
