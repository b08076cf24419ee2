"""What a grader is, how one is found by its name, and what the user says about grading.

A grader is a class with a method `grade` in a file of this room that is named after it (`zeroeval.py` has all
`zeroeval-…`), or one that the entry point `jisi.graders` of an installed package names: see `Grader`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, cast

from jisi_cli import grading, plugins
from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.formats.record import Question

if TYPE_CHECKING:
    from jisi_cli.types import Pool, Spending


@dataclass(frozen=True, slots=True)
class Submission:
    """One response to be graded.

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


class Grader(Protocol):
    """Compares the response of a model with the reference.

    A response is text from a model and may be anything: a grader never fails on it and never evaluates it.

    A grader may also have `extract(response)`, which returns the final answer of a response, normalised so that equal
    answers are equal strings (None when no final answer can be read; reading an extracted answer again changes
    nothing); `close()`, which ends its processes, busy ones too; and a class method `for_run(setup)`, which makes it
    from the `Setup` of a run instead of `Class()`.
    """

    def grade(self, submission: Submission) -> float | Awaitable[float | None] | None:
        """Return a score in [0, 1], or None when no final answer could be read: unscored, not wrong.

        Raises:
            Ungraded: For any other reason.
            BudgetError: A call does not fit into what is left of the budget.
        """
        ...


class Reader(Protocol):
    """Reads final answers."""

    def extract(self, response: str) -> str | None:
        """Return the normalised final answer; None when none can be read."""
        ...


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run gives the graders that need more than texts.

    Attributes:
        argument: The model it asks, or the program it runs; None when the user names none.
        allow_code: Whether answers may be run as programs.
        pool: Whom a judge is asked through; None where none may be asked.
        bill: Where the calls of judges are added up.
        warn: Told what the user should know about how grading was done.
    """

    argument: str | None
    allow_code: bool
    pool: Pool | None
    bill: Spending
    warn: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class GraderInfo:
    """How a grader is used.

    Attributes:
        reader: The grader that reads the final answers of its questions; None where they have none.
        blocks: Whether it works in a process of its own and is called in a thread.
        takes: What may follow its name and a colon.
        compares: Whether it needs the answers of all models to a question, and no reference: it grades banks, not
            single answers.
    """

    reader: str | None = None
    blocks: bool = False
    takes: Literal["model", "program"] | None = None
    compares: bool = False


_Class = TypeVar("_Class", bound=type)


def grader(
    *names: str,
    reader: str | None = None,
    blocks: bool = False,
    takes: Literal["model", "program"] | None = None,
    compares: bool = False,
) -> Callable[[_Class], _Class]:
    """Say how a class grades; see `GraderInfo`. Packages that add a grader may leave it out.

    Args:
        names: The grader's name; an entry point has its own.
        reader: The grader that reads the final answers of its questions.
        blocks: Whether it is called in a thread.
        takes: What may follow its name and a colon.
        compares: Whether it needs the answers of all models to a question.
    """

    def describe(described: _Class) -> _Class:
        described.grader_names = names  # type: ignore[attr-defined]
        described.grader_info = GraderInfo(reader, blocks, takes, compares)  # type: ignore[attr-defined]
        return described

    return describe


def grader_names() -> tuple[str, ...]:
    """Return the names of jisi's own graders, sorted."""
    return tuple(sorted(name for module in _modules() for name in _classes(module)))


def grader_info(name: str) -> GraderInfo | None:
    """Return how one of jisi's own graders is used; None for any other name."""
    found = _own(name)
    return None if found is None else _info(found)


def asks_model(name: str) -> bool:
    """Whether a grader asks a model, which costs money."""
    info = grader_info(name)
    return info is not None and info.takes == "model"


def compares_models(spec: GraderSpec | None) -> bool:
    """Whether a grader needs the answers of all models to a question."""
    info = None if spec is None else grader_info(spec.name)
    return info is not None and info.compares


def reads_texts_alone(name: str | None) -> bool:
    """Whether a grader is one of jisi's own and needs no process, no model and no other answer."""
    info = grader_info(name) if name is not None else None
    return info is not None and not info.blocks and not info.compares and info.takes is None


def reader_of(name: str | None) -> Reader | None:
    """Return what reads the final answers of a grader's questions; None where they have none, or for other names."""
    info = grader_info(name) if name is not None else None
    return None if info is None or info.reader is None else cast(Reader, load_grader(info.reader))


def load_grader(name: str) -> Grader:
    """Return one of jisi's own graders that need nothing but texts, with its default settings.

    Raises:
        InputError: There is no such grader.
    """
    found = _own(name)
    if found is None:
        raise unknown_grader(name)
    return cast(Grader, found())


def open_grader(name: str, setup: Setup, *, by_user: bool) -> tuple[Grader, GraderInfo]:
    """Return a grader for a run.

    Args:
        name: Its name.
        setup: What the run gives it.
        by_user: Whether the user names it. A file of questions may name none that a package adds: its code would run.

    Raises:
        InputError: There is no such grader, it is not allowed, or lacks what it needs.
    """
    found = _own(name) or _added(name, by_user=by_user)
    make = getattr(found, "for_run", None)
    return cast(Grader, found() if make is None else make(setup)), _info(found)


def unknown_grader(name: str) -> InputError:
    """Return the error of a name that no grader has."""
    if ":" in name:
        # A file of questions chooses no programs, and no models to pay for.
        return InputError(f"`{name}` names no grader; a program or a judge is named on the command line alone")
    names = sorted((*grader_names(), *plugins.installed("graders", grader_names())))
    return InputError(f"no grader is called `{name}`{did_you_mean(name, names)}; the graders are {', '.join(names)}")


def _added(name: str, *, by_user: bool) -> type:
    if name not in plugins.installed("graders", grader_names()):
        raise unknown_grader(name)
    if not by_user:
        raise InputError(
            f"the grader `{name}` comes from an installed package, and only the file of questions names it; "
            f"if you trust it, give --grader {name}"
        )
    found = plugins.load("graders", name, grader_names())
    if not isinstance(found, type) or not callable(getattr(found, "grade", None)):
        raise InputError(f"the grader `{name}` of an installed package is not a class with a method `grade`")
    return found


def _own(name: str) -> type | None:
    """Return the class of one of jisi's own graders; nothing but the file named after it is imported."""
    modules = _modules()
    module = next((found for found in (name.replace("-", "_"), name.partition("-")[0]) if found in modules), None)
    return None if module is None else _classes(module).get(name)


@cache
def _modules() -> tuple[str, ...]:
    from pkgutil import iter_modules

    return tuple(found.name for found in iter_modules(grading.__path__) if not found.ispkg)


@cache
def _classes(module: str) -> dict[str, type]:
    found = import_module(f"{grading.__name__}.{module}")
    classes = [member for member in vars(found).values() if isinstance(member, type)]
    own = [member for member in classes if member.__module__ == found.__name__ and "grader_names" in vars(member)]
    return {name: member for member in own for name in member.grader_names}  # type: ignore[attr-defined]


def _info(found: type) -> GraderInfo:
    return cast(GraderInfo, getattr(found, "grader_info", GraderInfo()))


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
        """Return the grader of a question with all that it needs; None when neither user nor question names one."""
        chosen = self.by_dataset.get(question.dataset, self.for_all)
        if chosen is None:
            if question.grader is None:
                return None
            # Whole, so that `command:…` in a file names no grader.
            chosen = GraderSpec(question.grader)
        return chosen if chosen.argument is not None else GraderSpec(chosen.name, self._argument(chosen.name))

    def names(self, name: str) -> bool:
        """Whether the user, not only a file of questions, names a grader."""
        return any(spec is not None and spec.name == name for spec in (self.for_all, *self.by_dataset.values()))

    def only_comparing(self) -> GradingOptions:
        """Return what is chosen of the graders that compare models: what needs neither references nor permission."""
        chosen = self.for_all if compares_models(self.for_all) else None
        return GradingOptions(chosen, {name: spec for name, spec in self.by_dataset.items() if compares_models(spec)})

    def judges(self) -> tuple[str, ...]:
        """Return the models that graders may ask."""
        specs = [spec for spec in (self.for_all, *self.by_dataset.values()) if spec is not None]
        named = [spec.argument for spec in specs if asks_model(spec.name)]
        return tuple(dict.fromkeys(model for model in (self.judge, *named) if model is not None))

    def _argument(self, name: str) -> str | None:
        info = grader_info(name)
        match info and info.takes:
            case "model":
                return self.judge
            case "program":
                return self.command
        return None


def parse_chosen(values: Sequence[str]) -> tuple[GraderSpec | None, dict[str, GraderSpec]]:
    """Read `NAME` and `DATASET=NAME`: the grader of everything, and those of data sets.

    Behind a colon, `judge` and `pairwise` take a model and `command` a program with its arguments.
    """
    for_all: GraderSpec | None = None
    by_dataset: dict[str, GraderSpec] = {}
    for value in values:
        # The `=` of `command:./check --flag=1` belongs to the command, and that of `split=test=numeric` to the name.
        splits = [index for index, sign in enumerate(value) if sign == "="]
        if not splits or grader_info(_spec(value).name) is not None:
            for_all = _spec(value)
            continue
        found = {index: _spec(value[index + 1 :]).name for index in splits}
        index = next((index for index, name in found.items() if grader_info(name) is not None), None)
        if index is None:
            added = plugins.installed("graders", grader_names())
            index = next((index for index, name in found.items() if name in added), splits[0])
        by_dataset[value[:index]] = _spec(value[index + 1 :])
    return for_all, by_dataset


def _spec(text: str) -> GraderSpec:
    name, colon, argument = text.strip().partition(":")
    info = grader_info(name) if colon else None
    return GraderSpec(name, argument) if info is not None and info.takes is not None else GraderSpec(text.strip())
