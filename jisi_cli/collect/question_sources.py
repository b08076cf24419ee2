"""What is to be asked: the questions of files, and those that are generated for a first bank."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jisi_cli.bank.manifest import Source
from jisi_cli.bank.sources import describe
from jisi_cli.errors import InputError, missing_extra
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.issues import OnIssue
from jisi_cli.formats.questions import read_questions
from jisi_cli.formats.record import Question
from jisi_cli.grading.registry import Submission, load_grader

if TYPE_CHECKING:
    from reasoning_gym.dataset import ProceduralDataset


@dataclass
class QuestionSources:
    """Where the questions of a collection come from.

    Attributes:
        paths: Files of questions.
        starter: How many questions are generated beside them; None for none.
        seed: Decides which.
        columns: Which columns of the files hold what, as the user says it.
    """

    paths: Sequence[Path]
    starter: int | None = None
    seed: int = 42
    columns: ColumnMap = field(default_factory=ColumnMap)
    _generated: Starter | None = field(default=None, init=False)

    def read(self, on_issue: OnIssue) -> Iterator[Question]:
        """Yield all questions, in the order of the files; those that are generated come last.

        Raises:
            InputError: A file cannot be read, or no such questions can be generated.
        """
        for path in self.paths:
            yield from read_questions(path, on_issue, columns=self.columns)
        if self.starter is not None:
            self._generated = starter_questions(self.starter, self.seed)
            yield from self._generated.questions

    def described(self, answers: int) -> list[Source]:
        """Return how a manifest records them, once they have been read.

        Args:
            answers: Answers that were collected.
        """
        found = [describe(path, "questions", answers) for path in self.paths]
        if self._generated is not None:
            found.append(Source(self._generated.origin, STARTER, self._generated.sha256, answers))
        return found


# Questions for a first bank, where there are none yet: generated, with answers that jisi's own graders can check.
#
# The generators are those of the library reasoning-gym. Of its hundred, these have one right answer, which `numeric` or
# `exact` reads from a reply and which methods that compare final answers can compare. So a bank of them needs the
# library no more once it is built.

STARTER = "starter"
"""What a manifest calls the format of generated questions."""
LEVELS = ("easy", "medium", "hard")

_PACKAGE = "reasoning-gym"
_ASKED = "\n\nEnd your reply with one line of the form `Answer: …`, with nothing but the answer in place of the dots."
_ENDLESS = 1_000_000
"""Questions that a generator can be asked for; it makes each when it is asked."""
_MOST_REPEATED = 1000
"""Questions in a row that are not new: the generator has no more."""

_Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One generator.

    Attributes:
        generator: Its name in reasoning-gym.
        dataset: The kind of question, which is what a bank calls a dataset.
        grader: Which of jisi's graders checks the answers.
        settings: Arguments of the generator by level.
    """

    generator: str
    dataset: str
    grader: str
    settings: Mapping[str, _Settings]


def _task(generator: str, dataset: str, grader: str, easy: _Settings, medium: _Settings, hard: _Settings) -> Task:
    return Task(generator, dataset, grader, dict(zip(LEVELS, (easy, medium, hard), strict=True)))


def _range(name: str, low: int, high: int) -> dict[str, int]:
    return {f"min_{name}": low, f"max_{name}": high}


TASKS: tuple[Task, ...] = (
    _task(
        *("basic_arithmetic", "arithmetic", "numeric"),
        _range("terms", 2, 3) | _range("digits", 1, 2),
        _range("terms", 4, 5) | _range("digits", 2, 3),
        _range("terms", 7, 9) | _range("digits", 3, 4),
    ),
    _task(
        *("zebra_puzzles", "logic", "exact"),
        {"num_people": 2, "num_characteristics": 2},
        {"num_people": 3, "num_characteristics": 3},
        {"num_people": 4, "num_characteristics": 4},
    ),
    _task(
        *("letter_counting", "words", "numeric"),
        _range("words", 3, 6),
        _range("words", 15, 25),
        _range("words", 50, 80),
    ),
    _task(
        *("simple_equations", "algebra", "numeric"),
        {"max_terms": 2, "max_value": 20},
        _range("terms", 3, 4),
        _range("terms", 6, 8) | {"max_value": 1000},
    ),
    _task(
        *("color_cube_rotation", "spatial", "exact"),
        _range("rotations", 1, 1),
        _range("rotations", 3, 4),
        _range("rotations", 8, 10),
    ),
    Task("gsm_symbolic", "word-problems", "numeric", {"medium": {}}),
    _task(
        *("calendar_arithmetic", "dates", "exact"),
        {"tasks": ["weekday_offset"], "offset_upper_bound": 30},
        {"tasks": ["weekday_offset", "count_days", "recurring_event_day"]},
        {"tasks": ["weekday_of_date", "count_business_days"], "offset_upper_bound": 1000},
    ),
    _task(
        *("string_manipulation", "algorithms", "exact"),
        {"max_string_length": 6, "max_num_rules": 3},
        _range("string_length", 10, 15) | _range("num_rules", 5, 5),
        _range("string_length", 25, 30) | _range("num_rules", 8, 10),
    ),
    _task(
        *("dice", "probability", "numeric"),
        {"num_dice": 2, "max_dice_size": 6},
        {"num_dice": 3, "max_dice_size": 10},
        {"num_dice": 4, "max_dice_size": 20},
    ),
    _task(
        *("needle_haystack", "reading", "exact"),
        _range("num_statements", 5, 10),
        _range("num_statements", 30, 40),
        _range("num_statements", 100, 120),
    ),
    _task(
        *("gcd", "numbers", "numeric"),
        {"max_value": 60},
        _range("value", 100, 2000),
        _range("value", 5000, 100_000) | _range("numbers", 3, 3),
    ),
    _task(
        *("simple_geometry", "geometry", "numeric"),
        {"max_sides": 3},
        _range("sides", 5, 6),
        _range("sides", 9, 12) | {"min_angle": 30},
    ),
    _task(
        *("spell_backward", "words", "exact"),
        _range("word_len", 3, 5),
        _range("word_len", 6, 8),
        _range("word_len", 9, 10),
    ),
    _task(
        *("maze", "spatial", "numeric"),
        _range("dist", 3, 6) | _range("grid_size", 5, 6),
        _range("dist", 8, 14) | _range("grid_size", 8, 9),
        _range("dist", 20, 30) | _range("grid_size", 14, 16),
    ),
    _task(
        *("leg_counting", "word-problems", "numeric"),
        _range("animals", 2, 3) | {"max_instances": 5},
        _range("animals", 5, 7),
        _range("animals", 12, 16) | {"max_instances": 60},
    ),
    _task(
        *("number_sequence", "algebra", "numeric"),
        {"max_complexity": 1},
        {"max_complexity": 2},
        {"max_complexity": 5},
    ),
    _task(
        *("mahjong_puzzle", "reading", "exact"),
        _range("num_rounds", 3, 5),
        _range("num_rounds", 10, 15),
        _range("num_rounds", 30, 40),
    ),
    _task(
        *("base_conversion", "numbers", "exact"),
        {"max_base": 8, "max_value": 50},
        {"max_base": 12, "max_value": 1000},
        _range("base", 7, 20) | _range("value", 10_000, 1_000_000),
    ),
    _task(
        *("word_sorting", "words", "exact"),
        _range("words", 3, 4),
        _range("words", 7, 9),
        _range("words", 15, 20),
    ),
    _task(
        *("time_intervals", "dates", "exact"),
        {"task_types": ["time"], "max_time_difference_seconds": 3600},
        {"task_types": ["time"]},
        {"task_types": ["time_ms"]},
    ),
    _task(
        *("largest_island", "algorithms", "numeric"),
        _range("rows", 4, 5) | _range("cols", 4, 5) | {"max_num_islands": 3, "max_island_size": 5},
        _range("rows", 7, 8) | _range("cols", 7, 8),
        _range("rows", 12, 14) | _range("cols", 12, 14) | {"max_num_islands": 9, "max_island_size": 20},
    ),
    _task(
        *("aiw", "logic", "numeric"),
        {"task_type_weights": [1, 0, 0], "max_entities": 4},
        {"task_type_weights": [0.5, 0.5, 0], "max_entities": 9},
        {"task_type_weights": [0, 0, 1], "max_entities": 12},
    ),
    _task(
        *("products", "arithmetic", "numeric"),
        _range("digits", 1, 2),
        _range("digits", 3, 3),
        _range("digits", 5, 6),
    ),
    _task(
        *("caesar_cipher", "words", "exact"),
        _range("words", 3, 4) | {"max_rotation": 3},
        _range("words", 5, 8),
        _range("words", 10, 16),
    ),
    _task(
        *("count_primes", "numbers", "numeric"),
        {"max_n": 40},
        {"max_n": 300},
        {"max_n": 2000},
    ),
    _task(
        *("rotten_oranges", "algorithms", "numeric"),
        _range("n", 4, 4),
        _range("n", 6, 7),
        _range("n", 10, 11),
    ),
)
"""Neighbours are of different kinds, so that a few questions are of many."""


class Starter(NamedTuple):
    """Generated questions and where they come from.

    Attributes:
        questions: The questions; with the same seed a shorter list is the beginning of a longer one.
        origin: The library's version, and the seed.
        sha256: Of all that was generated.
    """

    questions: list[Question]
    origin: str
    sha256: str


def starter_questions(number: int, seed: int) -> Starter:
    """Generate questions of many kinds and three levels of difficulty.

    The same seed and version of the library give the same questions.

    Args:
        number: How many.
        seed: Decides which.

    Raises:
        InputError: The library is not installed, or has no more questions.
    """
    version = _require_library()
    cells = [_cell(task, level, seed) for task, level in _cells()]
    questions = list(islice(_in_turn(cells), number))
    if len(questions) < number:
        raise InputError(f"--starter: {_PACKAGE} has only {len(questions):,} such questions; ask for fewer")
    content = json.dumps([(*q.key, q.query, q.reference, q.grader) for q in questions], ensure_ascii=False)
    return Starter(questions, f"{_PACKAGE} {version}, seed {seed}", hashlib.sha256(content.encode()).hexdigest())


def _require_library() -> str:
    """Return the library's version.

    Raises:
        InputError: It is not installed.
    """
    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        raise missing_extra("--starter", "starter") from None


def _cells() -> Sequence[tuple[Task, str]]:
    """Return every task at every level it has, in an order whose beginning has all tasks and levels mixed."""
    turned = ((task, LEVELS[(place + turn) % 3]) for turn in range(3) for place, task in enumerate(TASKS))
    return [(task, level) for task, level in turned if level in task.settings]


def _in_turn(cells: Sequence[Iterator[Question]]) -> Iterator[Question]:
    """Yield a question of each cell, then another of each, until none has more; no text twice."""
    seen: set[str] = set()
    while cells:
        found = [(cell, question) for cell in cells if (question := next(cell, None)) is not None]
        for _, question in found:
            if question.query not in seen:
                seen.add(question.query)
                yield question
        cells = [cell for cell, _ in found]


def _cell(task: Task, level: str, seed: int) -> Iterator[Question]:
    """Yield the questions of one task at one level that differ, and whose answers both scorers confirm."""
    # One of its libraries says on stderr that it looks for fonts.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # What Python says of another's source when it first compiles it.
        warnings.simplefilter("ignore", SyntaxWarning)
        from reasoning_gym import create_dataset

    # Neighbouring seeds would share questions: the library adds a question's number to its seed.
    drawn = hashlib.sha256(f"{seed} {task.generator} {level}".encode()).digest()
    options = {"seed": int.from_bytes(drawn[:4]), "size": _ENDLESS, **task.settings[level]}
    made = create_dataset(task.generator, **options)
    seen: set[str] = set()
    repeated = number = 0
    for place in range(_ENDLESS):
        with contextlib.redirect_stdout(io.StringIO()):  # some generators chat
            entry = made[place]
        question = _question(task, level, number + 1, entry)
        if question.query in seen or not _is_checked(made, entry, question):
            repeated += 1
            if repeated == _MOST_REPEATED:
                return
            continue
        seen.add(question.query)
        repeated, number = 0, number + 1
        yield question


def _question(task: Task, level: str, number: int, entry: Mapping[str, Any]) -> Question:
    return Question(
        dataset=task.dataset,
        index=f"{task.generator}-{level}-{number}",
        query=f"{str(entry['question']).strip()}{_ASKED}",
        reference=str(entry["answer"]),
        grader=task.grader,
    )


def _is_checked(made: ProceduralDataset, entry: Mapping[str, Any], question: Question) -> bool:
    """Whether the library's own scorer and jisi's grader both take the reference for right."""
    reply = Submission(question.query, question.reference or "", f"Answer: {question.reference}", question.dataset)
    if load_grader(question.grader or "").grade(reply) != 1.0:
        return False
    return bool(made.score_answer(question.reference, entry=dict(entry)) == 1.0)
