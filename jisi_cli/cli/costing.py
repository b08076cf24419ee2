"""What `jisi cost` does: find the calls, add them up, compare, show."""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from jisi_cli.accounting.charges import Charge, from_ledger, from_results
from jisi_cli.accounting.saving import WORK_DIMENSIONS, Comparison, compare
from jisi_cli.accounting.summary import DIMENSIONS, Dimension, summarise
from jisi_cli.cli.cost_view import Bill, bill_csv, bill_json, show_bill
from jisi_cli.cli.options import read_config
from jisi_cli.cli.output import Output, count
from jisi_cli.config import Config
from jisi_cli.errors import InputError
from jisi_cli.evaluation.results import read_results
from jisi_cli.ledger import Ledger, LedgerEntry, ledger_path

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
    from jisi_cli.accounting.reference import read_reference
    from jisi_cli.bank.bank import Bank
    from jisi_cli.evaluation.costs import read_prices

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
