"""What a grader is, the graders by name, and which grader grades what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol, cast

from jisi_cli.errors import InputError
from jisi_cli.formats.record import Question

# What a grader is.


class Grader(Protocol):
    """Reads the final answer in a response and compares it with the reference.

    A response is text from a model and may be anything: a grader never raises on it, never
    evaluates it, and reads no more than its end.
    """

    def grade(self, response: str, reference: str) -> float | None:
        """Return 1.0 when the response is right and 0.0 when it is wrong.

        None means that no final answer could be read: the response is unscored, not wrong.
        """
        ...

    def extract(self, response: str) -> str | None:
        """Return the final answer, normalised so that equal answers are equal strings.

        None when no final answer can be read. Reading an extracted answer again changes nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Submission:
    """One response as it is handed in for grading.

    Attributes:
        query: The question.
        reference: What decides: the right answer, a pattern, tests; the grader says which.
        response: What the model said.
        dataset: The question's data set.
    """

    query: str
    reference: str
    response: str
    dataset: str


class Ungraded(Exception):
    """A response could not be graded, for a reason that is worth telling: it is unscored."""


class OutOfTime(Ungraded):
    """Grading a response took longer than it may, or too much memory."""


class ProcessGrader(Protocol):
    """Grades in a process of its own; blocks while it does, so it is called in a thread."""

    def grade(self, submission: Submission) -> float | None:
        """Return a score in [0, 1], or None when no final answer could be read.

        Raises:
            Ungraded: For another reason than that.
        """
        ...

    def close(self) -> None:
        """End its processes, those in the middle of grading too."""
        ...


class ModelGrader(Protocol):
    """Grades by asking a model."""

    async def grade(self, submission: Submission) -> float | None:
        """Return a score in [0, 1], or None when no final answer could be read.

        Raises:
            Ungraded: For another reason than that.
            BudgetError: The call does not fit what is left of the budget.
        """
        ...


# The graders by name; a grader is imported when it is used.


GRADERS = {
    "choice": "jisi_cli.grading.choice:Choice",
    "contains": "jisi_cli.grading.contains:Contains",
    "exact": "jisi_cli.grading.exact:Exact",
    "numeric": "jisi_cli.grading.numeric:Numeric",
    "zeroeval-choice": "jisi_cli.grading.zeroeval:ZeroEvalChoice",
    "zeroeval-number": "jisi_cli.grading.zeroeval:ZeroEvalNumber",
    "zeroeval-text": "jisi_cli.grading.zeroeval:ZeroEvalText",
}
"""The graders that look at texts alone: name -> `module:Class`; the class is called without arguments."""

ASSISTED = ("code", "command", "judge", "math", "pairwise", "regex")
"""The graders that need a process or a model besides; `grader_set` makes them."""

READERS = {
    "choice": "choice",
    "exact": "exact",
    "math": "numeric",
    "numeric": "numeric",
    "zeroeval-choice": "choice",
    "zeroeval-number": "numeric",
    "zeroeval-text": "exact",
}
"""Graders whose questions have a final answer, and the grader that reads it."""


def load_grader(name: str) -> Grader:
    """Return the grader of this name that looks at texts alone, with its default settings.

    Raises:
        InputError: There is no such grader.
    """
    try:
        module, _, attribute = GRADERS[name].partition(":")
    except KeyError:
        raise InputError(f"no grader is called `{name}`; the graders are {known_graders()}") from None
    return cast("Grader", getattr(import_module(module), attribute)())


def known_graders() -> str:
    """Return the names of all graders, as a message lists them."""
    return ", ".join(sorted((*GRADERS, *ASSISTED)))


# Which grader grades what, and what graders may do: the user's word, against that of a file of questions.


COSTLY = ("judge", "pairwise")
"""Graders that ask a model."""
_WITH_ARGUMENT = (*COSTLY, "command")


@dataclass(frozen=True, slots=True)
class GraderSpec:
    """A grader and, for some, whom it asks or what it runs: `numeric`, `judge:gpt`, `command:./check.sh -q`."""

    name: str
    argument: str | None = None

    def __str__(self) -> str:
        return self.name if self.argument is None else f"{self.name}:{self.argument}"


@dataclass(frozen=True, slots=True)
class GradingOptions:
    """What the user says about grading; a file of questions only names graders, never what they run.

    Attributes:
        for_all: The grader of every question, whatever it says itself; None leaves it to the questions.
        by_dataset: The graders of whole data sets; they win over `for_all`.
        allow_code: Whether answers may be run as programs.
        judge: The model that `judge` and `pairwise` ask.
        command: The program that `command` runs.
    """

    for_all: GraderSpec | None = None
    by_dataset: Mapping[str, GraderSpec] = field(default_factory=dict)
    allow_code: bool = False
    judge: str | None = None
    command: str | None = None

    def spec_for(self, question: Question) -> GraderSpec | None:
        """Return the grader of a question with all that it needs; None when nobody names one."""
        chosen = self.by_dataset.get(question.dataset, self.for_all)
        if chosen is None:
            if question.grader is None:
                return None
            # Whole, so that `command:…` in a file names no grader.
            chosen = GraderSpec(question.grader)
        return chosen if chosen.argument is not None else GraderSpec(chosen.name, self._argument(chosen.name))

    def judges(self) -> tuple[str, ...]:
        """Return the models that graders may ask."""
        specs = [spec for spec in (self.for_all, *self.by_dataset.values()) if spec is not None]
        named = [spec.argument for spec in specs if spec.name in COSTLY]
        return tuple(dict.fromkeys(model for model in (self.judge, *named) if model is not None))

    def _argument(self, name: str) -> str | None:
        return {"judge": self.judge, "pairwise": self.judge, "command": self.command}.get(name)


def parse_chosen(values: Sequence[str]) -> tuple[GraderSpec | None, dict[str, GraderSpec]]:
    """Read `NAME` and `DATASET=NAME`: the grader of everything, and those of data sets.

    Behind a colon, `judge` and `pairwise` take a model and `command` a program with its arguments.
    """
    for_all: GraderSpec | None = None
    by_dataset: dict[str, GraderSpec] = {}
    for value in values:
        # The `=` of `command:./check --flag=1` belongs to the command, and that of `split=test=numeric` to the name.
        splits = [place for place, sign in enumerate(value) if sign == "="]
        if not splits or _spec(value).name in (*GRADERS, *ASSISTED):
            for_all = _spec(value)
        else:
            known = (place for place in splits if _spec(value[place + 1 :]).name in (*GRADERS, *ASSISTED))
            place = next(known, splits[0])
            by_dataset[value[:place]] = _spec(value[place + 1 :])
    return for_all, by_dataset


def _spec(text: str) -> GraderSpec:
    name, colon, argument = text.strip().partition(":")
    return GraderSpec(name, argument) if colon and name in _WITH_ARGUMENT else GraderSpec(text.strip())
