"""`jisi cost`: where the money went."""

from __future__ import annotations

import csv
import datetime
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from jisi_cli.cli.options import (
    BankOption,
    ConfigOption,
    JsonOption,
    QuietOption,
    VerboseOption,
    read_config,
    split_names,
)
from jisi_cli.cli.output import Column, Output, count, dollars, one_line
from jisi_cli.cli.tables import Picture, bars
from jisi_cli.config import Config
from jisi_cli.costs.bills import (
    DIMENSIONS,
    Charge,
    Dimension,
    Key,
    Summary,
    Totals,
    from_ledger,
    from_results,
    summarise,
)
from jisi_cli.costs.erasing import Kept, erase, kept
from jisi_cli.costs.savings import WORK_DIMENSIONS, Comparison, Saving, compare
from jisi_cli.errors import InputError, JisiError
from jisi_cli.evaluation.results import read_results
from jisi_cli.models.ledger import Ledger, LedgerEntry, ledger_path

# How a bill is shown: as a table, as JSON with every digit, as CSV.


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


@dataclass(frozen=True, slots=True)
class Bill:
    """What there is to show.

    Attributes:
        source: Where the calls come from: the ledger's path, or the files'.
        charges: The calls.
        summary: Their sums.
        comparison: With a reference model; None when none was named.
    """

    source: Mapping[str, Any]
    charges: Sequence[Charge]
    summary: Summary
    comparison: Comparison | None


def bill_json(bill: Bill) -> dict[str, Any]:
    """Return the bill as plain data."""
    summary = bill.summary
    return {
        **bill.source,
        "by": list(summary.by),
        "groups": [{**_named(summary.by, group.key), **asdict(group.totals)} for group in summary.groups],
        "total": asdict(summary.total),
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


def _named(by: Sequence[str], key: Key) -> dict[str, str | None]:
    return dict(zip(by, key, strict=True))


def bill_csv(bill: Bill) -> str:
    """Return the groups as CSV with a line of names, without a line for the total.

    A text that a spreadsheet would take for a formula has an apostrophe before it: names of models and data sets come
    from pool files, banks and question files.
    """
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


def show_bill(bill: Bill, out: Output) -> None:
    """Write the bill for a person: data on stdout, what is to be said about it on stderr."""
    _show_totals(bill.summary, out)
    _explain_totals(bill, out)
    if bill.comparison is not None:
        _show_comparison(bill.comparison, [group.key for group in bill.summary.groups], out)


def _show_totals(summary: Summary, out: Output) -> None:
    columns = [Column(name, names=True) for name in summary.by]
    titles = ("calls", "cached", "failed", "prompt", "completion", "paid", "cached would cost")
    columns += [Column(title, right=True) for title in titles] + [Column("price from")]
    rows = [[*(value or _NOTHING for value in group.key), *_cells(group.totals)] for group in summary.groups]
    if len(rows) > 1:
        rows.append(["total", *([""] * (len(summary.by) - 1)), *_cells(summary.total)])
    out.table(columns, rows, picture=_amounts([group.totals for group in summary.groups], len(rows)))


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
        _amount(totals.known_cost_usd, totals.unknown_price_calls + totals.unknown_failure_calls),
        _amount(totals.cached_list_cost_usd, totals.cached_unknown_price_calls) if totals.cached_calls else "",
        _sources(totals),
    ]


def _amount(known: float, unknown: int) -> str:
    """Return dollars for people; what is unknown is named beside them, never counted as nothing."""
    if not unknown:
        return _usd(known)
    return f"unknown ({unknown:,})" if known == 0 else f"{_usd(known)} + {unknown:,} unknown"


def _usd(value: float) -> str:
    """Return an amount with as many decimals as tell it from another: two from a dollar on, else four or six."""
    if value == 0 or value < 1e-5:
        return dollars(value)
    return f"${value:,.2f}" if value >= 1 else f"${value:.4f}" if value >= 0.01 else f"${value:.6f}"


def _sources(totals: Totals) -> str:
    if len(totals.price_sources) == 1:
        return next(iter(totals.price_sources))
    return ", ".join(f"{name} {number:,}" for name, number in totals.price_sources.items())


def _explain_totals(bill: Bill, out: Output) -> None:
    total = bill.summary.total
    times = [charge.time for charge in bill.charges if charge.time is not None]
    if times:
        runs = len({charge.run for charge in bill.charges})
        out.note(f"{count(runs, 'run')} from {min(times)[:16]} to {max(times)[:16]} UTC; prompt, completion: tokens")
    if total.unknown_price_calls:
        out.note(
            f"the price of {count(total.unknown_price_calls, 'answer')} is unknown; give the model a `price` in the "
            "pool file, and calls from then on have one"
        )
    if total.unknown_failure_calls:
        out.note(f"{count(total.unknown_failure_calls, 'failed call')} may have cost something more; nobody said")
    if total.uncounted_calls:
        out.note(f"the tokens of {count(total.uncounted_calls, 'answer')} are not known and not in the sums")


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
    return [f"{saving.questions:,}", _usd(saving.cost_usd), _usd(saving.reference_cost_usd), shown]


# What `jisi cost --erase` does: say what there is, ask, erase, say what is gone.


def run_erasing(out: Output, *, asks: bool, as_json: bool) -> None:
    """Erase the ledger and what is cached.

    Raises:
        InputError: It is to be asked first, and nobody can answer.
        JisiError: The answer was no, or something cannot be erased.
    """
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


def require_alone(*, erase: bool, **others: object) -> None:
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
        raise InputError("--erase asks before it erases, and here nobody can answer; add --yes")
    if not answer:
        raise JisiError("nothing was erased; answer y, or add --yes, to erase it")


def _listed(found: Sequence[Kept]) -> str:
    return ", ".join(f"{place.entries:,} {place.what}" for place in found if place.entries)


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"


# What `jisi cost` does: find the calls, add them up, compare, show.


_LATEST = "last"
_SHORTEST_ID = 4
_SHOWN_RUNS = 3


@dataclass(frozen=True, slots=True)
class CostRequest:
    """The command line of `jisi cost`."""

    sources: tuple[str, ...]
    by: tuple[str, ...]
    runs: tuple[str, ...]
    since: str | None
    until: str | None
    against: str | None
    bank: Path | None
    prices: Path | None
    config: Path | None
    as_json: bool
    as_csv: bool


def run_cost(request: CostRequest, out: Output) -> None:
    """Add up calls and show the bill.

    Raises:
        InputError: A run, a file, a date or a dimension is none, or the ledger cannot be read.
        BankError: The bank of a comparison cannot be read.
    """
    if request.as_json and request.as_csv:
        raise InputError("--json and --csv are two ways to print the same; give one of them")
    files = [Path(name) for name in request.sources if _is_file(name)]
    runs = [*request.runs, *(name for name in request.sources if not _is_file(name))]
    by = _dimensions(request, "method", "day") if files else _dimensions(request, "model", "method")
    charges = _of_files(files, runs, request, out) if files else _of_ledger(runs, request, out)
    comparison = _compare(request, out, charges, by)
    bill = Bill(
        source={"files": [str(path) for path in files]} if files else {"ledger": str(ledger_path())},
        charges=charges,
        summary=summarise(charges, by),
        comparison=comparison,
    )
    if request.as_json:
        out.json(bill_json(bill))
    elif request.as_csv:
        out.data(bill_csv(bill))
    elif charges:
        show_bill(bill, out)


def _is_file(name: str) -> bool:
    """Whether a source is a file: one that is there, or a name that only a file has."""
    return Path(name).exists() or os.sep in name or "." in name


def _of_files(files: Sequence[Path], runs: Sequence[str], request: CostRequest, out: Output) -> list[Charge]:
    if runs:
        raise InputError(f"a result file and a run of the ledger ({runs[0]}) hold the same calls; give one kind")
    if request.since or request.until:
        raise InputError("a result file has no dates; leave out --since and --until")
    results = {str(path): list(read_results(path)) for path in files}
    for name, lines in results.items():
        if not lines:
            out.note(f"{name}: holds no results; write some with `jisi eval --out`")
    unbilled = Counter(result.method for lines in results.values() for result in lines if result.bill is None)
    for method, number in unbilled.items():
        out.note(f"{method}: {count(number, 'question')} without calls (a bound, or live calls are needed); left out")
    return [charge for name, lines in results.items() for charge in from_results(lines, name)]


def _of_ledger(runs: Sequence[str], request: CostRequest, out: Output) -> list[Charge]:
    ledger = Ledger(ledger_path(), warn=out.warn)
    entries = list(ledger.rows())
    ledger.close()
    if not entries:
        out.note(f"no call was made yet: {ledger.path} is empty")
        return []
    if runs:
        wanted = {_run(name, entries) for name in runs}
        entries = [entry for entry in entries if entry.run in wanted]
    since, until = _day(request.since, "--since"), _day(request.until, "--until")
    entries = [entry for entry in entries if (since or "") <= entry.time[:10] <= (until or "9999-12-31")]
    if not entries:
        out.note("no call of the ledger lies in that time")
    return list(from_ledger(entries))


def _run(name: str, entries: Sequence[LedgerEntry]) -> str:
    """Return the run that a name, `last` or the beginning of a name means."""
    known = list(dict.fromkeys(entry.run for entry in entries))
    if name == _LATEST:
        return entries[-1].run
    found = [run for run in known if run == name or (len(name) >= _SHORTEST_ID and run.startswith(name))]
    if len(found) != 1:
        what = f"`{name}` is the beginning of {len(found)} runs" if found else f"no run and no file `{name}`"
        raise InputError(
            f"{what}; the latest runs are {', '.join(known[: -_SHOWN_RUNS - 1 : -1])} (jisi cost --by run)"
        )
    return found[0]


def _day(text: str | None, flag: str) -> str | None:
    if text is None:
        return None
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise InputError(f"{flag} takes a day such as 2026-01-31, not {text!r}") from None


def _dimensions(request: CostRequest, default: Dimension, unknown: Dimension) -> tuple[Dimension, ...]:
    """Return the dimensions asked for, in that order; one that this source does not know is refused."""
    for name in request.by:
        if name not in DIMENSIONS:
            raise InputError(f"--by: no `{name}`; there are {', '.join(DIMENSIONS)}")
        if name == unknown:
            source = "the ledger" if unknown == "method" else "a result file"
            raise InputError(f"--by: {source} does not know the {name} of a call")
    return tuple(cast(Dimension, name) for name in dict.fromkeys(request.by)) or (default,)


def _compare(
    request: CostRequest, out: Output, charges: Sequence[Charge], by: Sequence[Dimension]
) -> Comparison | None:
    if request.against is None:
        return None
    if request.as_csv and not WORK_DIMENSIONS.issuperset(by):
        raise InputError(
            "--against compares whole questions, whose calls differ in model and role; with --csv give "
            f"--by with some of {', '.join(name for name in DIMENSIONS if name in WORK_DIMENSIONS)}"
        )
    from jisi_cli.bank.bank import Bank
    from jisi_cli.costs.savings import read_reference
    from jisi_cli.methods.prices import read_prices

    config = read_config(request.config, out)
    path = _bank_in_force(request.bank, config)
    prices = read_prices(request.prices) if request.prices is not None else {}
    bank = Bank(path) if path is not None else None
    return compare(charges, read_reference(request.against, config.models, prices, bank, config.path), by)


def _bank_in_force(flag: Path | None, config: Config) -> Path | None:
    """Return the bank that was named; one that only the pool file names need not be there."""
    from jisi_cli.bank.manifest import MANIFEST_NAME

    named = flag or (Path(os.environ["JISI_BANK"]) if os.environ.get("JISI_BANK") else None)
    if named is None and config.bank is not None and (config.bank / MANIFEST_NAME).exists():
        return config.bank
    return named


# `jisi cost`: where the money went.


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
        require_alone(
            erase=erase,
            RUN=sources,
            **{"--by": by, "--run": run, "--since": since, "--until": until},
            **{"--against": against, "--bank": bank, "--prices": prices, "--csv": as_csv},
        )
        run_erasing(out, asks=not yes, as_json=as_json)
        return
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
