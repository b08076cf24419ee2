"""`jisi trust`: allow a pool file in a folder to name addresses and keys, until it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jisi_cli import trust as record
from jisi_cli.addresses import read_address
from jisi_cli.cli.options import QuietOption
from jisi_cli.cli.output import Column, Output
from jisi_cli.config import Config, load_config
from jisi_cli.errors import InputError
from jisi_cli.user import what_it_names

_POOL_FILE = "jisi.toml"


def trust(
    place: Annotated[str, typer.Argument(metavar="[FOLDER|FILE]", help="The pool file, or its folder.")] = ".",
    listed: Annotated[bool, typer.Option("--list", help="Print what is allowed; allow nothing.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Stop allowing it; an embedder is given by name.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Allow the pool file in a folder to name addresses and keys, until it changes.

    A pool file in your own configuration folder, or one named with --config or JISI_CONFIG, needs no permission.

    Example: jisi trust .
    """
    out = Output(quiet=quiet)
    if listed and forget:
        raise InputError("--list shows and --forget takes away; give one of them")
    if listed:
        _show(out)
    elif forget:
        _forget(place, out)
    else:
        _allow(_pool_file(place), out)


def _pool_file(place: str) -> Path:
    path = Path(place)
    return path / _POOL_FILE if path.is_dir() else path


def _allow(path: Path, out: Output) -> None:
    if not path.is_file():
        raise InputError(f"no pool file at {path}; name the file, or the folder that it lies in")
    config = load_config(path)
    label = str(path.resolve())
    # What the file said before is no longer what was read and allowed.
    record.distrust("pool_files", label)
    record.trust("pool_files", config.identity, label)
    for words in _what_is_allowed(config):
        out.note(words)
    out.note(f"{label} is allowed until it changes; undo that with jisi trust --forget")


def _what_is_allowed(config: Config) -> list[str]:
    """Say what the file leads to, a line for each model and for the embedder."""
    from jisi_cli.callees import endpoint_entry
    from jisi_cli.embed.protocol import EmbedderSpec

    lines = [f"`{entry.name}` {', '.join(wants)}" for entry in config.models if (wants := list(what_it_names(entry)))]
    name = config.embedder.get("name")
    if name is not None:
        endpoint = endpoint_entry(EmbedderSpec(name), config)
        wants = [] if endpoint is None else list(what_it_names(endpoint))
        lines.append(", ".join([f"the embedder is {name}", *wants]))
    if config.bank is not None:
        lines.append(f"the bank is {read_address(config.bank) or config.bank}")
    return lines


def _show(out: Output) -> None:
    rows = [[label, "pool file", _state(Path(label), identity)] for identity, label in _by_label("pool_files")]
    rows += [[label, "embedder", ""] for _, label in _by_label("embedders")]
    if not rows:
        out.note("nothing is allowed yet")
        return
    out.table([Column("allowed"), Column("kind"), Column("now")], rows)


def _by_label(kind: record.Kind) -> list[tuple[str, str]]:
    return sorted(record.trusted(kind).items(), key=lambda item: item[1])


def _state(path: Path, identity: str) -> str:
    try:
        current = record.file_identity(path, path.read_bytes())
    except OSError:
        return "is gone"
    return "as it was" if current == identity else "has changed: allow it again"


def _forget(place: str, out: Output) -> None:
    label = str(_pool_file(place).resolve())
    found = record.distrust("pool_files", label) + record.distrust("embedders", place)
    if not found:
        raise InputError(f"{label} was not allowed; jisi trust --list shows what is")
    out.note(f"{place} is no longer allowed")
