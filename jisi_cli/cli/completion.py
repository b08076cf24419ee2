"""What a shell completes after an option: methods, models of the pool, graders, formats and the other names it takes.

A shell waits for it at each Tab. So names are read from where they are declared, without importing what declares them,
nothing is asked of any host, and whatever goes wrong completes nothing and says nothing. A pool file may be a
stranger's: it is read for the names of its models alone, and only those that no shell takes for more than a word.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.models import OptionInfo

from jisi_cli.errors import JisiError

Values = Callable[[typer.Context], Iterable[str]]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+~-]{,199}")
"""Names that a shell takes as they are: without spaces, quotes, and what starts a program."""
_METHOD = re.compile(r'^ *@?register_method\(\s*"([a-z0-9-]+)"', re.MULTILINE)
_GRADER = re.compile(r'^@grader\(\s*"([a-z0-9-]+)"', re.MULTILINE)
_FORMAT = re.compile(r"^def matches\(", re.MULTILINE)


def _declared(package: str, sign: re.Pattern[str]) -> list[tuple[str, list[str]]]:
    """Return the files of a package that hold a sign, and what it captures in each."""
    found = find_spec(package)
    folders = [] if found is None else found.submodule_search_locations or []
    files = sorted(path for folder in folders for path in Path(folder).glob("*.py"))
    signs = ((path.stem, sign.findall(path.read_text(encoding="utf-8"))) for path in files)
    return [(stem, names) for stem, names in signs if names]


def methods(ctx: typer.Context | None = None) -> list[str]:
    """Return the names of the methods, those that installed packages add last."""
    rooms = ("jisi_cli.methods", "jisi_cli.methods.routers", "jisi_cli.methods.ensembles")
    own = [name for room in rooms for _, names in _declared(room, _METHOD) for name in names]
    return [*own, *_added("methods")]


def graders(ctx: typer.Context | None = None) -> list[str]:
    """Return the names of the graders."""
    return [*(name for _, names in _declared("jisi_cli.grading", _GRADER) for name in names), *_added("graders")]


def formats(ctx: typer.Context | None = None) -> list[str]:
    """Return the names of the formats of recorded answers."""
    own = (stem.replace("_", "-") for stem, _ in _declared("jisi_cli.formats", _FORMAT) if stem != "registry")
    return [*own, *_added("formats")]


def embedders(ctx: typer.Context | None = None) -> list[str]:
    """Return the names of the embedders that are more than a folder or a model of the hub."""
    return ["minilm", "hashing", "litellm:", *_added("embedders")]


def _added(group: Any) -> tuple[str, ...]:  # noqa: ANN401 - a name of a group
    from jisi_cli.plugins import installed

    return installed(group)


def pool_models(ctx: typer.Context) -> list[str]:
    """Return the names of the models in the pool file that the command line names, or that is in force."""
    from jisi_cli.config import find_config, load_config

    named = ctx.params.get("config")
    return [entry.name for entry in load_config(find_config(None if named is None else Path(named))).models]


def _providers(ctx: typer.Context) -> tuple[str, ...]:
    from jisi_cli.models.discovery import NAMES

    return NAMES


def _of(*names: str) -> Values:
    return lambda ctx: names


_VALUES: Mapping[str, Values] = {
    "--method": methods,
    "--versus": methods,
    "--models": pool_models,
    "--judge": pool_models,
    "--against": pool_models,
    "--grader": graders,
    "--format": formats,
    "--embedder": embedders,
    "--providers": _providers,
    "--compat": _of("paper", "openjisi"),
    "--switch": _of("paper", "consensus"),
    "--mode": _of("auto", "route", "aggregate"),
    "--aggregate": _of("auto", "never"),
    "--failed": _of("wrong", "unscored"),
    "--truncation": _of("head", "tail"),
    "--vector-dtype": _of("float16", "float32"),
    "--device": _of("cpu", "cuda", "mps"),
    "--by": _of("model", "dataset", "role", "day", "run", "command", "method"),
    "--run": _of("last"),
    "--output-format": _of("table", "json", "junit", "markdown"),
}
"""What each flag takes, in every command that has it."""


def complete_values(command: Callable[..., Any]) -> None:
    """Let a shell complete the values of a command's options."""
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        about = get_args(parameter.annotation)[1:] if get_origin(parameter.annotation) is Annotated else ()
        for option in (found for found in about if isinstance(found, OptionInfo)):
            # Within Annotated, Typer keeps the first flag where a default would be.
            flags = (str(option.default), *(option.param_decls or ()))
            values = next((_VALUES[flag] for flag in flags if flag in _VALUES), None)
            if values is not None and option.autocompletion is None:
                option.autocompletion = completion(values)


def completion(values: Values) -> Callable[[typer.Context, list[str], str], list[str]]:
    """Return what Typer asks for the values that begin as what was typed; of several with commas, the last."""

    def complete(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
        # `--grader facts=exact` names a data set first.
        before, sign, typed = _parted(incomplete)
        try:
            names = [name for name in values(ctx) if name.startswith(typed) and _PLAIN.fullmatch(name)]
        except (JisiError, OSError, ValueError):
            return []
        return [before + sign + name for name in dict.fromkeys(names)]

    return complete


def _parted(incomplete: str) -> tuple[str, str, str]:
    place = max(incomplete.rfind(","), incomplete.rfind("="))
    return incomplete[: max(place, 0)], incomplete[place : place + 1] if place >= 0 else "", incomplete[place + 1 :]


def command_to_complete() -> str | None:
    """Return the first word after `jisi` if a shell asks what comes next; None if it does not, or there is no word.

    Only the module of that command is needed then.
    """
    if "_JISI_COMPLETE" not in os.environ:
        return None
    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()
    return words[1] if len(words) > 1 else None
