"""`jisi bank label`: which answers are right, said by a person, here or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jisi_cli.cli.options import (
    BankArgument,
    ConfigOption,
    JsonOption,
    QuietOption,
    VerboseOption,
)
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError


def label(
    bank: BankArgument = None,
    config: ConfigOption = None,
    number: Annotated[
        int, typer.Option("--n", metavar="N", min=1, help="Stop when the bank has this many labels.")
    ] = 30,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write the questions as JSONL (- for stdout) instead of asking."),
    ] = None,
    import_: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Read such a file, filled in, instead of asking.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say which answers are right, on the questions where the models differ most. No model is called or named.

    One reply a line, each kept at once: the number of an answer, `=TEXT` for another one, `n` if none is right, `s` to
    skip, `u` to undo, `m` for the whole text, `q` to stop and continue later. From 20 labels on they say which models
    to believe on all other questions that no grader has scored.

    Example: jisi bank label sample_data/bank --n 30
    """
    from jisi_cli.cli.label_session import export_from, import_into, label_bank
    from jisi_cli.user import bank_folder, read_config

    out = Output(quiet=quiet, verbose=verbose)
    if export is not None and import_ is not None:
        raise InputError("--export writes a file and --import reads one; give one of them")
    if str(export) == "-" and as_json:
        raise InputError("--export - and --json both write to standard output; leave one of them out")
    path = bank_folder(bank, read_config(config, out), out)
    if import_ is not None:
        data = import_into(path, import_, out)
    elif export is not None:
        data = export_from(path, export, out, wanted=number)
    else:
        data = label_bank(path, out, wanted=number)
    if as_json:
        out.json(data)
