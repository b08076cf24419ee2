"""How a bill is shown: as a table, as JSON with every digit, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from jisi_cli.accounting.charges import Charge
from jisi_cli.accounting.saving import Comparison, Saving
from jisi_cli.accounting.summary import Key, Summary, Totals
from jisi_cli.cli.output import Column, Output, count, dollars, one_line
from jisi_cli.cli.pictures import Picture, bars

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
