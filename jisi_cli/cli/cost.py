"""`jisi cost`: where the money went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jisi_cli.cli.options import BankOption, ConfigOption, JsonOption, QuietOption, VerboseOption, split_names
from jisi_cli.cli.output import Output


def cost(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN|FILE]…", help="Runs of the ledger (`last`, or an id), or result files of eval."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="NAMES", help="model, dataset, role, day, run, command, method [model]."),
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option("--run", metavar="ID", help="Only this run of the ledger; `last` is the latest.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="From this day on (UTC), as in 2026-01-31.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="Up to this day (UTC), included.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="MODEL", help="Compare with MODEL answering each question once."),
    ] = None,
    bank: BankOption = None,
    prices: Annotated[
        Path | None, typer.Option("--prices", metavar="FILE", help="List prices (JSON) for --against; else the pool's.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    erase: Annotated[
        bool, typer.Option("--erase", help="Forget it all: erase the ledger and what is cached; asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --erase: do not ask.")] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Add up past calls: tokens, dollars paid, and what cached calls would have cost.

    Without a FILE this is the ledger, which holds every call of ask, route, eval, bank build and bank grade. With
    files of `eval --out` it is what each method made of the test questions (by method, unless --by says
    otherwise); what the judge and the embedder cost stands in the ledger alone.

    A price that nobody knows is unknown, never $0. Days are in UTC.

    --against MODEL: the work are the answered questions (every `ask`; every question and method of a file).
    Ours costs what all its calls cost at list price, probes and aggregator included. MODEL would have answered
    each question once: at the tokens that the bank recorded of it for that question, else at the tokens of the
    bare question's prompt and of our final answer (in the ledger, which does not know the winner of a routed
    question, the mean of the responses). saving = 1 - ours / MODEL's.

    --erase empties the ledger, the cached answers and vectors, and what methods learned, for good: an answer
    that was paid for is paid for again. Banks and files that you named stay. Others may be at work meanwhile.

    Example: jisi cost --by command,model --since 2026-01-01
    """
    out = Output(quiet=quiet, verbose=verbose)
    if erase or yes:
        from jisi_cli.cli.erasing import require_alone, run_erasing

        require_alone(
            erase=erase,
            RUN=sources,
            **{"--by": by, "--run": run, "--since": since, "--until": until},
            **{"--against": against, "--bank": bank, "--prices": prices, "--csv": as_csv},
        )
        run_erasing(out, asks=not yes, as_json=as_json)
        return
    from jisi_cli.cli.costing import CostRequest, run_cost

    request = CostRequest(
        sources=tuple(sources or ()),
        by=tuple(split_names(by) or ()),
        runs=tuple(split_names(run) or ()),
        since=since,
        until=until,
        against=against,
        bank=bank,
        prices=prices,
        config=config,
        as_json=as_json,
        as_csv=as_csv,
    )
    run_cost(request, out)
