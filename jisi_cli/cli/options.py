"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jisi_cli.errors import InputError
from jisi_cli.grading.registry import GradingOptions, parse_chosen
from jisi_cli.hyperparameters import CascadeSettings, Hyperparameters, option_name

BankOption = Annotated[
    Path | None,
    typer.Option("--bank", metavar="PATH", help="The bank: a folder or s3://…; else JISI_BANK, else the pool file's."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The pool file; else JISI_CONFIG, ./jisi.toml, one above, your own."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print no notes and no progress.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print details on stderr.")]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--models", metavar="NAMES", help="Only these models, separated by commas (`\\,` for one in a name)."),
]
EmbedderOption = Annotated[
    str | None,
    typer.Option("--embedder", metavar="NAME", help="The bank's embedder, if it does not come with jisi."),
]
TrustEmbedderOption = Annotated[
    bool, typer.Option("--trust-embedder", help="Allow the embedder that the bank names, until its files change.")
]
BankArgument = Annotated[
    Path | None, typer.Argument(metavar="[BANK]", help="The bank; else JISI_BANK or the pool file's.")
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="NAME=COLUMN,…", help="Which columns hold what, as in query=question,gt=answer."),
]
DatasetsOption = Annotated[list[str] | None, typer.Option("--datasets", metavar="NAMES", help="Only these datasets.")]
TimeoutOption = Annotated[float | None, typer.Option("--timeout", metavar="S", help="Seconds per call [300].")]
NoStoreOption = Annotated[
    bool, typer.Option("--no-store", help="Keep questions and answers out of jisi's cache and ledger.")
]
ContinueOption = Annotated[bool, typer.Option("--continue", "-c", help="Continue the last conversation.")]
ConversationOption = Annotated[
    str | None, typer.Option("--conversation", metavar="ID", help="Continue this one; `jisi chat --list` names them.")
]
SystemOption = Annotated[
    str | None, typer.Option("--system", "-s", metavar="TEXT", help="A system message for every model.")
]
SchemaOption = Annotated[
    Path | None,
    typer.Option("--schema", metavar="FILE", help="A JSON schema; the answer is JSON that fits it."),
]
LabelOption = Annotated[
    str | None, typer.Option("--label", metavar="NAME", help="What to call this run in `jisi cost --by label`.")
]
MaxCostOption = Annotated[
    float | None, typer.Option("--max-cost", metavar="USD", help="At most this many dollars for the whole run.")
]
MaxCostPerDayOption = Annotated[
    float | None,
    typer.Option("--max-cost-per-day", metavar="USD", help="At most this many dollars for all calls of a day."),
]
BatchOption = Annotated[
    bool,
    typer.Option("--batch", help="Ask through the provider's batch endpoint, within a day, at about half the price."),
]
ResubmitOption = Annotated[
    bool,
    typer.Option("--resubmit", help="With --batch: submit again what was submitted with a key that is not set now."),
]
ConcurrencyOption = Annotated[
    int | None, typer.Option("--concurrency", metavar="N", min=1, help="Calls at the same time [16].")
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", metavar="NAME", help="asyncio (this process), ray, or ray:HOST:PORT for a Ray cluster."),
]

UnlikeOption = Annotated[
    str | None,
    typer.Option(
        "--unlike",
        metavar="HOW",
        help="If a question resembles nothing in the bank: rank by the whole `bank`, or `ignore` that [bank] (ours).",
    ),
]

FailedOption = Annotated[
    str | None,
    typer.Option(
        "--failed",
        metavar="HOW",
        help="Count failed and empty answers to graded questions as wrong (0) or unscored [as the bank does: wrong].",
    ),
]

_ROUTING: dict[str, tuple[type, str, str]] = {
    "k": (int, "Models to ask first", "K"),
    "n_base": (int, "Go by at least this many similar past questions", "N_base"),
    "gamma": (float, "Others count, too, from this share of the last one's similarity", "γ"),
    "beta": (float, "Share of those questions to keep once the answers are known", "β"),
    "epsilon": (float, "Weight of similar questions in that choice", "ε"),
    "sigma": (float, "Weight of similar answers in it", "σ"),
    "delta": (float, "Weight of answers of similar length; the three sum to 1", "δ"),
    "t": (float, "Combine answers of models with at least this share of the best score", "t"),
    "max_aggregate_tokens": (int, "If all answers together are longer, in tokens, combine only the best two", ""),
    "compat": (str, "`paper`, or `openjisi` for the choices of the authors' code", ""),
    "switch": (str, "`paper`, or `consensus` to stop where answers agree", "ours"),
    "u": (float, "With consensus: share of the answers that must agree; 0.5 is a majority", "ours"),
    "price_weight": (float, "Prefer cheaper models, from 0 (ignore the price) to 1", "ours"),
    "prior": (float, "Count a model's mean over the whole bank as this many questions", "ours"),
    "probe_schedule": (str, "With consensus: ask in rounds, as in 2,1", "ours"),
}
"""Type, plain words, and what the paper calls it; `ours` for what the paper does not have."""


_CASCADE: dict[str, tuple[type, str, str]] = {
    "tau": (float, "jisi-cascade: give an answer that is right with this probability", "ours"),
    "max_calls": (int, "jisi-cascade: at most this many answers to a question", "ours"),
    "mean_calls": (float, "jisi-cascade: answers to a question on average; chooses tau", "ours"),
}


def gathered(
    command: Callable[..., Any],
    into: str,
    options: Sequence[inspect.Parameter],
    gather: Callable[[dict[str, Any]], Any],
) -> Callable[..., Any]:
    """Give a command options that it receives as one argument.

    Args:
        command: The command; its parameter `into` is not seen on the command line.
        into: The name of that argument.
        options: The options, which come after the command's own.
        gather: Makes the argument of their values by name.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters = [*(own for name, own in signature.parameters.items() if name != into), *options]

    @functools.wraps(command)
    def wrapped(**values: Any) -> object:  # noqa: ANN401 - as Typer hands them over
        given = {option.name: values.pop(option.name) for option in options}
        return command(**values, **{into: gather(given)})

    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def option_parameter(name: str, annotation: Any, default: object) -> inspect.Parameter:  # noqa: ANN401 - a type
    """Return an option as a parameter of a command, to be given by its name."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def routing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option per hyperparameter; it receives those that were given as the dict `routing`."""
    return gathered(command, "routing", [_setting(name) for name in _ROUTING], stated)


def method_settings() -> list[inspect.Parameter]:
    """Return one option per hyperparameter and per setting of the cascade."""
    return [_setting(name) for name in (*_ROUTING, *_CASCADE)]


def stated(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were given on the command line; for others the configuration's count."""
    return {name: value for name, value in settings.items() if value is not None}


def _setting(name: str) -> inspect.Parameter:
    kind, text, symbol = {**_ROUTING, **_CASCADE}[name]
    default = getattr(CascadeSettings() if name in _CASCADE else Hyperparameters(), name)
    shown = _NOT_GIVEN.get(name, default)
    flags = dict.fromkeys((option_name(name), f"--{name.replace('_', '-')}"))
    option = typer.Option(*flags, metavar=_METAVARS[kind], help=f"{text} [{shown}]{_source(symbol)}.")
    return option_parameter(name, Annotated[kind | None, option], None)


def _source(symbol: str) -> str:
    return f" ({symbol})" if symbol == "ours" else f" (paper: {symbol})" if symbol else ""


_NOT_GIVEN = {"probe_schedule": "all at once", "mean_calls": "no ceiling"}
_METAVARS = {int: "N", float: "X", str: "NAME"}


def split_names(values: list[str] | None) -> list[str] | None:
    """Return the names of a repeatable, comma-separated option; None when it was not given.

    A comma that is part of a name has a backslash before it.
    """
    if values is None:
        return None
    parts = (part.strip().replace("\\,", ",") for value in values for part in re.split(r"(?<!\\),", value))
    names = [name for name in parts if name]
    if not names:
        raise InputError("an empty list of names was given; leave the option out to take all")
    return names


def require_asked(flag: str, given: bool, *, batch: bool, resubmit: bool) -> None:
    """Refuse options about batches where nothing is asked by batch.

    Args:
        flag: The option that has models asked.
        given: Whether it was given.
        batch: Whether `--batch` was.
        resubmit: Whether `--resubmit` was.

    Raises:
        InputError: It is so.
    """
    if batch and not given:
        raise InputError(f"--batch asks the pool's models by batch; add {flag}, or leave it out")
    if resubmit and not batch:
        raise InputError("--resubmit is about what was submitted by batch; add --batch, or leave it out")


# The flags that choose graders and say what they may do.


_GRADING = [
    option_parameter(
        "grader",
        Annotated[
            list[str] | None,
            typer.Option("--grader", metavar="[DATASET=]NAME", help="Grade with NAME, whatever the questions say."),
        ],
        None,
    ),
    option_parameter(
        "allow_code",
        Annotated[bool, typer.Option("--allow-code", help="Let the grader `code` run, confined, what models wrote.")],
        False,
    ),
    option_parameter(
        "judge",
        Annotated[
            str | None,
            typer.Option("--judge", metavar="MODEL", help="The pool's model that `judge` and `pairwise` ask."),
        ],
        None,
    ),
    option_parameter(
        "grader_command",
        Annotated[
            str | None,
            typer.Option("--grader-command", "--command", metavar="CMD", help="The program that `command` runs."),
        ],
        None,
    ),
]


def grading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags about grading; it receives them as `grading`, a `GradingOptions`."""
    return gathered(command, "grading", _GRADING, _grading)


def _grading(flags: Mapping[str, Any]) -> GradingOptions:
    for_all, by_dataset = parse_chosen(flags["grader"] or ())
    return GradingOptions(
        for_all, by_dataset, allow_code=flags["allow_code"], judge=flags["judge"], command=flags["grader_command"]
    )


def require_grading(
    needed: str, grading: GradingOptions, *, present: bool, without: GradingOptions | None = None
) -> None:
    """Refuse flags about grading where nothing is graded, but for some that need nothing.

    Raises:
        InputError: There are such flags.
    """
    if not present and grading not in (GradingOptions(), without):
        raise InputError(f"--grader, --allow-code, --judge and --grader-command need {needed}: else nothing is graded")
