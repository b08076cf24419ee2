"""`jisi models`: the pool, what is known of each model, and whether it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jisi_cli.cli.options import (
    ConfigOption,
    JsonOption,
    LabelOption,
    MaxCostOption,
    ModelsOption,
    QuietOption,
    VerboseOption,
    split_names,
)
from jisi_cli.cli.output import Column, Output, count, one_line
from jisi_cli.errors import BankError, BudgetError, InputError, NoAnswerError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jisi_cli.bank.bank import Bank
    from jisi_cli.config import Config, ModelEntry
    from jisi_cli.types import Answer, Message

_QUESTION = "Reply with one word: ready"
_LONGEST = 1024
"""Tokens of the word that --check asks for: models that think write more than the word."""
_PATIENCE = 60.0
"""Seconds for a check, where neither a flag nor the pool file says."""


def models(
    config: ConfigOption = None,
    only: ModelsOption = None,
    check: Annotated[bool, typer.Option("--check", help="Ask each model for one word.")] = False,
    known: Annotated[
        str | None, typer.Option("--known", metavar="WORD", help="Search LiteLLM's list of models instead.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="S", help="Seconds per call of --check [60].")
    ] = None,
    max_cost: MaxCostOption = None,
    label: LabelOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List the models of the pool: key, price, context, and what each can do.

    A question mark stands for what is not known. Keys are named, never shown.

    Example: jisi models --config sample_data/jisi.toml
    """
    out = Output(quiet=quiet, verbose=verbose)
    if known is not None:
        if check or only is not None or config is not None:
            raise InputError("--known searches LiteLLM's list, not the pool; leave out --check, --models and --config")
        _search(known, out, as_json=as_json)
        return
    from jisi_cli.user import read_config

    pool = read_config(config, out)
    _check_settings(pool)
    entries = _wanted(pool, split_names(only))
    answers = _ask_each(pool, entries, out, timeout, max_cost, label) if check else None
    rows = [_row(entry, None if answers is None else answers[entry.name]) for entry in entries]
    if as_json:
        out.json({"pool": str(pool.path), "models": rows})
    else:
        _show(rows, out, checked=check)
    if answers is not None:
        _judge(answers, out)


def _wanted(pool: Config, names: list[str] | None) -> list[ModelEntry]:
    from jisi_cli.callees import require_models

    require_models(pool)
    known = [entry.name for entry in pool.models]
    for name in names or ():
        if name not in known:
            near = did_you_mean(name, known)
            raise InputError(f"--models: {pool.path} has no `{name}`{near}; choose from {', '.join(known)}")
    return [entry for entry in pool.models if names is None or entry.name in names]


def _check_settings(pool: Config) -> None:
    """Refuse what `jisi ask` would refuse of [routing] and [budget]: this is the command to check a pool file with.

    Whether values go together may depend on what the bank holds. Where it cannot be opened here and now, or only by
    asking an object store, their names alone are looked at.

    Raises:
        InputError: A setting is unknown or out of bounds.
    """
    from jisi_cli.spending import check_limits

    check_limits(pool)
    if not pool.routing:
        return
    from jisi_cli.bank.no_bank import NoBank
    from jisi_cli.configured_method import routing_of, settings_in_force

    no_bank, where = NoBank([entry.name for entry in pool.models]), routing_of(pool)
    try:
        settings_in_force(_bank_on_disk(pool) or no_bank, "jisi", (pool.routing, where))
    except BankError:
        settings_in_force(no_bank, "jisi", (dict.fromkeys(pool.routing), where))


def _bank_on_disk(pool: Config) -> Bank | None:
    """Return the bank in force; None where none was named.

    Raises:
        BankError: It is elsewhere, or cannot be opened.
    """
    from jisi_cli.addresses import is_address
    from jisi_cli.bank.bank import Bank
    from jisi_cli.config import find_bank

    path = find_bank(None, pool)
    if path is not None and is_address(path):
        raise BankError(f"{path} is not on this machine")
    return None if path is None else Bank(path)


def _row(entry: ModelEntry, answer: Answer | str | None) -> dict[str, Any]:
    from jisi_cli.models.facts import key_of

    key = key_of(entry)
    row = {"name": entry.name, "litellm": entry.litellm, "key": key.state, "key_variables": list(key.variables)}
    return row | _facts(entry) | ({} if answer is None else {"check": _checked(answer)})


def _facts(entry: ModelEntry) -> dict[str, Any]:
    from jisi_cli.models.facts import facts_of

    facts = facts_of(entry)
    return {
        "input_usd_per_million": None if facts.price is None else facts.price.input,
        "output_usd_per_million": None if facts.price is None else facts.price.output,
        "price_source": facts.price_source,
        "context_tokens": facts.context,
        "can_stream": facts.streams,
        "can_call_tools": facts.calls_tools,
        "can_see": facts.sees,
    }


def _checked(answer: Answer | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"answered": False, "seconds": None, "cost_usd": None, "error": answer}
    error = answer.error or (None if answer.ok else "it returned no text")
    return {"answered": error is None, "seconds": answer.seconds, "cost_usd": answer.cost_usd, "error": error}


_FACTS = (
    *(Column("$/M in", right=True), Column("$/M out", right=True), Column("context", right=True)),
    *(Column("streams"), Column("tools"), Column("sees")),
)


def _show(rows: Sequence[dict[str, Any]], out: Output, *, checked: bool) -> None:
    columns = [Column("model", shrink=True), Column("LiteLLM name", shrink=True), Column("key", shrink=True), *_FACTS]
    columns += [Column("check", shrink=True)] if checked else []
    shown = []
    for row in rows:
        cells = [row["name"], row["litellm"], _key_words(row["key"], row["key_variables"]), *_fact_cells(row)]
        shown.append(cells + ([_check_words(row["check"])] if checked else []))
    out.table(columns, shown)


def _fact_cells(row: dict[str, Any]) -> list[str]:
    prices = [_number(row[name]) for name in ("input_usd_per_million", "output_usd_per_million")]
    context = "?" if row["context_tokens"] is None else f"{row['context_tokens']:,}"
    return [*prices, context, *(_yes_no(row[name]) for name in ("can_stream", "can_call_tools", "can_see"))]


def _key_words(state: str, variables: Sequence[str]) -> str:
    names = ", ".join(variables)
    if state == "missing":
        return f"set {names}"
    if state == "unknown":
        return f"? ({names} not set)" if names else "?"
    return f"{state} ({names})" if names else state


def _check_words(check: dict[str, Any]) -> str:
    return f"{check['seconds']:.1f} s" if check["answered"] else one_line(check["error"], 200)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def _yes_no(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


def _ask_each(
    pool: Config,
    entries: Sequence[ModelEntry],
    out: Output,
    timeout: float | None,
    max_cost: float | None,
    label: str | None,
) -> dict[str, Answer | str]:
    """Ask each model for one word, all at once and once only; a text says why one was not asked."""
    import asyncio
    from dataclasses import replace

    from jisi_cli.spending import RunAccount
    from jisi_cli.types import Request, Sampling

    # What is wrong is to be seen at once, and not after several attempts.
    budget = {"timeout": _PATIENCE, **pool.budget, "max_retries": 0}
    account = RunAccount(
        replace(pool, budget=budget),
        "models",
        out,
        timeout=timeout,
        max_cost=max_cost,
        use_cache=False,
        label=label,
    )

    async def ask_all() -> dict[str, Answer | str]:
        async with account.pool([entry.name for entry in entries]) as live:

            async def ask(name: str) -> Answer | str:
                messages: list[Message] = [{"role": "user", "content": _QUESTION}]
                request = Request(name, messages, "expert", sampling=Sampling(max_tokens=_LONGEST))
                try:
                    return await live.ask(request)
                except BudgetError as error:
                    return str(error)

            found = await asyncio.gather(*(ask(entry.name) for entry in entries))
            return {entry.name: answer for entry, answer in zip(entries, found, strict=True)}

    try:
        return account.background.run(ask_all())
    finally:
        account.close()


def _judge(answers: dict[str, Answer | str], out: Output) -> None:
    """Say how many answered.

    Raises:
        BudgetError: None was asked, for the money it might have cost.
        NoAnswerError: None answered.
    """
    spoken = sum(not isinstance(answer, str) and answer.ok for answer in answers.values())
    if spoken:
        out.note(f"{spoken} of {count(len(answers), 'model')} answered")
        return
    unasked = [answer for answer in answers.values() if isinstance(answer, str)]
    if len(unasked) == len(answers):
        raise BudgetError(unasked[0])
    raise NoAnswerError("no model answered; the reasons are in the list, for each model")


def _search(word: str, out: Output, *, as_json: bool) -> None:
    """List the models that LiteLLM knows and that have a word in their name."""
    from jisi_cli.config import ModelEntry
    from jisi_cli.models.facts import known_models, similar_models

    rows = [{"litellm": name, **_facts(ModelEntry(name, name))} for name in known_models(word.strip())]
    if as_json:
        out.json({"known": word, "models": rows})
    elif rows:
        columns = [Column("LiteLLM name", shrink=True), *_FACTS]
        out.table(columns, [[row["litellm"], *_fact_cells(row)] for row in rows])
    if not rows:
        similar = similar_models(word)
        hint = f"; similar: {', '.join(similar)}" if similar else ""
        out.note(f"LiteLLM's list has no model with `{one_line(word, 60)}` in its name{hint}")
