"""`jisi bank grade`: the responses of a bank, graded again."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from jisi_cli.cli.options import (
    BankArgument,
    ConcurrencyOption,
    ConfigOption,
    DatasetsOption,
    EngineOption,
    JsonOption,
    LabelOption,
    MaxCostOption,
    NoStoreOption,
    QuietOption,
    TimeoutOption,
    VerboseOption,
    grading_options,
    split_names,
)
from jisi_cli.cli.output import Output
from jisi_cli.grading.registry import GradingOptions


@grading_options
def grade(
    bank: BankArgument = None,
    config: ConfigOption = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", metavar="NAMES", help="Only responses of these models.")
    ] = None,
    datasets: DatasetsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing into the bank, and call no judge.")] = False,
    max_cost: MaxCostOption = None,
    label: LabelOption = None,
    concurrency: ConcurrencyOption = None,
    engine: EngineOption = None,
    timeout: TimeoutOption = None,
    no_store: NoStoreOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    *,
    grading: GradingOptions,
) -> None:
    """Grade the responses of a bank again. No model is called, except a judge where --judge names one.

    Each question says how it is graded, unless --grader does. The scores change in one step; the vectors stay.

    Example: jisi bank grade sample_data/bank --grader facts=contains --dry-run
    """
    from jisi_cli.cli.grading import grade_bank, raise_if_stopped, show_grading
    from jisi_cli.cluster.engine import read_engine
    from jisi_cli.spending import RunAccount
    from jisi_cli.user import bank_folder, read_config

    out = Output(quiet=quiet, verbose=verbose)
    settings = read_config(config, out)
    account = RunAccount(
        settings,
        "bank grade",
        out,
        timeout=timeout,
        max_cost=max_cost,
        concurrency=concurrency,
        store=not no_store,
        label=label,
        engine=read_engine(engine),
    )
    with closing(account):
        data = grade_bank(
            bank_folder(bank, settings, out),
            grading,
            account,
            out,
            models=split_names(models),
            datasets=split_names(datasets),
            dry_run=dry_run,
        )
    if as_json:
        out.json(data)
    else:
        show_grading(data, out)
    raise_if_stopped(data)
