"""The calls of a ledger or a result file, grouped and added up; an unknown amount makes its sum unknown."""

from __future__ import annotations

import datetime
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast, get_args

from jisi_cli import days
from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.models.ledger import Ledger, LedgerEntry, ledger_path
from jisi_cli.models.outstanding import Out, outstanding
from jisi_cli.types import CallRecord, record_fields, whole_sum

if TYPE_CHECKING:
    from jisi_cli.evaluation.results import Result

_ANSWERING = "ask"
"""The command whose every run is one question and its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge(CallRecord):
    """One call, and what it belongs to. Unknown is None, never 0.

    Attributes:
        run: Which run made it; for a result file the file.
        command: The command of that run.
        label: What the user called that run.
        time: When it ended, in UTC, as ISO 8601.
        method: The method of an evaluation.
        dataset: The data set of the question.
        question: SHA-256 of the question's text, in hexadecimal.
        work: Names the question that this call helped to answer; None for a call that answers none (a bank's),
            or of which that is not known.
        is_answer: Whether this call wrote the final answer; None where that was not recorded.
        most_cost_usd: Dollars that it can have cost at most, where more is possible than is known; else None.
    """

    run: str
    command: str
    label: str | None = None
    time: str | None = None
    method: str | None = None
    dataset: str | None = None
    question: str | None = None
    work: str | None = None
    is_answer: bool | None = None
    most_cost_usd: float | None = None

    @property
    def day(self) -> str | None:
        """The day in the time zone of this machine, as `2026-01-31`."""
        return days.local_day(self.time)

    @property
    def value_usd(self) -> float | None:
        """Dollars when nothing is cached; of a failure, which no list prices, what was paid for it."""
        return self.cost_usd if self.failed else self.list_cost_usd


def from_ledger(entries: Iterable[LedgerEntry]) -> Iterator[Charge]:
    """Yield the charges of ledger rows, in their order."""
    for entry in entries:
        yield Charge(
            **record_fields(entry),
            run=entry.run,
            command=entry.command,
            label=entry.label,
            time=entry.time,
            dataset=entry.dataset,
            question=entry.query_hash,
            # Methods that are compared share their calls, so that of a live evaluation only the result file
            # knows which call served which method.
            work=entry.run if entry.command == _ANSWERING else None,
            most_cost_usd=entry.most_cost_usd,
        )


def from_results(results: Iterable[Result], name: str) -> Iterator[Charge]:
    """Yield the charges of one result file.

    Args:
        results: Its lines; one without a bill (a bound, a question that needs live calls) has no charge.
        name: The name of the run.
    """
    for result in results:
        for call in result.bill or ():
            yield Charge(
                **record_fields(call),
                run=name,
                command="eval",
                method=result.method,
                dataset=result.dataset,
                question=result.query_hash,
                work=f"{name}\n{result.key}",
                is_answer=call.is_answer,
            )


Dimension = Literal["model", "dataset", "role", "day", "run", "command", "label", "method"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
WORK_DIMENSIONS: frozenset[Dimension] = frozenset({"dataset", "day", "run", "command", "label", "method"})
"""Dimensions in which all calls of one question agree; only these divide a comparison."""

Key = tuple[str | None, ...]
"""One value per dimension; None where the charges have none."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over charges.

    Attributes:
        calls: Calls, failed and cached ones included.
        cached_calls: Of these, from the cache or a recording.
        failed_calls: Of these, without an answer.
        prompt_tokens: Tokens of all prompts that were counted, cached calls included.
        completion_tokens: Tokens of all responses that were counted, cached calls included.
        uncounted_calls: Answered calls whose tokens are not known.
        cost_usd: Dollars paid; None when what a call cost is unknown.
        known_cost_usd: Dollars paid, as far as they are known.
        unknown_price_calls: Answers that were paid for at an unknown price.
        unknown_failure_calls: Calls that may have cost something beyond what is known: they failed, or an attempt
            before their answer did, as by a timeout, or they were cut off.
        list_cost_usd: Dollars of all answers when nothing is cached; None when one is unknown.
        cached_list_cost_usd: What the cached calls would have cost, as far as that is known.
        cached_unknown_price_calls: Cached calls at an unknown price.
        price_sources: Calls by the source of their price: provider, pool, litellm, recorded.
        most_cost_usd: Dollars paid at most, as limits of a day and a month count them; None where a call may have cost
            anything.
    """

    calls: int
    cached_calls: int
    failed_calls: int
    prompt_tokens: int
    completion_tokens: int
    uncounted_calls: int
    cost_usd: float | None
    known_cost_usd: float
    unknown_price_calls: int
    unknown_failure_calls: int
    list_cost_usd: float | None
    cached_list_cost_usd: float
    cached_unknown_price_calls: int
    price_sources: dict[str, int]
    most_cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """The charges that agree in some dimensions."""

    key: Key
    totals: Totals


@dataclass(frozen=True, slots=True)
class Summary:
    """A bill.

    Attributes:
        by: The dimensions of the groups.
        groups: The dearest first; by day and by run in the order of time.
        total: Over all groups.
    """

    by: tuple[Dimension, ...]
    groups: tuple[Group, ...]
    total: Totals


def summarise(charges: Iterable[Charge], by: Sequence[Dimension]) -> Summary:
    """Add up charges.

    Args:
        charges: What to add up.
        by: What keeps charges apart.
    """
    everything = list(charges)
    return Summary(tuple(by), tuple(_groups(everything, by)), add_up(everything))


def key_of(charge: Charge, by: Sequence[Dimension]) -> Key:
    """Return the group of a charge."""
    return tuple(getattr(charge, dimension) for dimension in by)


def add_up(charges: Sequence[Charge]) -> Totals:
    """Return the sums over charges."""
    cached = [charge for charge in charges if charge.cached]
    paid = [charge for charge in charges if not charge.cached]
    answered = [charge for charge in charges if not charge.failed]
    known_cost = _sum(_known_cost(charge) for charge in paid)
    unknown = [charge for charge in paid if charge.cost_usd is None]
    unpriced = sum(not charge.failed and charge.list_cost_usd is None for charge in unknown)
    sources = Counter(charge.price_source for charge in charges if charge.price_source is not None)
    return Totals(
        calls=len(charges),
        cached_calls=len(cached),
        failed_calls=len(charges) - len(answered),
        prompt_tokens=sum(charge.prompt_tokens or 0 for charge in charges),
        completion_tokens=sum(charge.completion_tokens or 0 for charge in charges),
        uncounted_calls=sum(charge.prompt_tokens is None or charge.completion_tokens is None for charge in answered),
        cost_usd=None if unknown else known_cost,
        known_cost_usd=known_cost,
        unknown_price_calls=unpriced,
        unknown_failure_calls=len(unknown) - unpriced,
        list_cost_usd=whole_sum(charge.list_cost_usd for charge in answered),
        cached_list_cost_usd=_sum(charge.list_cost_usd for charge in cached),
        cached_unknown_price_calls=sum(charge.list_cost_usd is None and not charge.failed for charge in cached),
        price_sources=dict(sorted(sources.items())),
        most_cost_usd=whole_sum(_most_cost(charge) for charge in paid),
    )


def _known_cost(charge: Charge) -> float | None:
    """Return what is known of a call's dollars: of an answer after failures of unknown cost, its own."""
    return charge.list_cost_usd if charge.cost_usd is None and not charge.failed else charge.cost_usd


def _most_cost(charge: Charge) -> float | None:
    return charge.cost_usd if charge.most_cost_usd is None else charge.most_cost_usd


def _sum(amounts: Iterable[float | None]) -> float:
    return math.fsum(amount for amount in amounts if amount is not None)


def _groups(charges: Sequence[Charge], by: Sequence[Dimension]) -> list[Group]:
    """Return the groups, ordered by the first dimension, within it by the second, and so on."""
    grouped: dict[Key, list[Charge]] = defaultdict(list)
    for charge in charges:
        grouped[key_of(charge, by)].append(charge)
    groups = [Group(key, add_up(members)) for key, members in grouped.items()]
    if len(by) > 1:
        outer = {group.key: place for place, group in enumerate(_groups(charges, by[:-1]))}
        return sorted(_ordered(groups, by[-1]), key=lambda group: outer[group.key[:-1]])
    return _ordered(groups, by[-1]) if by else groups


def _ordered(groups: Sequence[Group], dimension: Dimension) -> list[Group]:
    if dimension == "run":
        return list(groups)  # Charges come in the order of time, and so do their runs.
    if dimension == "day":
        return sorted(groups, key=lambda group: group.key[-1] or "")

    def rank(group: Group) -> tuple[float, int, str]:
        dollars = group.totals.known_cost_usd + group.totals.cached_list_cost_usd
        return (-dollars, -group.totals.calls, group.key[-1] or "")

    return sorted(groups, key=rank)


# The calls of a bill: found in the ledger, or in result files of `jisi eval`.

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
