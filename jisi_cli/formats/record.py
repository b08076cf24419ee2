"""What a format yields: one recorded answer, and what cannot be used, told once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar, get_args

# One recorded answer: the shape in which every importer ends and every bank begins.


Status = Literal["ok", "missing", "failed", "unscored"]
STATUSES: tuple[Status, ...] = get_args(Status)
Split = Literal["train", "test"]
Failed = Literal["wrong", "unscored"]
"""How a failed or empty answer to a graded question is read: it is wrong and counts 0, or it has no score and does not
count."""


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
        grader: How an answer is compared with the reference; None when nothing says so.
        order: Its position within the dataset, where the source records one as a number.
        split: Whether it is a train or a test row; None when nothing says so.
    """

    dataset: str
    index: str
    query: str
    reference: str | None = None
    grader: str | None = None
    order: int | None = None
    split: Split | None = None

    @property
    def key(self) -> Key:
        """What identifies it."""
        return (self.dataset, self.index)


@dataclass(frozen=True, slots=True)
class Record:
    """What one model answered to one question. Unknown is None, never 0.

    `ok` has a response and a score; `unscored` a response without a score; `failed` means that
    the provider gave no answer; `missing` that the model was never asked.
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


def has_response(record: Record) -> bool:
    """Whether there is text to embed."""
    return bool(record.response and record.response.strip())


def is_wordless(record: Record) -> bool:
    """Whether a model was asked and gave no words to grade: it failed, or came back empty without a score."""
    return record.status == "failed" or (record.status == "unscored" and not has_response(record))


# What an importer is: a function from a recorded file or folder to records, reporting what it cannot use.


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a source that could not be used, or that a user should know.

    Attributes:
        source: The file it is in.
        line: Line of a text file, row of a table or item of a JSON list, counted from 1; None when it
            concerns the whole file.
        message: What is wrong, in one line.
        note: True when nothing was skipped because of it (an ignored column, a converted unit).
        doubt: True when answers were kept without a value that could not be used.
    """

    source: str
    line: int | None
    message: str
    note: bool = False
    doubt: bool = False

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{where}: {self.message}"


OnProblem = Callable[[Problem], None]
"""Called with each problem as it is met; it may raise to stop the reading."""


class Place(NamedTuple):
    """Where in a source something was read."""

    source: str
    line: int | None = None

    def problem(self, message: object) -> Problem:
        """Return the problem of something at this place that is skipped, in one line."""
        return Problem(self.source, self.line, " ".join(str(message).split()))


Row = Mapping[str, object]
"""One line or table row by column name."""

Numbered = tuple[Place, Row]


class Unusable(Exception):
    """Why one line, row, value or nested file cannot be used; importers turn it into a `Problem`."""


class Importer(Protocol):
    """Reads the recorded answers of one format."""

    def __call__(self, source: Path, on_problem: OnProblem) -> Iterator[Record]:
        """Yield the records of `source` in its own order.

        Args:
            source: The file or folder.
            on_problem: Told of everything that is skipped.

        Raises:
            InputError: The source as a whole cannot be read.
        """
        ...


# What holds for the records of every format: one answer of a model to a question, one text to a question.


Located = tuple[Place, Record]
Item = TypeVar("Item")


def usable(
    items: Iterable[tuple[Place, Item]], make: Callable[[Item, Place], Record], on_problem: OnProblem
) -> Iterator[Located]:
    """Yield the record that `make` makes of each item; report the items of which it makes none."""
    for place, item in items:
        try:
            record = make(item, place)
        except (Unusable, RecursionError) as why:
            on_problem(place.problem(why))
        else:
            yield place, record


def items_of(items: object, source: str) -> Iterator[tuple[Place, object]]:
    """Yield the items of a JSON list, numbered from 1; none of anything else."""
    for number, item in enumerate(items if isinstance(items, list) else [], start=1):
        yield Place(source, number), item


def admitted(located: Iterable[Located], on_problem: OnProblem) -> Iterator[Record]:
    """Yield records that agree with those before them; report and drop the rest.

    A second answer of one model to one question is dropped, and so is an answer to another text under
    the same (dataset, index): both would make the bank depend on the order of files.
    """
    questions: dict[tuple[str, str], tuple[int, int]] = {}
    bits: dict[str, int] = {}
    for place, record in located:
        question = (record.dataset, record.index)
        # Hashes, because a set of benchmarks holds hundreds of megabytes of questions; one bit a model, because it
        # may hold millions of answers.
        fingerprint = hash(record.query)
        known, answered = questions.get(question, (fingerprint, 0))
        bit = bits.setdefault(record.model, 1 << len(bits))
        if known != fingerprint:
            on_problem(place.problem(f"another question already has the index {record.index} in {record.dataset}"))
        elif answered & bit:
            on_problem(
                place.problem(
                    f"a second answer of {record.model} to {record.dataset} {record.index}; the first is kept"
                )
            )
        else:
            questions[question] = (known, answered | bit)
            yield record
