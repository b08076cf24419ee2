"""Questions without answers: what `jisi bank build --call` and `jisi eval` ask the models of a pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from string import ascii_uppercase
from sys import intern

from jisi_cli.bank.importers import fields
from jisi_cli.bank.importers.json_lines import json_rows
from jisi_cli.bank.importers.protocol import OnProblem, Place, Row, Unusable
from jisi_cli.bank.importers.rows import read_rows
from jisi_cli.bank.records import Question

QUERY = ("query", "question", "origin_query", "prompt")
"""The keys of a question's text, best first: a `prompt` may hold a template around it."""

REFERENCE = ("gt", "ground_truth", "reference", "answer")


def read_questions(
    source: Path | Iterable[bytes], on_problem: OnProblem, *, dataset: str = "questions"
) -> Iterator[Question]:
    """Yield the questions of a file, or of JSON lines such as standard input; lines may hold answers too.

    Args:
        source: A JSONL, CSV or Parquet file, or lines of JSON.
        on_problem: Told of every line that is skipped; a repeated (dataset, index) is one.
        dataset: The dataset of lines that name none; a file's own name takes its place.

    Raises:
        InputError: The file cannot be read.
    """
    if isinstance(source, Path):
        dataset, rows = source.stem, read_rows(source, on_problem)
    else:
        rows = json_rows(source, "-", on_problem)
    seen: set[tuple[str, str]] = set()
    for place, row in rows:
        try:
            question = question_of(row, dataset, place)
            if (question.dataset, question.index) in seen:
                raise Unusable(f"{question.dataset} {question.index} appears twice; the first is kept")
        except (Unusable, RecursionError) as why:
            on_problem(place.problem(why))
        else:
            seen.add((question.dataset, question.index))
            yield question


def question_of(row: Row, dataset: str, place: Place) -> Question:
    """Return the question of one line; the line's number is the index when it has none of its own.

    Raises:
        Unusable: It has no question, or a value of the wrong kind.
    """
    index = fields.name(row.get("index"), "index", str(place.line))
    return Question(
        dataset=fields.name(row.get("dataset"), "dataset", dataset),
        index=index,
        query=fields.question(row, QUERY),
        reference=fields.text(fields.first(row, REFERENCE)),
        grader=fields.text(row.get("grader")),
        order=fields.order(index),
    )


class FirstRows:
    """What stands for the index of questions that have none: the row on which each was first met."""

    def __init__(self) -> None:
        # Hashes, because the questions themselves need not fit into memory.
        self._lines: dict[tuple[str, int], str] = {}

    def index(self, dataset: str, query: str, place: Place) -> str:
        """Return the number of the question's first row, which all its models share."""
        return self._lines.setdefault((intern(dataset), hash(query)), str(place.line))


def with_choices(stem: str, choices: object) -> str:
    """Return a question with its choices lettered below it, from a list or {"text": […], "label": […]}."""
    labels = None
    if isinstance(choices, dict):
        labels, choices = choices.get("label"), choices.get("text")
    if not isinstance(choices, list):
        return stem
    letters = labels if isinstance(labels, list) and len(labels) == len(choices) else ascii_uppercase
    lettered = [f"{letter}. {fields.text(choice)}" for letter, choice in zip(letters, choices, strict=False)]
    return "\n".join((stem, *lettered))
