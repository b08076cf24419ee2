"""Which grader grades what, and what graders may do: the user's word, against that of a file of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jisi_cli.bank.records import Question
from jisi_cli.grading.registry import ASSISTED, GRADERS

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
