"""How help is laid out: commands in two groups, options by what they are about, and `-h` shorter than `--help`.

Plain text without Rich, so that help is there at once.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from jisi_cli.cli.completion import complete_values
from jisi_cli.errors import InputError, did_you_mean

FIRST_COMMANDS = ("ask", "chat", "route", "eval", "cost", "bank", "build", "inspect")
"""What most people need; help lists these commands before the others."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Answer": (
        *("--continue", "--conversation", "--method", "--system", "--attach", "--schema", "--mode", "--aggregate"),
        *("--probe", "--list-methods", "--versus", "--live", "--answers", "--explain", "--stream"),
        *("--temperature", "--max-tokens", "--k", "--tau"),
    ),
    "Questions": (
        *("--input", "--format", "--map", "--split", "--datasets", "--limit", "--splits", "--seed", "--append"),
        *("--strict", "--call", "--starter", "--n", "--import", "--feedback", "--retry-failed", "--reference"),
        "--note",
    ),
    "Grading": ("--fail-under", "--grader", "--allow-code", "--judge", "--grader-command"),
    "Pool": (
        *("--bank", "--config", "--models", "--embedder", "--trust-embedder", "--providers", "--check", "--known"),
        *("--timeout", "--concurrency", "--engine", "--list", "--forget"),
    ),
    "Server": ("--host", "--port", "--key-env", "--places"),
    "Money": (
        *("--dry-run", "--by", "--run", "--since", "--until", "--against", "--prices", "--batch", "--resubmit"),
        *("--max-cost", "--max-cost-per-day", "--label", "--no-cache", "--no-store", "--price-weight", "--max-calls"),
        "--mean-calls",
    ),
    "Output": (
        *("--output", "--out", "--copy", "--export", "--report", "--html", "--force", "--save-answers"),
        *("--output-format", "--json", "--jsonl", "--csv", "--erase", "--yes", "--quiet", "--verbose"),
        *("--version", "--install-completion", "--show-completion", "--help"),
    ),
    "Advanced": (
        *("--unlike", "--truncation", "--prompt", "--vectors", "--vector-dtype"),
        *("--sweep", "--grow", "--grow-from", "--ablate", "--curve", "--learning-curve", "--failed"),
        *("--device", "--batch-size"),
        *("--n-base", "--gamma", "--beta", "--epsilon", "--sigma", "--delta", "--t", "--max-aggregate-tokens"),
        *("--compat", "--switch", "--u", "--prior", "--probe-schedule"),
    ),
}
"""Flags by group, in the order of help. A flag has the same group in every command, unless its option names another
(`rich_help_panel`), and the same place among the others."""

ADVANCED = "Advanced"
"""The group of which `-h` shows one line."""

_GROUP_OF = {flag: group for group, flags in GROUPS.items() for flag in flags}
_PLACE_OF = {flag: place for place, flag in enumerate(_GROUP_OF)}
_OTHERS = "Options"
_LEFT_WIDTH = 26
"""Characters of flags beside which an explanation begins on the same line."""
_WHOLE = "jisi.whole_help"
_NAMED_IN_SHORT = 3

_NUMBERS = {"--starter": 200}
"""Flags that may stand without their number, and the number they then mean."""
_NUMBER = re.compile(r"-?\d+")

Rows = dict[str, list[tuple[str, str]]]


def group_of(option: Any) -> str | None:  # noqa: ANN401 - the vendored Click is not ours to import
    """Return the group of an option; None if none was chosen for it."""
    found = (_GROUP_OF[flag] for flag in option.opts if flag in _GROUP_OF)
    return option.rich_help_panel or next(found, None)


def _place(parameter: Any) -> int:  # noqa: ANN401
    """Return where help lists an option among those of its group; arguments come in the order of the command."""
    return min((_PLACE_OF[flag] for flag in parameter.opts if flag in _PLACE_OF), default=-1)


USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]
"""What Click raises for a command line that it cannot read; Typer has no public name for it."""


class _Layout:
    """Help of a command or a group of commands: `-h` the usual options, `--help` all."""

    help: str | None
    get_params: Callable[[Any], list[Any]]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Note which help is wanted, and parse."""
        ctx.meta[_WHOLE] = "--help" in args
        try:
            parsed: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        except USAGE_ERROR as error:
            flags = [flag for option in self.get_params(ctx) for flag in option.opts if flag.startswith("--")]
            raise InputError(f"{_problem(error, flags)}; see {ctx.command_path} -h") from None
        return parsed

    def get_help_option(self, ctx: Any) -> Any:  # noqa: ANN401
        """Return the option `-h`, `--help`."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.opts.sort(key=len)
            option.help = "Help: -h the usual options, --help all."
        return option

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write what the command does; of several paragraphs `-h` has the first and the example."""
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        if not ctx.meta.get(_WHOLE):
            paragraphs = [paragraphs[0], *(text for text in paragraphs[1:] if text.startswith("Example:"))]
        for text in paragraphs:
            formatter.write_paragraph()
            formatter.write(_wrapped(text, formatter, "  ") + "\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write arguments and options, group by group."""
        groups = self._rows(ctx)
        advanced = [] if ctx.meta.get(_WHOLE) else groups.pop(ADVANCED, [])
        widths = (len(left) for rows in groups.values() for left, _ in rows)
        width = max((width for width in widths if width <= _LEFT_WIDTH), default=0)
        for name, rows in groups.items():
            with formatter.section(name):
                _write_rows(formatter, rows, width)
        if advanced:
            named = ", ".join(left.split()[0].rstrip(",") for left, _ in advanced[:_NAMED_IN_SHORT])
            more = len(advanced) - _NAMED_IN_SHORT
            formatter.write_paragraph()
            formatter.write_text(f"{ADVANCED}: {named}{f' and {more} more' if more > 0 else ''}; see --help.")

    def _rows(self, ctx: Any) -> Rows:  # noqa: ANN401
        """Return flags and explanations by group, in the order of `GROUPS`."""
        rows: Rows = {name: [] for name in ("Arguments", _OTHERS, *GROUPS)}
        for parameter in sorted(self.get_params(ctx), key=_place):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_option = parameter.param_type_name == "option"
                name = (group_of(parameter) or _OTHERS) if is_option else "Arguments"
                rows.setdefault(name, []).append(record)
        return {name: found for name, found in rows.items() if found}


def _problem(error: Any, flags: Sequence[str]) -> str:  # noqa: ANN401
    """Return what is wrong with a command line."""
    unknown = getattr(error, "option_name", None)
    if unknown is not None and error.message.startswith("No such option"):
        return f"no option {unknown}{did_you_mean(unknown, flags)}"
    words = error.format_message().rstrip(".")
    return str(words[:1].lower() + words[1:])


def _write_rows(formatter: Any, rows: Sequence[tuple[str, str]], width: int) -> None:  # noqa: ANN401
    """Write the left part in `width` characters, and its explanation beside it."""
    margin = " " * formatter.current_indent
    below = f"{margin}{'':{width}}  "
    for left, right in rows:
        is_beside = len(left) <= width
        text = _wrapped(right, formatter, below, f"{margin}{left:{width}}  " if is_beside else below)
        formatter.write(text + "\n" if is_beside else f"{margin}{left}\n{text}\n")


def _wrapped(text: str, formatter: Any, indent: str, first: str | None = None) -> str:  # noqa: ANN401
    """Return a paragraph in lines that break only between words, unlike the formatter's own."""
    return textwrap.fill(
        text,
        formatter.width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


class Command(_Layout, TyperCommand):
    """A command with such help, some of whose flags may stand without their number."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Put in the numbers that were left out, and parse."""
        own = {flag for option in self.get_params(ctx) for flag in option.opts}
        for flag in own & _NUMBERS.keys():
            args = with_number(args, flag)
        return super().parse_args(ctx, args)


def with_number(arguments: Sequence[str], flag: str) -> list[str]:
    """Return the arguments of a command with a number after a flag that was given without one."""
    pairs = pairwise([*arguments, ""])
    number = f"{flag}={_NUMBERS[flag]}"
    return [number if it == flag and not _NUMBER.fullmatch(following) else it for it, following in pairs]


class Group(_Layout, TyperGroup):
    """A group of commands with such help; alone it prints it, which is not an error."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Print help if nothing was asked for."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Find a command by its name."""
        name = args[0]
        if name not in self.commands and not ctx.resilient_parsing and not name.startswith("-"):
            near = did_you_mean(name, self.commands)
            raise InputError(f"no command `{name}`{near}; {ctx.command_path} -h lists them")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the commands that most people need, then the others, each with its whole line."""
        names = [name for name, command in self.commands.items() if not command.hidden]
        width = max(map(len, names), default=0)
        first = sorted((name for name in names if name in FIRST_COMMANDS), key=FIRST_COMMANDS.index)
        rest = [name for name in names if name not in FIRST_COMMANDS]
        for title, listed in (("Commands", first), ("More commands" if first else "Commands", rest)):
            if listed:
                with formatter.section(title):
                    _write_rows(formatter, [(name, self._line_of(name)) for name in listed], width)

    def _line_of(self, name: str) -> str:
        return self.commands[name].get_short_help_str(limit=1000)


class CommandLine(typer.Typer):
    """A Typer app whose commands have such help."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as Typer takes them
        super().__init__(**{"cls": Group, "rich_markup_mode": None, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:  # noqa: ANN401
        """Add a command, whose options' values a shell can complete."""
        add = super().command(name, **{"cls": Command, **options})

        def added(command: Callable[..., Any]) -> Callable[..., Any]:
            complete_values(command)
            return add(command)

        return added
