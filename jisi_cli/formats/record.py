"""One question and one recorded answer: what every format is read into and every bank is built from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from jisi_cli.conversation import Conversation
from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.types import Message

Status = Literal["ok", "missing", "failed", "unscored"]
STATUSES: tuple[Status, ...] = get_args(Status)
Split = Literal["train", "test"]
ScoreSource = Literal["grader", "agreement", "label", "feedback"]
"""Where a score comes from: a grader, ours or the source's; the agreement of the models; a person who labelled it, or
who said what an answer was worth."""
SCORE_SOURCES: tuple[ScoreSource, ...] = get_args(ScoreSource)
Failed = Literal["wrong", "unscored"]
"""How a failed or empty answer to a graded question counts: as wrong (0), or not at all."""


def failed_reading(value: str | None) -> Failed | None:
    """Return how failed answers are to be read, as the user says it; None where they say nothing.

    Raises:
        InputError: It is neither `wrong` nor `unscored`.
    """
    if value is None or value in get_args(Failed):
        return cast("Failed | None", value)
    near = did_you_mean(value, get_args(Failed))
    raise InputError(f"--failed is wrong (they count 0) or unscored (they do not count), not {value!r}{near}")


Key = tuple[str, str]
"""What identifies a question: (dataset, index)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, named by (dataset, index).

    Attributes:
        dataset: The benchmark it belongs to.
        index: Its name within the dataset.
        query: Its text.
        reference: The right answer; None when unknown.
        grader: The grader that compares an answer with the reference; None when the source names none.
        order: Its position within the dataset, where the source records one as a number.
        split: Whether it is a train or a test row; None when the source does not say.
        place: The file and line it was read from; empty where it comes from elsewhere.
        conversation: What models get, where that is more than the text of one turn; `query` then has the words by which
            it is routed.
    """

    dataset: str
    index: str
    query: str
    reference: str | None = None
    grader: str | None = None
    order: int | None = None
    split: Split | None = None
    place: str = field(default="", compare=False)
    conversation: Conversation | None = field(default=None, hash=False)

    @property
    def key(self) -> Key:
        """What identifies it."""
        return (self.dataset, self.index)

    def messages(self) -> list[Message]:
        """Return what a model is sent."""
        return (self.conversation or Conversation(self.query)).messages()

    def said_before(self) -> tuple[object, ...]:
        """Return what tells a conversation from others with the same words at its end, for keys; nothing of a text."""
        return () if self.conversation is None else (("messages", self.messages()),)

    @property
    def where(self) -> str:
        """Where a person finds it: its file and line, else its dataset and index."""
        return self.place or f"{self.dataset}/{self.index}"


@dataclass(frozen=True, slots=True)
class Record:
    """What one model answered to one question. Unknown is None, never 0.

    The status `ok` has a response and a score; `unscored` a response without a score; `failed` means that the
    provider gave no answer; `missing` that the model was never asked.
    """

    dataset: str
    index: str
    query: str
    model: str
    reference: str | None = None
    response: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    score: float | None = None
    status: Status = "ok"
    split: Split | None = None
    grader: str | None = None
    error: str | None = None
    """The provider's own words where the status is `failed`."""
    order: int | None = None
    """Position within the dataset where the source records one as a number (the paper's "recorded index")."""
    finish_reason: str | None = None
    """Why the response ended, in the provider's word."""
    scored_by: ScoreSource = "grader"
    """Where a score comes from, if there is one: recorded answers were graded before they came here."""

    @property
    def score_source(self) -> ScoreSource | None:
        """Where the score comes from; None where there is none."""
        return None if self.score is None else self.scored_by


def has_response(record: Record) -> bool:
    """Whether there is text to embed."""
    return bool(record.response and record.response.strip())


def is_wordless(record: Record) -> bool:
    """Whether a model was asked and gave nothing to grade: the call failed, or the response is empty and unscored."""
    return record.status == "failed" or (record.status == "unscored" and not has_response(record))
