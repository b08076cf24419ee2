"""`jisi cost`: where the money went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jisi_cli.cli.layout import Picture, bars
from jisi_cli.cli.options import (
    BankOption,
    ConfigOption,
    JsonOption,
    QuietOption,
    VerboseOption,
    split_names,
)
from jisi_cli.cli.output import Column, Output, count, dollars, one_line, paid
from jisi_cli.days import local
from jisi_cli.errors import InputError, JisiError
from jisi_cli.user import read_config

if TYPE_CHECKING:
    from jisi_cli.config import Config
    from jisi_cli.costs.bills import Charge, Found, Key, Summary, Totals
    from jisi_cli.costs.erasing import Kept
    from jisi_cli.costs.savings import Comparison, Saving
    from jisi_cli.models.batch.journal import Uncollected
    from jisi_cli.models.outstanding import Out

_FORMULA = tuple("=+-@＝＋－＠")
"""How a formula begins."""
_NOTHING = "–"

_COMPARED = (
    "questions",
    "recorded_questions",
    "own_token_questions",
    "compared_cost_usd",
    "reference_cost_usd",
    "saving",
)
"""What --against adds to a line of CSV; the cost is that of the questions that could be compared."""


@dataclass(frozen=True)
class Bill:
    """What there is to show.

    Attributes:
        source: Where the calls come from: the ledger's path, or the files'.
        charges: The calls.
        summary: Their sums.
        comparison: With a reference model; None when none was named.
        batches: What was submitted by batch and is in no bill yet.
        out: What runs may have out beyond that.
    """

    source: Mapping[str, Any]
    charges: Sequence[Charge]
    summary: Summary
    comparison: Comparison | None
    batches: Sequence[Uncollected] = ()
    out: Sequence[Out] = ()

    @cached_property
    def runs(self) -> dict[str | None, Charge]:
        """The first call of each run."""
        return {charge.run: charge for charge in reversed(self.charges)}


def cost(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN|FILE]…", help="Runs of the ledger (`last`, or an id), or result files of eval."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="NAMES", help="model, dataset, role, day, run, command, label, method [model]."),
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option("--run", metavar="ID", help="Only this run of the ledger; `last` is the latest.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="From then on: 7d, 12h, today, yesterday, monday, 2026-01-31."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Up to then; a day is included.")] = None,
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
        bool,
        typer.Option("--erase", help="Erase the ledger, conversations and everything that is cached; asks first."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --erase: do not ask.")] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Add up past calls: tokens, dollars paid, and what cached calls would have cost.

    Without a FILE, the calls are those of the ledger, which holds every call of ask, route, eval, bank build and
    bank grade. With files of `eval --out`, they are the calls of each method for the test questions (by method,
    unless --by says otherwise); the calls of the judge and the embedder are in the ledger only.

    A cost that is unknown is shown as unknown, never as $0. Days begin at midnight in your time zone; 7d is the last
    seven times 24 hours.

    --against MODEL: the work is the answered questions (every `ask`; every question and method of a file).
    Ours costs what all its calls cost at list price, probes and aggregator included. MODEL would have answered
    each question once: with the tokens that the bank recorded for it on that question, else with the tokens of the
    bare question's prompt and of our final answer (in the ledger, which does not record who won a routed
    question, the mean of the responses). saving = 1 - ours / MODEL's.

    Batches whose answers have not been collected are not in the sums, nor are calls that are out, or were when their
    run was killed: notes, and `batches` and `out` in JSON, say what they may cost.

    --erase permanently deletes the ledger, the cached answers and vectors, conversations, remembered answers and
    feedback, and what methods learned: an answer that was paid for will be paid for again. Banks and files that you
    named stay. Other jisi processes may go on working meanwhile.

    Example: jisi cost --by run --since yesterday
    """
    out = Output(quiet=quiet, verbose=verbose)
    if erase or yes:
        _require_alone(
            erase=erase,
            RUN=sources,
            **{"--by": by, "--run": run, "--since": since, "--until": until},
            **{"--against": against, "--bank": bank, "--prices": prices, "--csv": as_csv},
        )
        _erase_all(out, asks=not yes, as_json=as_json)
        return
    from jisi_cli.costs.bills import DIMENSIONS, WORK_DIMENSIONS, find_calls, summarise

    if as_json and as_csv:
        raise InputError("--json and --csv are two ways to print the same; give one of them")
    found = find_calls(sources or (), split_names(run) or (), split_names(by) or (), since, until, out)
    if against is not None and as_csv and not WORK_DIMENSIONS.issuperset(found.by):
        raise InputError(
            "--against compares whole questions, whose calls differ in model and role; with --csv give "
            f"--by with some of {', '.join(name for name in DIMENSIONS if name in WORK_DIMENSIONS)}"
        )
    comparison = None
    if against is not None:
        comparison = _compare(found, against, prices, bank, read_config(config, out), out)
    batches = [] if sources or run else _uncollected(out)
    bill = Bill(found.source, found.calls, summarise(found.calls, found.by), comparison, batches, found.out)
    if as_json:
        out.json(_to_json(bill))
    elif as_csv:
        out.data(_to_csv(bill))
    else:
        if found.calls:
            _show(bill, out)
        _explain_batches(bill.batches, out)
        _explain_what_is_out(bill.out, out)


def _uncollected(out: Output) -> list[Uncollected]:
    from jisi_cli.models.batch.journal import BatchJournal, journal_folder

    journal = BatchJournal(journal_folder())
    try:
        return journal.uncollected()
    except InputError as error:  # what was booked is a bill all the same
        out.warn(str(error))
        return []
    finally:
        journal.close()


def _compare(
    found: Found, model: str, prices: Path | None, bank: Path | None, config: Config, out: Output
) -> Comparison:
    """Compare what the calls cost with one answer of a model to each question."""
    from jisi_cli.bank.bank import Bank
    from jisi_cli.config import read_prices
    from jisi_cli.costs.savings import compare, read_reference

    path = _bank_in_force(bank, config, out)
    given = read_prices(prices) if prices is not None else {}
    opened = Bank(path) if path is not None else None
    reference = read_reference(model, config.models, given, opened, config.path)
    return compare(found.calls, reference, found.by)


def _bank_in_force(flag: Path | None, config: Config, out: Output) -> Path | None:
    """Return the bank that was named; one that only the pool file names need not be there."""
    from jisi_cli.bank.manifest import MANIFEST_NAME
    from jisi_cli.config import find_bank
    from jisi_cli.user import bank_folder

    found = find_bank(flag, config)
    if found is None:
        return None
    folder = bank_folder(flag, config, out)
    return None if found is config.bank and not (folder / MANIFEST_NAME).exists() else folder


def _to_json(bill: Bill) -> dict[str, Any]:
    """Return the bill as plain data."""
    summary = bill.summary
    return {
        **bill.source,
        "by": list(summary.by),
        "groups": [
            {**_named(summary.by, group.key), **_about_run(bill, group.key), **asdict(group.totals)}
            for group in summary.groups
        ],
        "total": asdict(summary.total),
        "batches": [asdict(batch) for batch in bill.batches],
        "out": [asdict(run) for run in bill.out],
        "against": None if bill.comparison is None else _comparison_json(bill.comparison),
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    groups = [{**_named(comparison.by, key), **_saving_json(saving)} for key, saving in comparison.groups.items()]
    return {
        "model": comparison.reference,
        "by": list(comparison.by),
        "groups": groups,
        "total": _saving_json(comparison.total),
        "other_calls": comparison.other_calls,
    }


def _saving_json(saving: Saving) -> dict[str, Any]:
    return {**asdict(saving), "saving": saving.saving}


def _about_run(bill: Bill, key: Key) -> dict[str, str | None]:
    """Return when a run began, and its command and label, where they are no dimensions themselves."""
    by = bill.summary.by
    if "run" not in by:
        return {}
    first = bill.runs[key[by.index("run")]]
    about = {"began": first.time, "command": first.command, "label": first.label}
    return {name: value for name, value in about.items() if name not in by}


def _named(by: Sequence[str], key: Key) -> dict[str, str | None]:
    return dict(zip(by, key, strict=True))


def _to_csv(bill: Bill) -> str:
    """Return the groups as CSV with a line of names, without a line for the total.

    A text that a spreadsheet would take for a formula has an apostrophe before it: names of models and data sets come
    from pool files, banks and question files.
    """
    import csv
    import io

    from jisi_cli.costs.bills import Totals

    summary, comparison = bill.summary, bill.comparison
    names = [field.name for field in fields(Totals)]
    compared = _COMPARED if comparison is not None else ()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*summary.by, *names, *compared])
    for group in summary.groups:
        totals = {**asdict(group.totals), "price_sources": _sources(group.totals)}
        saving = comparison.groups.get(group.key) if comparison is not None else None
        extra = {} if saving is None else {**_saving_json(saving), "compared_cost_usd": saving.cost_usd}
        cells = [*group.key, *(totals[name] for name in names), *(extra.get(name) for name in compared)]
        writer.writerow([_inert(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue().rstrip("\n")


def _inert(cell: str) -> str:
    """Return text for a CSV cell that no spreadsheet computes and no terminal obeys."""
    line = one_line(cell)
    return f"'{line}" if line.startswith(_FORMULA) else line


def _show(bill: Bill, out: Output) -> None:
    """Show the bill to a person: data on stdout, remarks on stderr."""
    _show_totals(bill, out)
    _explain_totals(bill, out)
    if bill.comparison is not None:
        _show_comparison(bill.comparison, [group.key for group in bill.summary.groups], out)


def _show_totals(bill: Bill, out: Output) -> None:
    summary = bill.summary
    abouts = [_about_run(bill, group.key) for group in summary.groups]
    shown = [name for name in (abouts[0] if abouts else ()) if any(about[name] for about in abouts)]
    columns = [Column(name, names=True) for name in (*summary.by, *shown)]
    titles = ("calls", "cached", "failed", "prompt", "completion", "paid", "cached would cost")
    columns += [Column(title, right=True) for title in titles] + [Column("price from")]
    rows = []
    for group, about in zip(summary.groups, abouts, strict=True):
        words = (_moment(about[name]) if name == "began" else about[name] for name in shown)
        rows.append([value or _NOTHING for value in (*group.key, *words)] + _cells(group.totals))
    if len(rows) > 1:
        rows.append(["total", *([""] * (len(summary.by) + len(shown) - 1)), *_cells(summary.total)])
    out.table(columns, rows, picture=_amounts([group.totals for group in summary.groups], len(rows)))


def _moment(time: str | None) -> str | None:
    """Return a stored moment as people write it, in their own time zone."""
    found = local(time)
    return None if found is None else f"{found:%Y-%m-%d %H:%M}"


def _amounts(groups: Sequence[Totals], rows: int) -> Picture | None:
    """Return what was paid as bars, or else what the cached calls would cost; None without two to compare."""
    if len(groups) < 2:
        return None
    title, values = "paid", [totals.known_cost_usd for totals in groups]
    if not any(values):
        title, values = "would cost", [totals.cached_list_cost_usd for totals in groups]
    if not any(values):
        return None
    # The total has no bar: beside it every other would be short.
    padded: list[float | None] = [*values, *[None] * (rows - len(values))]
    return Picture(title, lambda width: bars(padded, width))


def _cells(totals: Totals) -> list[str]:
    return [
        f"{totals.calls:,}",
        f"{totals.cached_calls:,}" if totals.cached_calls else "",
        f"{totals.failed_calls:,}" if totals.failed_calls else "",
        f"{totals.prompt_tokens:,}",
        f"{totals.completion_tokens:,}",
        paid(totals.known_cost_usd, totals.unknown_price_calls + totals.unknown_failure_calls, totals.most_cost_usd),
        paid(totals.cached_list_cost_usd, totals.cached_unknown_price_calls) if totals.cached_calls else "",
        _sources(totals),
    ]


def _sources(totals: Totals) -> str:
    if len(totals.price_sources) == 1:
        return next(iter(totals.price_sources))
    return ", ".join(f"{name} {number:,}" for name, number in totals.price_sources.items())


def _explain_totals(bill: Bill, out: Output) -> None:
    total = bill.summary.total
    times = [charge.time for charge in bill.charges if charge.time is not None]
    if times:
        runs = len({charge.run for charge in bill.charges})
        out.note(
            f"{count(runs, 'run')} from {_moment(min(times))} to {_moment(max(times))} (your time); "
            "prompt, completion: tokens"
        )
    if total.unknown_price_calls:
        out.note(
            f"the price of {count(total.unknown_price_calls, 'answer')} is unknown; give the model a `price` in the "
            "pool file, and later calls will have one"
        )
    if total.unknown_failure_calls:
        out.note(
            f"{count(total.unknown_failure_calls, 'call')} may have cost more than is known (failed or cut off; the "
            "provider did not say)"
        )
    if total.most_cost_usd is not None and total.most_cost_usd > total.known_cost_usd:
        out.note(
            f"limits a day and a month count {dollars(total.most_cost_usd)}: the most that it can be, where a cost is "
            "not known or figures do not agree"
        )
    if total.uncounted_calls:
        out.note(f"the tokens of {count(total.uncounted_calls, 'answer')} are unknown and not in the sums")


def _explain_batches(batches: Sequence[Uncollected], out: Output) -> None:
    """Say what no bill has, and nobody may ask for again."""
    for batch in batches:
        most = "an unknown amount" if batch.most_usd is None else f"up to {dollars(batch.most_usd)}"
        missing = "still at the provider:" if batch.most_usd == 0.0 else f"not in these sums: {most} for"
        name = f", {batch.batch_id}" if batch.batch_id else ""
        out.note(
            f"{missing} {count(batch.requests, 'request')} to {batch.model} by batch "
            f"({_moment(batch.since) or batch.since}{name}); the command that submitted them collects the answers"
        )


def _explain_what_is_out(found: Sequence[Out], out: Output) -> None:
    """Say what no bill has: what calls may cost that are out, and what those may have cost whose run was cut off."""
    dead = [run for run in found if not run.is_under_way]
    for run in found:
        if run.is_under_way:
            out.note(
                f"not in these sums: up to {dollars(run.usd)} for calls of a run that is under way ({_run_words(run)})"
            )
    if len(dead) == 1:
        out.note(
            f"not in these sums: up to {dollars(dead[0].usd)} for calls that were out when their run was cut off "
            f"({_run_words(dead[0])}); limits of that day and month count it"
        )
    elif dead:  # nothing deletes them but --erase, so that there may be many
        total = dollars(math.fsum(run.usd for run in dead))
        out.note(
            f"not in these sums: up to {total} for calls that were out when their runs were cut off ({len(dead):,} of "
            f"them, the last: {_run_words(dead[-1])}); limits of those days and months count it"
        )


def _run_words(run: Out) -> str:
    """Return what tells a run from others."""
    name = run.command + (f", {run.label}" if run.label else "")
    return f"{name}; {_moment(run.time) or run.time}"


def _show_comparison(comparison: Comparison, keys: Sequence[Key], out: Output) -> None:
    columns = [Column(name, names=True) for name in comparison.by] or [Column("")]
    titles = ("questions", "this work", comparison.reference, "saving")
    columns += [Column(title, right=True) for title in titles]
    shown = [(key, comparison.groups[key]) for key in keys if key in comparison.groups]
    rows = [[*(value or _NOTHING for value in key), *_saving_cells(saving)] for key, saving in shown]
    if len(rows) != 1:
        rows.append(["total", *([""] * (len(comparison.by) - 1)), *_saving_cells(comparison.total)])
    out.separate()
    out.table(columns, rows)
    total, name = comparison.total, comparison.reference
    out.note(
        f"all calls of a question at list price, against {name} answering it once: "
        f"{count(total.recorded_questions, 'question')} from recorded tokens of {name}, "
        f"{total.own_token_questions:,} from this work's own tokens at its price"
    )
    for reason, number in total.left_out.items():
        out.note(f"{count(number, 'question')} left out: {reason}")
    for command, number in comparison.other_calls.items():
        out.note(f"{count(number, 'call')} of {command} left out: {_WHY_OTHER.get(command, 'they answer no question')}")


_WHY_OTHER = {
    "bank build": "they make a bank and answer no question",
    "eval": "the methods of an evaluation share them; name its result file (--out) instead",
    "route": "they decide and answer no question",
}


def _saving_cells(saving: Saving) -> list[str]:
    if not saving.questions:
        return ["0", _NOTHING, _NOTHING, _NOTHING]
    share = saving.saving
    shown = _NOTHING if share is None else f"{100 * share:.1f} %"
    return [f"{saving.questions:,}", dollars(saving.cost_usd), dollars(saving.reference_cost_usd), shown]


def _erase_all(out: Output, *, asks: bool, as_json: bool) -> None:
    """Erase the ledger, what is cached, and what was said.

    Raises:
        InputError: The user must be asked first, and there is no terminal.
        JisiError: The answer was no, or something cannot be erased.
    """
    from jisi_cli.costs.erasing import erase, kept

    before = kept()
    if asks and any(found.entries for found in before):
        _ask(before, out)
    for found in before:
        erase(found)
    freed = sum(found.size for found in before) - sum(found.size for found in kept())
    if as_json:
        places = [{"what": found.what, "path": str(found.path), "entries": found.entries} for found in before]
        out.json({"erased": places, "bytes_freed": freed})
    out.note(f"erased: {_listed(before)}; {_size(freed)} freed" if _listed(before) else "nothing was kept")


def _require_alone(*, erase: bool, **others: object) -> None:
    """Refuse options about a bill beside `--erase`, which leaves nothing for one.

    Args:
        erase: Whether `--erase` was given, without which `--yes` answers nothing.
        others: Options by name.

    Raises:
        InputError: There are such options.
    """
    if not erase:
        raise InputError("--yes answers what --erase asks; give both, or leave it out")
    for name, value in others.items():
        if value:
            raise InputError(f"--erase erases everything, and shows no bill; leave out {name}")


def _ask(found: Sequence[Kept], out: Output) -> None:
    size = _size(sum(place.size for place in found))
    answer = out.confirmed(f"Erase {_listed(found)} ({size})? An answer that was paid for will be paid for again.")
    if answer is None:
        raise InputError("--erase asks before it erases, and there is no terminal to ask on; add --yes")
    if not answer:
        raise JisiError("nothing was erased; answer y, or add --yes, to erase it")


def _listed(found: Sequence[Kept]) -> str:
    return ", ".join(f"{place.entries:,} {place.what}" for place in found if place.entries)


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
