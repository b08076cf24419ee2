"""The formats by name, each importer resolved when it is first used, and the one way in: `read_records`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

from jisi_cli.bank.importers.detect import QUESTIONS, detect, refuse_pickle
from jisi_cli.bank.importers.protocol import Importer, OnProblem
from jisi_cli.bank.records import Record
from jisi_cli.errors import InputError

IMPORTERS: dict[str, str] = {
    "jisi": "jisi_cli.bank.importers.jisi:read",
    "jisi-release": "jisi_cli.bank.importers.jisi_release:read",
    "long": "jisi_cli.bank.importers.long:read",
    "llmrouterbench": "jisi_cli.bank.importers.llmrouterbench:read",
    "zeroeval": "jisi_cli.bank.importers.zeroeval:read",
    "llmrouter": "jisi_cli.bank.importers.llmrouter:read",
    "embedllm": "jisi_cli.bank.importers.embedllm:read",
    "routerbench": "jisi_cli.bank.importers.routerbench:read",
    "lm-eval": "jisi_cli.bank.importers.lm_eval:read",
    "inspect": "jisi_cli.bank.importers.inspect_logs:read",
}


def importer(format: str) -> Importer:
    """Return the importer of a format.

    Raises:
        InputError: There is no such format.
    """
    if format not in IMPORTERS:
        raise InputError(f"no format called `{format}`; --format takes {', '.join(IMPORTERS)}")
    module, _, function = IMPORTERS[format].partition(":")
    return cast(Importer, getattr(import_module(module), function))


def read_records(source: Path, format: str | None = None, *, on_problem: OnProblem) -> Iterator[Record]:
    """Return the recorded answers of a file or folder, one at a time; the format is found at once.

    Args:
        source: The file or folder.
        format: A key of `IMPORTERS`; None to find out.
        on_problem: Told of everything that is skipped; it may raise to stop at the first.

    Raises:
        InputError: The source cannot be read, is of no known format, or holds no usable answer.
    """
    refuse_pickle(source)
    found = format or detect(source)
    if found == QUESTIONS:
        raise InputError(f"{source}: questions without recorded answers; `jisi bank build --call` asks the pool")
    return _some(importer(found)(source, on_problem), source, found)


def _some(records: Iterator[Record], source: Path, format: str) -> Iterator[Record]:
    empty = True
    for record in records:
        empty = empty and record.status == "missing"
        yield record
    if empty:
        raise InputError(f"{source}: no usable answer in it, read as the format {format}; --format names another")
