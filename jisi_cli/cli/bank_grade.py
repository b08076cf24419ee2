"""`jisi bank grade`: the responses of a bank, graded again."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from jisi_cli.cli.opening import Run, may_call
from jisi_cli.cli.options import BankArgument, ConfigOption, DatasetsOption, grading_options, split_names
from jisi_cli.grading.registry import GradingOptions


@grading_options
@may_call
def grade(
    bank: BankArgument = None,
    config: ConfigOption = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", metavar="NAMES", help="Only responses of these models.")
    ] = None,
    datasets: DatasetsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing into the bank, and call no judge.")] = False,
    *,
    run: Run,
    grading: GradingOptions,
) -> None:
    """Grade the responses of a bank again. No model is called, except a judge where --judge names one.

    Each question says how it is graded, unless --grader does. The scores change in one step; the vectors stay.

    Example: jisi bank grade sample_data/bank --grader facts=contains --dry-run
    """
    from jisi_cli.cli.grading import grade_bank, raise_if_stopped, show_grading
    from jisi_cli.user import bank_folder, read_config

    settings = read_config(config, run.out)
    with closing(run.account(settings, "bank grade")) as account:
        data = grade_bank(
            bank_folder(bank, settings, run.out),
            grading,
            account,
            run.out,
            models=split_names(models),
            datasets=split_names(datasets),
            dry_run=dry_run,
        )
    if run.as_json:
        run.out.json(data)
    else:
        show_grading(data, run.out)
    raise_if_stopped(data)
