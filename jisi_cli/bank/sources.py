"""From recorded answers in any order to a staging area in bank order, which no order of files can change.

Texts are written to a file as they come. Names and numbers stay in memory, a few hundred bytes a question and some
twenty an answer, so that a source may be much larger than memory.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import NamedTuple

import numpy as np

from jisi_cli.bank.manifest import Source
from jisi_cli.bank.row_file import RowFile, pack_answer, pack_question, unpack_question
from jisi_cli.bank.split import ordered_by_dataset
from jisi_cli.bank.staging import Positions, StagedAnswers, StagedQuestions, Staging
from jisi_cli.bank.tables import file_sha256
from jisi_cli.errors import InputError
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.hub_dataset import hub_table, is_hub_dataset
from jisi_cli.formats.issues import OnIssue
from jisi_cli.formats.jisi_release import has_vectors
from jisi_cli.formats.record import STATUSES, Key, Record, Split, has_response
from jisi_cli.formats.registry import MAPPED, detect, read_records


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records enter a bank; None admits all.

    Attributes:
        models: Names of models.
        datasets: Names of datasets.
        limit: Questions per dataset, the first by recorded index.
    """

    models: frozenset[str] | None = None
    datasets: frozenset[str] | None = None
    limit: int | None = None

    def admits(self, record: Record) -> bool:
        """Whether a record's model and dataset are wanted."""
        return (self.models is None or record.model in self.models) and (
            self.datasets is None or record.dataset in self.datasets
        )

    def require(self, staging: Staging) -> None:
        """Refuse a selection that names what the sources do not hold.

        Raises:
            InputError: It does.
        """
        found = (("--models", self.models, set(staging.answers)), ("--datasets", self.datasets, staging.datasets))
        for flag, wanted, held in found:
            missing = sorted((wanted or frozenset()) - held)
            if missing:
                raise InputError(f"{flag}: the sources hold nothing of `{missing[0]}`")


class ReadSources(NamedTuple):
    """What was read of some files.

    Attributes:
        staging: Their questions and answers.
        described: Each file, as a manifest records it.
        left_out: Questions that were left out because no vector covers them.
    """

    staging: Staging
    described: list[Source]
    left_out: int


def read_sources(
    paths: Sequence[Path],
    *,
    format: str | None = None,
    columns: ColumnMap | None = None,
    selection: Selection | None = None,
    covers: Callable[[Record], bool] = lambda record: True,
    on_issue: OnIssue,
    folder: Path | None = None,
) -> ReadSources:
    """Read recorded answers from files and folders.

    Args:
        paths: The files and folders.
        format: The format of all of them; None detects the format of each.
        columns: Which columns of tables hold what, as the user says it.
        selection: Which records to take.
        covers: Whether a record may enter, as `VectorSource.covers` tells.
        on_issue: Called with what cannot be used.
        folder: Where the file of the texts is created; it has no name and ends with the process.

    Raises:
        InputError: A source cannot be read, or the selection names what none of them holds.
    """
    selection = selection or Selection()
    formats = [format or (MAPPED if columns else detect(path)) for path in paths]
    counts = [0] * len(paths)
    left_out: set[Key] = set()

    def records() -> Iterator[Record]:
        for number, (path, name) in enumerate(zip(paths, formats, strict=True)):
            for record in read_records(path, name, on_issue=on_issue, columns=columns):
                if covers(record):
                    counts[number] += 1
                    yield record
                else:
                    left_out.add((record.dataset, record.index))

    staging = stage_records(records(), selection, folder)
    selection.require(staging)
    described = [describe(*found) for found in zip(paths, formats, counts, strict=True)]
    return ReadSources(staging, described, len(left_out))


def release_with_vectors(paths: Sequence[Path], format: str | None = None) -> Path | None:
    """Return the source that is a release with vectors of its own; None for none.

    Args:
        paths: The sources.
        format: The format of all of them; None detects it.

    Raises:
        InputError: There is one beside other sources, which have no vectors.
    """
    folders = (path for path in paths if path.is_dir())
    found = [path for path in folders if (format or detect(path)) == "jisi-release" and has_vectors(path)]
    if found and len(paths) > 1:
        raise InputError(f"{found[0]} comes with vectors of its own; build it alone, then add the others with --append")
    return found[0] if found else None


def describe(path: Path, format: str, records: int) -> Source:
    """Return how a manifest records a source: its name and the hash of its contents, on the hub also the commit.

    Args:
        path: A file, a folder of files, or `hf:DATASET…`.
        format: Its format.
        records: How many records came from it.
    """
    if is_hub_dataset(path):
        table = hub_table(str(path))
        return Source(f"{path}@{table.commit[:12]}", format, table.sha256, records)
    if path.is_file():
        return Source(path.name, format, file_sha256(path), records)
    digest = hashlib.sha256()
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\x00{file_sha256(file)}\n".encode())
    return Source(path.name, format, digest.hexdigest(), records)


def stage_records(records: Iterable[Record], selection: Selection | None = None, folder: Path | None = None) -> Staging:
    """Group records into questions and answers.

    A second record for the same question and model is left out, and so is one whose question text differs from that
    of the first record with the same (dataset, index); both are reported in `conflicts`. Where a question's first
    record lacks its reference, grader, split or order, a later record may add it.

    Args:
        records: Recorded answers in any order.
        selection: Which of them to take.
        folder: Where the file of the texts is created; it has no name and ends with the process.
    """
    selection = selection or Selection()
    stage = _Stage(RowFile(folder))
    for record in records:
        if selection.admits(record):
            stage.add(record)
    return stage.ordered(selection.limit)


_REFERENCE, _GRADER, _BLANK = 1, 2, 4
"""Bits for what a question lacks: a reference, a grader, and whether that is an empty text rather than none."""


class _Answers:
    """One model's answers as they come: numbers of their questions, and where they lie in the file."""

    def __init__(self, bit: int) -> None:
        self.bit = 1 << bit
        self.numbers, self.starts, self.sizes = array("q"), array("q"), array("q")
        self.status, self.has_text = array("b"), array("b")

    def add(self, number: int, record: Record, file: RowFile) -> None:
        row = pack_answer(record)
        self.numbers.append(number)
        self.starts.append(file.append(row))
        self.sizes.append(len(row))
        self.status.append(STATUSES.index(record.status))
        self.has_text.append(has_response(record))

    def ordered(self, model: str, file: RowFile, questions: StagedQuestions, rank: Positions) -> StagedAnswers:
        """Return them in bank order, without those whose question has no rank."""
        positions = rank[np.array(self.numbers, dtype=np.int64)]
        order = np.argsort(positions, kind="stable")
        order = order[positions[order] >= 0]
        starts, sizes = np.array(self.starts, dtype=np.int64)[order], np.array(self.sizes, dtype=np.int64)[order]
        status, has_text = np.array(self.status, dtype=np.int8)[order], np.array(self.has_text, dtype=bool)[order]
        return StagedAnswers(model, file, questions, positions[order], starts, sizes, status, has_text)


class _Stage:
    """Questions, by the number in which they came, and the answers to them."""

    def __init__(self, file: RowFile) -> None:
        self._file = file
        self._numbers: dict[Key, int] = {}
        self._text_hashes = array("q")
        self._starts, self._sizes = array("q"), array("q")
        self._lacks = array("b")
        self._orders: list[int | None] = []
        self._splits: list[Split | None] = []
        self._answered: list[int] = []
        """For each question the models that answered it, as bits."""
        self._answers: dict[str, _Answers] = {}
        self._conflicts: list[str] = []

    def add(self, record: Record) -> None:
        number = self._numbers.get((record.dataset, record.index))
        if number is None:
            number = self._add_question(record)
        answers = self._answers.get(record.model)
        if answers is None:
            answers = self._answers[record.model] = _Answers(len(self._answers))
        # A hash, because the questions themselves need not fit into memory.
        if self._text_hashes[number] != hash(record.query):
            self._conflicts.append(
                f"{record.dataset}/{record.index}: {record.model} was asked another text than the models before it"
            )
        elif self._answered[number] & answers.bit:
            self._conflicts.append(
                f"{record.dataset}/{record.index}: {record.model} answered twice; the first answer counts"
            )
        else:
            self._answered[number] |= answers.bit
            answers.add(number, record, self._file)
            self._fill_in(number, record)

    def _leave_out(self, record: Record, why: str) -> None:
        self._conflicts.append(f"{record.dataset}/{record.index}: {record.model} {why}")

    def ordered(self, limit: int | None) -> Staging:
        """Return everything in bank order: by dataset, then by recorded index, at most `limit` of each dataset."""
        keys = list(self._numbers)
        kept = [number for numbers in ordered_by_dataset(keys, self._orders) for number in numbers[:limit]]
        order = np.array(kept, dtype=np.int64)
        questions = StagedQuestions(
            self._file,
            [keys[number] for number in kept],
            [self._orders[number] for number in kept],
            [self._splits[number] for number in kept],
            np.array(self._starts, dtype=np.int64)[order],
            np.array(self._sizes, dtype=np.int64)[order],
        )
        rank = np.full(len(keys), -1, dtype=np.int64)
        rank[order] = np.arange(len(order))
        answers = {
            model: found.ordered(model, self._file, questions, rank) for model, found in sorted(self._answers.items())
        }
        return Staging(questions, {model: rows for model, rows in answers.items() if len(rows)}, self._conflicts)

    def _add_question(self, record: Record) -> int:
        number = len(self._numbers)
        self._numbers[intern(record.dataset), record.index] = number
        self._text_hashes.append(hash(record.query))
        row = pack_question(record.query, record.reference, record.grader)
        self._starts.append(self._file.append(row))
        self._sizes.append(len(row))
        self._lacks.append(_lacking(record.reference, record.grader))
        self._orders.append(record.order)
        self._splits.append(record.split)
        self._answered.append(0)
        return number

    def _fill_in(self, number: int, record: Record) -> None:
        """Add what earlier records of the question lacked."""
        self._splits[number] = self._splits[number] or record.split
        if self._orders[number] is None:
            self._orders[number] = record.order
        if record.reference is None and not record.grader:
            return
        lacked, lacking = self._lacks[number], _lacking(record.reference, record.grader)
        is_blank_otherwise = lacked & lacking & _GRADER and (lacked ^ lacking) & _BLANK
        if not (lacked & ~lacking & (_REFERENCE | _GRADER) or is_blank_otherwise):
            return
        query, reference, grader = unpack_question(self._file.read(self._starts[number], self._sizes[number]))
        reference, grader = reference if reference is not None else record.reference, grader or record.grader
        self._lacks[number] = _lacking(reference, grader)
        row = pack_question(query or "", reference, grader)
        self._starts[number], self._sizes[number] = self._file.append(row), len(row)


def _lacking(reference: str | None, grader: str | None) -> int:
    return _REFERENCE * (reference is None) | _GRADER * (not grader) | _BLANK * (grader == "")
