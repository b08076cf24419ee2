"""`jisi eval`: how good, at what price."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jisi_cli.cli.options import (
    LARGEST_SEED,
    BankOption,
    ConcurrencyOption,
    ConfigOption,
    DatasetsOption,
    EmbedderOption,
    FailedOption,
    JsonOption,
    MaxCostOption,
    ModelsOption,
    NoStoreOption,
    QuietOption,
    TimeoutOption,
    TrustEmbedderOption,
    VerboseOption,
    grading_options,
    routing_options,
    split_names,
)
from jisi_cli.cli.output import Output
from jisi_cli.cli.report import require_page
from jisi_cli.errors import InputError
from jisi_cli.grading.registry import GradingOptions

_DEFAULT_METHODS = "best-single,jisi-query,jisi-router,jisi-vote,jisi"
_BOUND = "oracle"
"""It is read off recorded answers, so a live run goes without it."""


@grading_options
@routing_options
def evaluate(
    test: Annotated[
        str | None,
        typer.Argument(metavar="[TEST]", help="A bank (its test rows), recorded answers, or questions; `-` is stdin."),
    ] = None,
    bank: BankOption = None,
    config: ConfigOption = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method", "-m", metavar="NAMES", help=f"Methods, or `all` [{_DEFAULT_METHODS}, and in a replay {_BOUND}]."
        ),
    ] = None,
    list_methods: Annotated[bool, typer.Option("--list-methods", help="Name the methods and what they need.")] = False,
    versus: Annotated[
        list[str] | None, typer.Option("--versus", metavar="METHOD", help="Compare with this method, too.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Call the models of the pool; answers are graded.")] = False,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="One line per question and method; resumed.")
    ] = None,
    format: Annotated[str | None, typer.Option("--format", metavar="NAME", help="Format of TEST [found out].")] = None,
    models: ModelsOption = None,
    embedder: EmbedderOption = None,
    trust_embedder: TrustEmbedderOption = False,
    datasets: DatasetsOption = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Questions per dataset.")] = None,
    prices: Annotated[
        Path | None,
        typer.Option("--prices", metavar="FILE", help="List prices (JSON), where no dollars were recorded."),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="NAME=V,V", help="Try settings on a validation slice of train."),
    ] = None,
    grow: Annotated[
        Path | None, typer.Option("--grow", metavar="FILE", help="Add models in this order, one name a line (Fig. 5).")
    ] = None,
    grow_from: Annotated[int, typer.Option("--grow-from", metavar="N", min=1, help="Models to begin with.")] = 5,
    ablate: Annotated[bool, typer.Option("--ablate", help="Leave out one part of the method at a time.")] = False,
    curve: Annotated[
        bool, typer.Option("--curve", help="What quality costs: methods that trade it for dollars, at eleven weights.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the comparison as a page (HTML), too.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", min=0, max=LARGEST_SEED, help="Seed of the bootstrap and of random methods."
        ),
    ] = 42,
    fail_under: Annotated[
        str | None,
        typer.Option(
            "--fail-under", metavar="X[:METHOD]", help="Exit 6 when a method's Avg in % is below [the first]."
        ),
    ] = None,
    failed: FailedOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first line that cannot be used.")] = False,
    timeout: TimeoutOption = None,
    max_cost: MaxCostOption = None,
    concurrency: ConcurrencyOption = None,
    no_store: NoStoreOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    *,
    routing: dict[str, object],
    grading: GradingOptions,
) -> None:
    """Compare methods on test questions. Recorded answers are replayed: no call, no key.

    Example: jisi eval sample_data/bank --method best-single,knn,jisi-router
    """
    out = Output(quiet=quiet, verbose=verbose)
    from jisi_cli.cli.evaluating import run_eval, show_methods

    if list_methods:
        show_methods(out, as_json=as_json)
        return
    from jisi_cli.cli.embedder_choice import EmbedderChoice
    from jisi_cli.cli.entries import EvalRequest
    from jisi_cli.cli.grading import require_grading
    from jisi_cli.cli.pool import PoolOptions

    if sum(map(bool, (sweep, grow, ablate, curve))) > 1:
        raise InputError("--sweep, --grow, --ablate and --curve are experiments of their own; give one of them")
    if sweep:
        _refuse_beside_sweep(
            report=report,
            out=out_file,
            live=live,
            fail_under=fail_under,
            versus=versus,
            datasets=datasets,
            limit=limit,
        )
    if report is not None:
        require_page(report, results=out_file)
    require_grading("--live", grading, present=live)
    request = EvalRequest(
        test=test,
        bank=bank,
        config=config,
        methods=tuple(split_names([_default_methods(live) if method is None else method]) or ()),
        versus=tuple(split_names(versus) or ()),
        live=live,
        out_file=out_file,
        format=format,
        models=split_names(models),
        datasets=split_names(datasets),
        limit=limit,
        prices=prices,
        sweep=tuple(sweep or ()),
        grow=grow,
        grow_from=grow_from,
        ablate=ablate,
        curve=curve,
        seed=seed,
        fail_under=fail_under,
        failed=failed,
        strict=strict,
        pool=PoolOptions("eval", True, timeout, max_cost, concurrency, store=not no_store),
        routing=routing,
        grading=grading,
        as_json=as_json,
        report=report,
        embedder=EmbedderChoice(embedder, trust_embedder),
    )
    run_eval(request, out)


def _refuse_beside_sweep(**unheeded: object) -> None:
    """Refuse options that a comparison of settings on train rows would pass over in silence.

    Raises:
        InputError: One was given.
    """
    for name, value in unheeded.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"--sweep compares settings on train rows and heeds no {option}; leave it out")


def _default_methods(live: bool) -> str:
    return _DEFAULT_METHODS if live else f"{_DEFAULT_METHODS},{_BOUND}"
