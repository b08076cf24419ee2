"""From recorded answers in any order to a staging area in bank order, which no order of files can change.

Texts are written to a file as they come. Names and numbers stay in memory, a few hundred bytes a question and some
twenty an answer, so that a source may be much larger than memory.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jisi_cli.bank.manifest import Source
from jisi_cli.bank.row_file import RowFile, UnwrittenAnswers, pack_question, unpack_question
from jisi_cli.bank.split import ordered_by_dataset
from jisi_cli.bank.staging import Positions, StagedAnswers, StagedQuestions, Staging
from jisi_cli.bank.tables import file_sha256
from jisi_cli.errors import InputError
from jisi_cli.formats.answer_block import OF_QUESTION, Admitted, AnswerBlock, Answered, Numbering, in_answer_blocks
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.hub_dataset import hub_table, is_hub_dataset
from jisi_cli.formats.issues import Location, OnIssue
from jisi_cli.formats.jisi_release import has_vectors
from jisi_cli.formats.record import STATUSES, Key, Record, Split
from jisi_cli.formats.registry import MAPPED, detect, read_answers


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

    def of(self, answers: AnswerBlock) -> AnswerBlock:
        """Return the answers whose model and dataset are wanted."""
        for name, wanted in (("model", self.models), ("dataset", self.datasets)):
            if wanted is not None:
                answers = answers.take([row for row, value in enumerate(answers[name]) if value in wanted])
        return answers

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
        plain: How many answers of each file were read a column at a time, which is the fast way.
    """

    staging: Staging
    described: list[Source]
    left_out: int
    plain: Sequence[int] = ()


def read_sources(
    paths: Sequence[Path],
    *,
    format: str | None = None,
    columns: ColumnMap | None = None,
    selection: Selection | None = None,
    covers: Callable[[Split | None], bool] = lambda split: True,
    on_issue: OnIssue,
    folder: Path | None = None,
) -> ReadSources:
    """Read recorded answers from files and folders.

    Args:
        paths: The files and folders.
        format: The format of all of them; None detects the format of each.
        columns: Which columns of tables hold what, as the user says it.
        selection: Which records to take.
        covers: Whether answers on a side of the split may enter, as `VectorSource.covers` tells.
        on_issue: Called with what cannot be used.
        folder: Where the file of the texts is created; it has no name and ends with the process.

    Raises:
        InputError: A source cannot be read, or the selection names what none of them holds.
    """
    selection = selection or Selection()
    formats = [format or (MAPPED if columns else detect(path)) for path in paths]
    counts, plain = [0] * len(paths), [0] * len(paths)
    left_out: set[Key] = set()

    def answers() -> Iterator[AnswerBlock]:
        for number, (path, name) in enumerate(zip(paths, formats, strict=True)):
            for block in read_answers(path, name, on_issue=on_issue, columns=columns):
                covered = [row for row, split in enumerate(block["split"]) if covers(split)]
                if len(covered) < len(block):
                    keys = list(zip(block["dataset"], block["index"], strict=True))
                    left_out.update(keys[row] for row in set(range(len(keys))).difference(covered))
                counts[number] += len(covered)
                plain[number] += len(covered) if block.is_plain else 0
                yield block.take(covered)

    staging = stage_answers(answers(), selection, folder)
    selection.require(staging)
    described = [describe(*found) for found in zip(paths, formats, counts, strict=True)]
    return ReadSources(staging, described, len(left_out), plain)


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
    """Group records into questions and answers; see `stage_answers`."""
    nowhere = Location("")
    blocks = in_answer_blocks(lambda told: ((nowhere, record) for record in records), lambda issue: None)
    return stage_answers(blocks, selection, folder)


def stage_answers(
    blocks: Iterable[AnswerBlock], selection: Selection | None = None, folder: Path | None = None
) -> Staging:
    """Group answers by question and model.

    A second answer to the same question by the same model is left out, and so is one whose question text differs from
    that of the first with the same (dataset, index); both are reported in `conflicts`. Where a question's first
    answer lacks its reference, grader, split or order, a later one may add it.

    Args:
        blocks: Recorded answers in any order.
        selection: Which of them to take.
        folder: Where the file of the texts is created; it has no name and ends with the process.
    """
    selection = selection or Selection()
    stage = _Stage(RowFile(folder))
    for block in blocks:
        stage.add(selection.of(block))
    return stage.ordered(selection.limit)


_STATUS_CODES = {status: code for code, status in enumerate(STATUSES)}
_SIDE_BY_SIDE = 1 << 23
"""Bytes of answers that are sorted before they are written."""
_REFERENCE, _GRADER, _BLANK = 1, 2, 4
"""Bits for what a question lacks: a reference, a grader, and whether that is an empty text rather than none."""


class _Answers:
    """Answers as they come: the numbers of their models and questions, and where they lie in the file."""

    def __init__(self, file: RowFile) -> None:
        self._file = file
        self._models, self._questions = array("i"), array("q")
        self._starts, self._sizes = array("q"), array("q")
        self._status, self._has_text = array("b"), array("b")
        self._datasets, self._dataset_of = Numbering[str](), array("i")
        self._unwritten = UnwrittenAnswers()

    def add(self, answers: AnswerBlock, found: Admitted) -> None:
        answers = answers.take(found.rows)
        self._models.extend(found.models)
        self._questions.extend(found.questions)
        self._dataset_of.extend(self._datasets.of(answers["dataset"]))
        self._status.extend(map(_STATUS_CODES.__getitem__, answers["status"]))
        self._has_text.extend([bool(text) and not text.isspace() for text in answers["response"]])
        self._unwritten.add(answers)
        if self._unwritten.size > _SIDE_BY_SIDE:
            self._write()

    def _write(self) -> None:
        """Write a model's answers to a dataset side by side: so they are read again, for its table."""
        written = len(self._starts)
        datasets = np.array(self._dataset_of, dtype=np.int32)
        order = np.lexsort((datasets, np.array(self._models[written:], dtype=np.int32)))
        packed, sizes = self._unwritten.packed(order)
        starts = np.empty(len(order), dtype=np.int64)
        starts[order] = self._file.append(packed) + np.cumsum(sizes) - sizes
        self._starts.frombytes(starts.tobytes())
        self._sizes.frombytes(sizes[np.argsort(order)].tobytes())
        self._unwritten, self._dataset_of = UnwrittenAnswers(), array("i")

    def ordered(
        self, models: Mapping[str, int], questions: StagedQuestions, rank: Positions
    ) -> Iterator[StagedAnswers]:
        """Yield each model's in bank order, without those whose question has no rank."""
        self._write()
        of_model = np.array(self._models, dtype=np.int32)
        by_model = np.argsort(of_model, kind="stable")
        ends = np.cumsum(np.bincount(of_model, minlength=len(models)))
        of_question, starts, sizes = (np.array(column) for column in (self._questions, self._starts, self._sizes))
        status, has_text = np.array(self._status, dtype=np.int8), np.array(self._has_text, dtype=bool)
        for model, number in sorted(models.items()):
            own = by_model[ends[number - 1] if number else 0 : ends[number]]
            positions = rank[of_question[own]]
            order = np.argsort(positions, kind="stable")
            order = order[positions[order] >= 0]
            own = own[order]
            if len(own):
                yield StagedAnswers(
                    model, self._file, questions, positions[order], starts[own], sizes[own], status[own], has_text[own]
                )


class _Stage:
    """Questions, by the number in which they came, and the answers to them."""

    def __init__(self, file: RowFile) -> None:
        self._file = file
        self._answered = Answered()
        self._starts, self._sizes = array("q"), array("q")
        self._lacks = array("b")
        self._orders: list[int | None] = []
        self._splits: list[Split | None] = []
        self._answers = _Answers(file)
        self._conflicts: list[str] = []

    def add(self, answers: AnswerBlock) -> None:
        def refuse(row: int, *, is_second: bool) -> None:
            dataset, index, model = (answers[name][row] for name in ("dataset", "index", "model"))
            why = "answered twice; the first answer counts"
            why = why if is_second else "was asked another text than the models before it"
            self._conflicts.append(f"{dataset}/{index}: {model} {why}")

        found = self._answered.admit(answers, refuse)
        number_of = dict(zip(found.rows, found.questions, strict=True))
        columns = [answers[name] for name in OF_QUESTION[2:]]
        for row in found.telling:
            query, *about = (column[row] for column in columns)
            number = number_of[row]
            if number == len(self._starts):
                self._add_question(query, *about)
            else:
                self._fill_in(number, *about)
        if found.rows:
            self._answers.add(answers, found)

    def ordered(self, limit: int | None) -> Staging:
        """Return everything in bank order: by dataset, then by recorded index, at most `limit` of each dataset."""
        keys = list(self._answered.questions)
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
        answers = self._answers.ordered(self._answered.models, questions, rank)
        return Staging(questions, {found.model: found for found in answers}, self._conflicts)

    def _add_question(
        self, query: str, reference: str | None, grader: str | None, order: int | None, split: Split | None
    ) -> None:
        row = pack_question(query, reference, grader)
        self._starts.append(self._file.append(row))
        self._sizes.append(len(row))
        self._lacks.append(_lacking(reference, grader))
        self._orders.append(order)
        self._splits.append(split)

    def _fill_in(
        self, number: int, reference: str | None, grader: str | None, order: int | None, split: Split | None
    ) -> None:
        """Add what earlier answers to the question lacked."""
        self._splits[number] = self._splits[number] or split
        if self._orders[number] is None:
            self._orders[number] = order
        if reference is None and not grader:
            return
        lacked, lacking = self._lacks[number], _lacking(reference, grader)
        is_blank_otherwise = lacked & lacking & _GRADER and (lacked ^ lacking) & _BLANK
        if not (lacked & ~lacking & (_REFERENCE | _GRADER) or is_blank_otherwise):
            return
        query, known, named = unpack_question(self._file.read(self._starts[number], self._sizes[number]))
        reference, grader = known if known is not None else reference, named or grader
        self._lacks[number] = _lacking(reference, grader)
        row = pack_question(query or "", reference, grader)
        self._starts[number], self._sizes[number] = self._file.append(row), len(row)


def _lacking(reference: str | None, grader: str | None) -> int:
    return _REFERENCE * (reference is None) | _GRADER * (not grader) | _BLANK * (grader == "")
