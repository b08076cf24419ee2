"""`jisi mcp`: the pool as tools of an agent."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from jisi_cli.cli.options import (
    BankOption,
    ConcurrencyOption,
    ConfigOption,
    EmbedderOption,
    FailedOption,
    MaxCostOption,
    MaxCostPerDayOption,
    ModelsOption,
    NoStoreOption,
    QuietOption,
    TimeoutOption,
    TrustEmbedderOption,
    VerboseOption,
    method_options,
    split_names,
)
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError


@method_options
def mcp(
    bank: BankOption = None,
    config: ConfigOption = None,
    models: ModelsOption = None,
    embedder: EmbedderOption = None,
    trust_embedder: TrustEmbedderOption = False,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="Who answers; eval --list-methods names all.")
    ] = "jisi",
    failed: FailedOption = None,
    timeout: TimeoutOption = None,
    max_cost: MaxCostOption = None,
    max_cost_per_day: MaxCostPerDayOption = None,
    concurrency: ConcurrencyOption = None,
    no_store: NoStoreOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    *,
    routing: dict[str, Any],
) -> None:
    """Offer the pool to an agent as tools, over the Model Context Protocol on stdin and stdout.

    An agent's settings name the command; it starts and ends the process itself. The tools are ask, route and cost.

    Example: jisi mcp --config sample_data/jisi.toml
    """
    _require_extra()
    from jisi_cli.jisi import Jisi

    out = Output(quiet=quiet, verbose=verbose)
    if sys.stdin is not None and sys.stdin.isatty():
        out.note("an agent starts this and talks with it on stdin and stdout; Ctrl-D or Ctrl-C ends it")
    pool = Jisi(
        bank,
        config,
        method=method,
        models=split_names(models),
        embedder=embedder,
        trust_embedder=trust_embedder,
        failed=failed,
        calls="required",
        max_cost=max_cost,
        max_cost_per_day=max_cost_per_day,
        timeout=timeout,
        concurrency=concurrency,
        store=not no_store,
        user=out,
        command="mcp",
        **routing,
    )
    from jisi_cli.serve.mcp_server import make_server

    make_server(pool).run()


def _require_extra() -> None:
    """Refuse to begin without the protocol's package, or with its first release, which has no such server.

    Raises:
        InputError: It is so.
    """
    try:
        found = version("mcp")
    except PackageNotFoundError:
        raise InputError("`mcp` is not installed; `pip install 'jisi[mcp]'` installs what an agent needs") from None
    if found.startswith(("0.", "1.")):
        raise InputError(f"mcp {found} is too old; `pip install 'jisi[mcp]'` installs what an agent needs")
