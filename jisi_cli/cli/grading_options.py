"""The flags that choose graders and say what they may do."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from jisi_cli.grading.options import GradingOptions, parse_chosen

_FLAGS = {
    "grader": (
        list[str] | None,
        None,
        typer.Option("--grader", metavar="[DATASET=]NAME", help="Grade with NAME, whatever the questions say."),
    ),
    "allow_code": (
        bool,
        False,
        typer.Option("--allow-code", help="Let the grader `code` run what models wrote, confined."),
    ),
    "judge": (
        str | None,
        None,
        typer.Option("--judge", metavar="MODEL", help="The pool's model that `judge` and `pairwise` ask."),
    ),
    "grader_command": (
        str | None,
        None,
        typer.Option("--grader-command", "--command", metavar="CMD", help="The program that `command` runs."),
    ),
}


def grading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags about grading; it receives them as `grading`, a `GradingOptions`."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "grading"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
        for name, (kind, default, option) in _FLAGS.items()
    ]

    @functools.wraps(command)
    def wrapped(**values: Any) -> object:  # noqa: ANN401 - as Typer hands them over
        for_all, by_dataset = parse_chosen(values.pop("grader") or ())
        flags = {name: values.pop(name) for name in ("allow_code", "judge")}
        grading = GradingOptions(for_all, by_dataset, command=values.pop("grader_command"), **flags)
        return command(**values, grading=grading)

    wrapped.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    return wrapped
