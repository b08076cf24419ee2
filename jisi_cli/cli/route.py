"""`jisi route`: who would answer, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jisi_cli.cli.options import (
    BankOption,
    ConfigOption,
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
    routing_options,
    split_names,
)
from jisi_cli.cli.output import Output
from jisi_cli.cli.report import require_page
from jisi_cli.errors import InputError


@routing_options
def route(
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="The question; `-` reads it from stdin.")
    ] = None,
    bank: BankOption = None,
    config: ConfigOption = None,
    models: ModelsOption = None,
    embedder: EmbedderOption = None,
    trust_embedder: TrustEmbedderOption = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="Route every question of a JSONL file, one JSON document a line; `-` is stdin.",
        ),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Call the candidates and complete the decision, without the aggregator.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show the nearest questions of the bank.")] = False,
    failed: FailedOption = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Draw the decision as a page (HTML), too.")
    ] = None,
    timeout: TimeoutOption = None,
    max_cost: MaxCostOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Use no cached answer, with --probe.")] = False,
    no_store: NoStoreOption = False,
    as_json: JsonOption = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON document a line.")] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    *,
    routing: dict[str, object],
) -> None:
    """Show who would answer a question, and why. No model is called without --probe.

    Example: jisi route "What is 17 * 23?" --config sample_data/jisi.toml
    """
    from jisi_cli.cli.embedder_choice import EmbedderChoice
    from jisi_cli.cli.pool import PoolOptions
    from jisi_cli.cli.questions import read_question
    from jisi_cli.cli.routing import route_many, route_one
    from jisi_cli.cli.session import PoolUse, Session

    if html is not None:
        if source is not None:
            raise InputError("--html draws one decision; leave out --input")
        require_page(html)
    out = Output(quiet=quiet, verbose=verbose)
    if source is not None and query is not None:
        raise InputError("give a question or --input, not both")
    text = None if source is not None else read_question(query)
    use: PoolUse = "required" if probe else "preferred"
    options = PoolOptions("route", not no_cache, timeout, max_cost, store=not no_store)
    choice = EmbedderChoice(embedder, trust_embedder)
    session = Session(bank, config, split_names(models), routing, out, options, use, choice, failed)
    if source is not None:
        route_many(session, source, probe=probe, explain=explain)
    elif text is not None:
        route_one(session, text, probe=probe, explain=explain, as_json=as_json, as_line=as_jsonl, html=html)
