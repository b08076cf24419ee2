"""From single recorded answers to questions with their answers, in an order that no file order can change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from jisi_cli.bank.records import Question, Record
from jisi_cli.bank.split import paper_split, recorded_order

Key = tuple[str, str]
"""What identifies a question: (dataset, index)."""


@dataclass(slots=True)
class Gathered:
    """Questions in bank order, and each model's answers by question.

    Attributes:
        questions: Sorted by dataset, then by recorded index.
        answers: For each model its records by question key.
        conflicts: Records left out because they contradict an earlier one, as sentences.
    """

    questions: list[Question] = field(default_factory=list)
    answers: dict[str, dict[Key, Record]] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)

    @property
    def records(self) -> int:
        """Number of answers."""
        return sum(len(answers) for answers in self.answers.values())


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records enter; None admits all.

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


def gather(records: Iterable[Record], selection: Selection | None = None) -> Gathered:
    """Group records into questions and answers.

    A second record for the same question and model is left out, and so is one whose question text
    differs from what the same (dataset, index) said before; both are reported in `conflicts`.

    Args:
        records: Recorded answers in any order.
        selection: Which of them to take.
    """
    selection = selection or Selection()
    questions: dict[Key, Question] = {}
    answers: dict[str, dict[Key, Record]] = defaultdict(dict)
    conflicts: list[str] = []
    for record in records:
        if not selection.admits(record):
            continue
        question = questions.setdefault((record.dataset, record.index), _question(record))
        where = f"{record.dataset}/{record.index}"
        if question.query != record.query:
            conflicts.append(f"{where}: {record.model} was asked another text than the models before it")
        elif question.key in answers[record.model]:
            conflicts.append(f"{where}: {record.model} answered twice; the first answer counts")
        else:
            answers[record.model][question.key] = record
            questions[question.key] = _completed(question, record)
    kept = _ordered(questions.values(), selection.limit)
    keys = {question.key for question in kept}
    chosen = {
        model: {key: record for key, record in rows.items() if key in keys} for model, rows in sorted(answers.items())
    }
    return Gathered(kept, {model: rows for model, rows in chosen.items() if rows}, conflicts)


def assign_split(questions: Iterable[Question], fraction: float, seed: int) -> dict[Key, Question]:
    """Return each question marked as train or test by the paper's rule, dataset by dataset."""
    marked = {}
    for rows in _by_dataset(questions).values():
        order = recorded_order([row.index for row in rows], [row.order for row in rows])
        for position, role in zip(order, paper_split(len(rows), fraction, seed), strict=True):
            marked[rows[position].key] = replace(rows[position], split=role)
    return marked


def _question(record: Record) -> Question:
    return Question(
        dataset=record.dataset,
        index=record.index,
        query=record.query,
        reference=record.reference,
        grader=record.grader,
        split=record.split,
        order=record.order,
    )


def _completed(question: Question, record: Record) -> Question:
    """Fill what the records before left open."""
    return replace(
        question,
        reference=question.reference if question.reference is not None else record.reference,
        grader=question.grader or record.grader,
        split=question.split or record.split,
        order=question.order if question.order is not None else record.order,
    )


def _by_dataset(questions: Iterable[Question]) -> Mapping[str, list[Question]]:
    groups: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        groups[question.dataset].append(question)
    return dict(sorted(groups.items()))


def _ordered(questions: Iterable[Question], limit: int | None) -> list[Question]:
    kept: list[Question] = []
    for rows in _by_dataset(questions).values():
        order = recorded_order([row.index for row in rows], [row.order for row in rows])
        kept.extend(rows[position] for position in order[:limit])
    return kept
