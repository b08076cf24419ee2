"""The calls of a bill: found in the ledger, or in result files of `jisi eval`."""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from jisi_cli import days
from jisi_cli.costs.bills import DIMENSIONS, Charge, Dimension, from_ledger, from_results
from jisi_cli.errors import InputError
from jisi_cli.models.ledger import Ledger, LedgerEntry, ledger_path
from jisi_cli.models.outstanding import Out, outstanding
from jisi_cli.suggest import did_you_mean

_LATEST = "last"
_SHORTEST_ID = 4
_SHOWN_RUNS = 3


class Notes(Protocol):
    """What is told beside a bill, each in one line."""

    def note(self, text: str) -> None:
        """Tell what a user should know."""
        ...

    def warn(self, text: str) -> None:
        """Tell what went wrong."""
        ...


class Found(NamedTuple):
    """Calls, and where they come from.

    Attributes:
        source: The path of the ledger, or those of the files.
        by: What keeps calls apart in a bill.
        calls: The calls.
        out: What runs may have out beyond that, or had out when they were cut off.
    """

    source: dict[str, Any]
    by: tuple[Dimension, ...]
    calls: list[Charge]
    out: list[Out]


def find_calls(
    names: Sequence[str], runs: Sequence[str], by: Sequence[str], since: str | None, until: str | None, out: Notes
) -> Found:
    """Find the calls of a bill.

    Args:
        names: Result files, or runs of the ledger: `last`, an id, or the beginning of one; none for the whole ledger.
        runs: Further runs of the ledger.
        by: Dimensions that keep calls apart; none for the usual one.
        since: From when on, as a day or a time ago (see `days.since`); None for no limit.
        until: The last day, or a time ago.
        out: Told what a user should know about the calls that were found.

    Raises:
        InputError: A file, a run, a day or a dimension does not exist, or they cannot be combined.
    """
    files = [Path(name) for name in names if _is_file(name)]
    wanted = [*runs, *(name for name in names if not _is_file(name))]
    if not files:
        ledger = Ledger(ledger_path(), warn=out.warn)
        keys = _dimensions(by, "model", {"method": "the ledger"})
        return Found({"ledger": str(ledger.path)}, keys, *_ledger_calls(ledger, wanted, since, until, out))
    if wanted:
        raise InputError(f"a result file and a run of the ledger ({wanted[0]}) hold the same calls; give one kind")
    if since or until:
        raise InputError("a result file has no dates; leave out --since and --until")
    keys = _dimensions(by, "method", {"day": "a result file", "label": "a result file"})
    return Found({"files": [str(path) for path in files]}, keys, _result_calls(files, out), [])


def _is_file(name: str) -> bool:
    """Whether a source is a file: an existing one, or a name that only a file has."""
    return Path(name).exists() or os.sep in name or "." in name


def _result_calls(files: Sequence[Path], out: Notes) -> list[Charge]:
    from jisi_cli.evaluation.results import read_results

    results = {str(path): list(read_results(path)) for path in files}
    for name, lines in results.items():
        if not lines:
            out.note(f"{name}: holds no results; write some with `jisi eval --out`")
    unbilled = Counter(result.method for lines in results.values() for result in lines if result.bill is None)
    for method, number in unbilled.items():
        questions = "1 question" if number == 1 else f"{number:,} questions"
        out.note(f"{method}: {questions} without calls (a bound, or live calls are needed); left out")
    return [charge for name, lines in results.items() for charge in from_results(lines, name)]


def _ledger_calls(
    ledger: Ledger, runs: Sequence[str], since: str | None, until: str | None, out: Notes
) -> tuple[list[Charge], list[Out]]:
    at = days.now()
    first = None if since is None else days.since(since, "--since", at)
    last = None if until is None else days.until(until, "--until", at)
    entries, under_way = list(ledger.rows()), _outstanding(out)
    ledger.close()
    if not entries:
        out.note(f"no call was made yet: {ledger.path} is empty")
        return [], under_way
    if runs:
        wanted = {_run(name, entries) for name in runs}
        entries = [entry for entry in entries if entry.run in wanted]
        under_way = [one for one in under_way if one.run in wanted]
    if since is not None or until is not None:
        entries = [entry for entry in entries if _is_between(entry.time, first, last)]
        under_way = [one for one in under_way if _is_between(one.time, first, last)]
    if not entries:
        out.note("the ledger has no call in that time")
    return list(from_ledger(entries)), under_way


def _outstanding(out: Notes) -> list[Out]:
    try:
        return outstanding()
    except InputError as error:  # what was booked is a bill all the same
        out.warn(str(error))
        return []


def _is_between(time: str, first: datetime.datetime | None, last: datetime.datetime | None) -> bool:
    moment = days.local(time)
    return moment is not None and (first is None or moment >= first) and (last is None or moment < last)


def _dimensions(names: Sequence[str], default: Dimension, unknown: Mapping[str, str]) -> tuple[Dimension, ...]:
    """Return the dimensions of some names; `unknown` are those that the source of the calls does not record."""
    for name in names:
        if name not in DIMENSIONS:
            raise InputError(f"--by: no `{name}`{did_you_mean(name, DIMENSIONS)}; there are {', '.join(DIMENSIONS)}")
        if name in unknown:
            raise InputError(f"--by: {unknown[name]} does not record the {name} of a call")
    return tuple(cast(Dimension, name) for name in dict.fromkeys(names)) or (default,)


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
