"""`jisi init`: write a first pool file from the keys in the environment and the servers on this machine."""

from __future__ import annotations

import math
import os
import re
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jisi_cli.cli.options import QuietOption, split_names
from jisi_cli.cli.output import Output, count
from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.files import OutputKind, written
from jisi_cli.paths import config_folder, own_folder

if TYPE_CHECKING:
    from jisi_cli.models.discovery import KeyedProvider


_POOL_FILE = "jisi.toml"
_KIND = OutputKind("pool file", re.compile(rb"(?!)"))
"""What it writes; nothing that is there counts as such a file, so nothing is ever replaced."""
_LONGEST_REPLY = 1000
_LONGEST_ANSWER = 8000
"""Tokens of an answer, where a run's dollars are limited."""
_HEAD = """\
# The pool of jisi: the models that it may ask. `jisi models` lists them, `jisi models --check` asks each for one word.
# Keys are read from the environment and never stored here.

# Without a bank jisi asks the models in the order of this file. With a bank of graded answers it knows which of them is
# good at what. To make one from questions that jisi brings, or from your own with known answers:
#     jisi bank build --starter --call -o my-bank
#     jisi bank build questions.jsonl --call -o my-bank
# bank = "my-bank"
"""


def init(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write; it must not exist yet [./jisi.toml]."),
    ] = None,
    providers: Annotated[
        list[str] | None,
        typer.Option("--providers", metavar="NAMES", help="These providers, whether or not their keys are set yet."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take everything found.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Write a jisi.toml with models for the keys in your environment and the servers on this machine.

    A running Ollama or llama.cpp is asked which models it has. Keys are found by the names of their variables. On a
    terminal you are asked where to write it, which models to take, and what a run may cost.

    Example: jisi init --providers openai,gemini --output team.toml
    """
    out = Output(quiet=quiet)
    asks = not yes and sys.stdin is not None and sys.stdin.isatty() and out.stderr_is_terminal
    names = split_names(providers)
    found = named(names) if names else everything()
    if not names:
        out.note(f"found {', '.join(one.title for one in found)}")
    begin_to_look_up(found)
    path = _free_path(output or (_chosen_place(out) if asks else Path(_POOL_FILE)), out, asks=asks)
    if not names and asks and len(found) > 1:
        found = _chosen(found, out)
    costs = any(one.api_base is None for one in found)
    limit = _chosen_limit(out) if asks and costs else None
    found = looked_up(found, out)
    tables = _tables(found, limited=limit is not None)
    budget = [] if limit is None else [f"[budget]\nmax_cost = {limit:g}  # USD for one run\n"]
    _write(path, "\n".join([_HEAD, *budget, *tables]).encode(), out)
    out.note(f"{path}: {count(len(tables), 'model')} from {', '.join(one.title for one in found)}")
    for one in found:
        if one.needs is not None:
            out.note(f"{one.title}: {one.needs}")
    shown = "" if path in (Path(_POOL_FILE), _own_path()) else f" --config {path}"
    out.note(f'next: jisi models --check{shown}, then jisi ask{shown} "..."')


def _free_path(path: Path, out: Output, *, asks: bool) -> Path:
    """Return the file to write, which is not there yet; a person is asked for another name.

    Raises:
        InputError: It is there, or there is no folder for it.
    """
    while os.path.lexists(path):
        words = f"{path} exists, and init never replaces a file"
        reply = out.reply(f"{words}. Another name (Enter to stop):", _LONGEST_REPLY) if asks else None
        if not reply:
            raise InputError(f"{words}; name another with --output, or move it away")
        path = Path(reply)
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it, or name another file")
    return path


def _tables(found: list[Found], *, limited: bool) -> list[str]:
    """Return each model as the pool file writes it; the names hold nothing that TOML would read otherwise.

    Args:
        found: Whose models.
        limited: Whether a run may cost so much and no more; then it must be known how long an answer may get.
    """
    ends = Counter(model.rpartition("/")[2] for one in found for model in one.models)
    tables = []
    for one in found:
        for model in one.models:
            end = model.rpartition("/")[2]
            # Several providers serve one open model.
            name = end if ends[end] == 1 else f"{one.name}/{model.partition('/')[2]}"
            table = f'[[models]]\nname = "{name}"\nlitellm = "{model}"\n'
            if one.api_base is not None:
                # It runs on this machine, mostly on all of it: one call at a time, and nobody sends a bill.
                table += f'api_base = "{one.api_base}"\nconcurrency = 1\nprice = {{ input = 0, output = 0 }}\n'
            elif limited:
                table += f"params = {{ max_tokens = {_LONGEST_ANSWER} }}  # what a limit on dollars must reckon with\n"
            tables.append(table)
    return tables


# What a person at a terminal is asked.


def _chosen_place(out: Output) -> Path:
    """Ask whether the pool is for this folder or for every one."""
    out.show(f"1  for this folder and those below it: {_POOL_FILE}\n2  for every folder: {_own_path()}")
    if _numbers("Where to? (Enter for 1)", 2, out) == [2]:
        try:
            own_folder(config_folder())
        except OSError as error:
            raise InputError(f"{config_folder()}: cannot be made ({error.strerror or error}); choose 1") from error
        return _own_path()
    return Path(_POOL_FILE)


def _own_path() -> Path:
    return config_folder() / _POOL_FILE


def _chosen(found: list[Found], out: Output) -> list[Found]:
    """Ask which of the providers to take."""
    for number, one in enumerate(found, start=1):
        out.show(f"{number}  {one.title}" + (f": {count(len(one.models), 'model')}" if one.models else ""))
    numbers = _numbers("Which? (numbers separated by commas, Enter for all)", len(found), out)
    return [one for number, one in enumerate(found, start=1) if not numbers or number in numbers]


def _chosen_limit(out: Output) -> float | None:
    """Ask how many dollars a run may cost; None for no limit."""
    while True:
        reply = _reply("How many dollars may one run cost at most? (Enter for no limit)", out).strip("$ ")
        if not reply:
            return None
        with suppress(ValueError):
            limit = float(reply.replace(",", "."))
            if 0 < limit < math.inf:
                return limit
        out.show("a number of dollars, such as 0.5")


def _numbers(question: str, most: int, out: Output) -> list[int]:
    """Ask for some of the numbers from 1; none where the person wants what is proposed."""
    while True:
        words = _reply(question, out).replace(",", " ").split()
        if all(word.isdecimal() and 1 <= int(word) <= most for word in words):
            return [int(word) for word in words]
        out.show(f"the numbers go from 1 to {most}")


def _reply(question: str, out: Output) -> str:
    reply = out.reply(question, _LONGEST_REPLY)
    if reply is None:
        raise InputError("no answer came, and nothing was written; --yes asks nothing and takes all that is found")
    return reply


def _write(path: Path, content: bytes, out: Output) -> None:
    """Write the file as a whole, and remember that the user allows it, as `jisi trust` does.

    It says what jisi wrote on the user's own word, so what is allowed is that, and not what the disk holds afterwards.

    Raises:
        InputError: It cannot be written, or something has appeared at its place.
    """
    from jisi_cli import trust

    with written(path, _KIND) as file:
        file.write(content)
    label = str(path.resolve())
    try:
        trust.distrust("pool_files", label)
        trust.trust("pool_files", trust.file_identity(path, content), label)
    except InputError as error:
        out.warn(f"{error}; run `jisi trust {path}` before models on this machine are asked")


# What a first pool can be made of, as a person is told of it.

_MOST_LOCAL = 6
"""Models of one local server in a first pool."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where models can be asked.

    Attributes:
        name: The provider's name, as in --providers.
        title: What a person is told, with the variable of the key or the address.
        models: LiteLLM's names of its models; none of a provider elsewhere until they are looked up.
        provider: The provider elsewhere; None for a server on this machine.
        api_base: Its address on this machine; None for a provider elsewhere.
        needs: What must still be done before it answers; None when nothing.
    """

    name: str
    title: str
    models: tuple[str, ...] = ()
    provider: KeyedProvider | None = None
    api_base: str | None = None
    needs: str | None = None


def named(names: list[str]) -> list[Found]:
    """Return what providers have that the user named.

    Raises:
        InputError: There is no such provider, or no such server answers.
    """
    from jisi_cli.models.discovery import KEYED, LOCAL_NAMES, NAMES

    unknown = next((name for name in names if name not in NAMES), None)
    if unknown is not None:
        raise InputError(
            f"--providers: no provider `{unknown}`{did_you_mean(unknown, NAMES)}; choose from {', '.join(NAMES)}"
        )
    servers = []
    for name in LOCAL_NAMES:
        if name in names:
            server = _local(name)
            if server is None:
                raise InputError(
                    f"--providers: no {name} with models answers on this machine; start it, or leave it out"
                )
            servers.append(server)
    return servers + [_keyed(provider) for provider in KEYED if provider.name in names]


def everything() -> list[Found]:
    """Return what can be asked as things are.

    Raises:
        InputError: Nothing can.
    """
    from jisi_cli.models.discovery import KEYED, LOCAL_NAMES, variable_with_key

    servers = [server for name in LOCAL_NAMES if (server := _local(name)) is not None]
    found = servers + [_keyed(provider) for provider in KEYED if variable_with_key(provider)]
    if not found:
        raise InputError(
            "no key is in the environment and no Ollama or llama.cpp answers on this machine; set a key such as "
            "OPENAI_API_KEY, start a server, or say whose key you will set: jisi init --providers openai (to see jisi "
            "first: jisi demo)"
        )
    return found


def begin_to_look_up(found: list[Found]) -> None:
    """Begin to import LiteLLM, whose list has the newest models; a person can be asked meanwhile."""
    from jisi_cli.models.litellm_client import begin_loading

    if any(_is_listed(one) for one in found):
        begin_loading()


def looked_up(found: list[Found], out: Output) -> list[Found]:
    """Return what was found with the models of the providers elsewhere."""
    from jisi_cli.models.discovery import first_models
    from jisi_cli.models.litellm_client import begin_loading

    if any(_is_listed(one) for one in found) and not (loading := begin_loading()).done():
        out.note("looking up their newest models in LiteLLM's list, which takes a few seconds to load")
        loading.result()
    return [one if one.provider is None else replace(one, models=first_models(one.provider)) for one in found]


def _local(name: str) -> Found | None:
    from jisi_cli.models.discovery import find_server

    server = find_server(name)
    if server is None:
        return None
    models = tuple(f"openai/{model}" for model in server.models[:_MOST_LOCAL])
    more = len(server.models) - len(models)
    needs = f"{count(more, 'more model')} left out; add what you want to the file" if more > 0 else None
    title = f"{server.title} at {server.api_base.removesuffix('/v1')}"
    return Found(name, title, models, api_base=server.api_base, needs=needs)


def _keyed(provider: KeyedProvider) -> Found:
    from jisi_cli.models.discovery import variable_with_key

    variable = variable_with_key(provider)
    needs = None if variable else f"set {provider.variables[0]} in the environment before you ask"
    if needs is None and not provider.listed:
        needs = "LiteLLM does not know its prices; write `price` beside its models: a limit on dollars needs it"
    title = f"{provider.title} ({variable})" if variable else provider.title
    return Found(provider.name, title, provider=provider, needs=needs)


def _is_listed(one: Found) -> bool:
    return one.provider is not None and one.provider.listed
