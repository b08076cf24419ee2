"""What people say of answers: kept in an inbox until a bank takes it in."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from jisi_cli.errors import InputError
from jisi_cli.formats.record import Record
from jisi_cli.history.answers import Answers, Said, read_said
from jisi_cli.history.table import Table
from jisi_cli.types import whole_characters

MOST = 10_000
"""Pieces of feedback that wait for a bank; the oldest go first."""
LONGEST = 100_000
"""Characters of a note or a reference."""
DATASET = "feedback"
"""The data set of such rows in a bank."""
_WORDS = {"good": 1.0, "bad": 0.0}


def read_score(value: object) -> float:
    """Return a score as people give it: `good`, `bad`, or a number from 0 to 1, which may be written as text.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _WORDS:
            return _WORDS[word]
        try:
            value = float(word)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1 or math.isnan(value):
        raise InputError("the score must be good, bad, or a number from 0 to 1")
    return float(value)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What someone said of one answer.

    Attributes:
        place: Its row in the inbox.
        name: The answer's name.
        score: In [0, 1]; None where a reference says what is right.
        reference: The right answer; None where a score was given.
        said: The question and the answers.
    """

    place: int
    name: str
    score: float | None
    reference: str | None
    said: Said

    def records(self, models: Collection[str]) -> Iterator[Record]:
        """Yield the answers that it says something of, with their scores; with a reference all of them, unscored yet.

        Args:
            models: Of these models only.
        """
        for response in self.said.responses:
            is_meant = response.is_own if self.reference is not None else response.is_answer
            if not is_meant or response.model not in models:
                continue
            yield Record(
                dataset=DATASET,
                index=self.name,
                query=self.said.query,
                model=response.model,
                reference=self.reference,
                response=response.text,
                prompt_tokens=response.prompt_tokens,
                completion_tokens=response.completion_tokens,
                cost_usd=response.cost_usd,
                score=self.score,
                status="unscored" if self.score is None else "ok",
                split="train",
                finish_reason=response.finish_reason,
                scored_by="feedback",
            )


class Inbox:
    """The feedback that no bank has taken in yet."""

    def __init__(self) -> None:
        self._table = Table("feedback", MOST)

    def add(
        self,
        answers: Answers,
        name: str,
        score: float | None,
        *,
        reference: str | None = None,
        note: str | None = None,
    ) -> str:
        """Keep what is said of an answer; of what is said twice the last word counts.

        Args:
            answers: Those that are remembered.
            name: As `Answers.find` takes it.
            score: In [0, 1]; None where a reference says what is right.
            reference: The right answer, by which the models' answers are graded later.
            note: Why; kept for readers of the inbox, never sent.

        Returns:
            The answer's own name.

        Raises:
            InputError: The answer is not remembered, a text is too long, or the inbox cannot be written.
        """
        for what, text in (("reference", reference), ("note", note)):
            if text is not None and len(text) > LONGEST:
                raise InputError(f"the {what} has more than {LONGEST:,} characters; shorten it")
        found, said = answers.find(name)
        texts = {"note": note, "reference": reference}
        row = {key: None if text is None else whole_characters(text) for key, text in texts.items()}
        self._table.add({"name": found, "score": score, "said": said, **row})
        return found

    def waiting(self) -> list[Feedback]:
        """Return what waits, in the order in which it came; of what was said twice of an answer the last word.

        Raises:
            InputError: It cannot be read.
        """
        found: dict[str, Feedback] = {}
        for place, name, score, reference, text in self._table.select(
            ["id", "name", "score", "reference", "said"], "ORDER BY id"
        ):
            said = read_said(text)
            if name is None or said is None or (score is None and not (reference or "").strip()):
                raise self._table.damaged("a piece of feedback says nothing of an answer")
            found[name] = Feedback(place, name, score, reference, said)
        return list(found.values())

    def remove(self, taken: Collection[Feedback]) -> None:
        """Remove what a bank has taken in; what was said again meanwhile stays.

        Raises:
            InputError: The inbox cannot be written.
        """
        for piece in taken:
            self._table.delete("name = ? AND id <= ?", (piece.name, piece.place))

    def close(self) -> None:
        """Close the file."""
        self._table.close()


def fingerprint(taken: Collection[Feedback]) -> str:
    """Return a SHA-256 of what a bank takes in, for its manifest."""
    digest = hashlib.sha256()
    for piece in taken:
        digest.update(f"{piece.name}\x00{piece.score}\x00{piece.reference}\n".encode())
    return digest.hexdigest()
