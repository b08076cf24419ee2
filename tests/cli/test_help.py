"""Help: plain words in groups, short with `-h` and whole with `--help`, and readable where there is little room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from jisi_cli.cli.help import ADVANCED, GROUPS, group_of
from jisi_cli.cli.options import _CASCADE, _ROUTING
from tests.cli.commands import command_line, jisi

ROOT = typer.main.get_command(command_line())


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command and every group of commands."""
    yield words, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*words, name))


ALL = dict(commands(ROOT))


def flags_of(command: Any, group: str | None = None) -> set[str]:
    options = [one for one in command.params if one.param_type_name == "option"]
    return {flag for one in options if group in (None, group_of(one)) for flag in one.opts if flag.startswith("--")}


def shown_flags(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*", text))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_belongs_to_a_group(words: tuple[str, ...]) -> None:
    lost = [one.opts for one in ALL[words].params if one.param_type_name == "option" and group_of(one) is None]
    assert not lost, f"say in cli/help.py to which group {lost} of `jisi {' '.join(words)}` belong"


def test_no_group_names_an_option_that_is_gone() -> None:
    known = {flag for command in ALL.values() for flag in flags_of(command)} | {"--help"}
    assert {flag for flags in GROUPS.values() for flag in flags} <= known


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_the_short_help_has_the_usual_options_and_the_whole_help_has_all(words: tuple[str, ...]) -> None:
    command = ALL[words]
    short, whole = jisi(*words, "-h").stdout, jisi(*words, "--help").stdout
    advanced = flags_of(command, ADVANCED)
    below = re.split(r"\n\n(?=[A-Z][a-z ]+:\n)", short, maxsplit=1)[1]  # past what the command is about
    options = below.partition(f"\n{ADVANCED}: ")
    for flag in flags_of(command) - advanced:
        assert f"{flag} " in options[0] or f"{flag}\n" in options[0] or f"{flag}," in options[0], flag
    if advanced:
        assert not advanced & set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", options[0], flags=re.MULTILINE))
        assert "see --help" in options[2]
    assert flags_of(command) <= shown_flags(whole)
    assert whole.count("\n") >= short.count("\n")


def test_the_advanced_options_are_one_line_of_the_short_help() -> None:
    (line,) = [line for line in jisi("ask", "-h").stdout.splitlines() if line.startswith(ADVANCED)]
    number = sum(group_of(one) == ADVANCED for one in ALL["ask",].params)
    assert line == f"Advanced: --unlike, --failed, --n-base and {number - 3} more; see --help."


def test_groups_come_in_one_order_in_every_command() -> None:
    for words in ALL:
        headings = re.findall(r"^([A-Z][a-z]+):$", jisi(*words, "--help").stdout, flags=re.MULTILINE)
        found = [heading for heading in headings if heading in GROUPS]
        assert found == sorted(found, key=list(GROUPS).index)
        assert len(found) == len(set(found))


def test_the_commands_that_most_people_need_come_first() -> None:
    top = jisi("--help").stdout
    first, _, rest = top.partition("More commands:")
    names = re.findall(r"^  ([a-z]+)  ", first.partition("Commands:")[2], flags=re.MULTILINE)
    assert names == ["ask", "chat", "route", "eval", "cost", "bank"]
    assert "  report  " in rest
    bank = jisi("bank", "--help").stdout.partition("More commands:")
    assert re.findall(r"^  ([a-z]+)  ", bank[0], flags=re.MULTILINE) == ["build", "inspect"]
    assert "calibrate" in bank[2]
    assert all(name in top for name in ROOT.commands)


@pytest.mark.parametrize("words", [(), ("bank",)])
def test_a_group_of_commands_alone_prints_its_help_and_that_is_no_error(words: tuple[str, ...]) -> None:
    run = jisi(*words)
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.stdout == jisi(*words, "-h").stdout


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_fits_sixty_columns(words: tuple[str, ...]) -> None:
    def shown(width: int) -> str:
        # A terminal of a width gets lines two characters shorter.
        return str(CliRunner().invoke(command_line(), [*words, "--help"], terminal_width=width - 2).stdout)

    assert max(map(len, shown(60).splitlines())) <= 60
    assert shown(60).split() == shown(80).split()  # no word is broken or lost


@pytest.mark.parametrize("name", {**_ROUTING, **_CASCADE})
def test_a_setting_is_explained_in_plain_words_with_the_papers_symbol_behind(name: str) -> None:
    _, text, symbol = {**_ROUTING, **_CASCADE}[name]
    (option,) = [one for one in ALL["ask",].params if one.name == name]
    words, _, behind = option.help.rpartition("]")
    assert words.startswith(text)
    assert not re.search(r"[α-ω]", words)
    for jargon in ("aggregat", "candidate", "support set", "mixed filter", "fine score", "hyperparameter"):
        assert jargon not in words
    if symbol not in ("", "ours"):
        assert behind == f" (paper: {symbol})."


def test_a_long_explanation_is_left_to_the_whole_help() -> None:
    short, whole = jisi("cost", "-h").stdout, jisi("cost", "--help").stdout
    assert "Example: jisi cost" in short
    assert "saving = 1 - ours" not in short
    assert "saving = 1 - ours" in whole
