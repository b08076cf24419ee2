"""`jisi ask`: the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from jisi_cli.cli.options import (
    BankOption,
    ConcurrencyOption,
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
from jisi_cli.errors import InputError

_AGGREGATION = {"auto": "auto", "route": "never", "aggregate": "always"}


@routing_options
def ask(
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="The question; stdin is put behind it.")
    ] = None,
    bank: BankOption = None,
    config: ConfigOption = None,
    models: ModelsOption = None,
    embedder: EmbedderOption = None,
    trust_embedder: TrustEmbedderOption = False,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="Who answers, and how; eval --list-methods names all.")
    ] = "jisi",
    system: Annotated[
        str | None, typer.Option("--system", "-s", metavar="TEXT", help="A system message for every model.")
    ] = None,
    mode: Annotated[
        str, typer.Option("--mode", metavar="NAME", help="auto decides; route never aggregates, aggregate always.")
    ] = "auto",
    aggregate: Annotated[
        str | None, typer.Option("--aggregate", metavar="never", help="The same as --mode route.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show on stderr how the decision came about.")] = False,
    failed: FailedOption = None,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Write the answer as it arrives [on a terminal].")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Ask again what is cached.")] = False,
    no_store: NoStoreOption = False,
    timeout: TimeoutOption = None,
    max_cost: MaxCostOption = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", metavar="X", help="Sampling temperature [0.2].")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", min=1, help="Length of an answer at most.")
    ] = None,
    concurrency: ConcurrencyOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    *,
    routing: dict[str, object],
) -> None:
    """Answer a question with the pool. stdout is the answer alone; a footer on stderr says how it came about.

    Example: git diff | jisi ask "Review this change." --config sample_data/jisi.toml
    """
    from jisi_cli.cli.asking import AskRequest, run_ask
    from jisi_cli.cli.embedder_choice import EmbedderChoice
    from jisi_cli.cli.pool import PoolOptions
    from jisi_cli.cli.purse import amount
    from jisi_cli.cli.questions import checked_text, read_question
    from jisi_cli.cli.session import Session

    out = Output(quiet=quiet, verbose=verbose)
    if aggregate not in (None, "never"):
        raise InputError(f"--aggregate takes never, not {aggregate!r}; --mode aggregate always aggregates")
    mode = "route" if aggregate else mode
    if mode not in _AGGREGATION:
        raise InputError(f"--mode must be auto, route or aggregate, not {mode!r}")
    _check_method(method, mode, routing)
    text = read_question(query)
    options = PoolOptions("ask", not no_cache, timeout, max_cost, concurrency, store=not no_store)
    choice = EmbedderChoice(embedder, trust_embedder)
    session = Session(bank, config, split_names(models), routing, out, options, embedder=choice, failed=failed)
    request = AskRequest(
        text=text,
        method=method,
        system=None if system is None else checked_text(system, "--system"),
        aggregation=_AGGREGATION[mode],
        explain=explain,
        stream=stream,
        as_json=as_json,
        temperature=None if temperature is None else amount(temperature, "--temperature"),
        max_tokens=max_tokens,
    )
    raise typer.Exit(int(run_ask(session, request)))


def _check_method(method: str, mode: str, routing: Mapping[str, object]) -> None:
    """Refuse what cannot answer a question, and options that a method would not heed.

    Raises:
        InputError: Such a method or option was given.
    """
    from jisi_cli.methods.registry import method_info

    info = method_info(method)
    if info.needs == "labels" or method.partition(":")[0].endswith("-oracle"):
        raise InputError(f"--method: `{method}` must be told what no question tells; it is for `jisi eval` alone")
    if method != "jisi" and mode != "auto":
        raise InputError(f"--mode and --aggregate are JiSi's; leave them out with --method {method}")
    info.check_options(routing)
