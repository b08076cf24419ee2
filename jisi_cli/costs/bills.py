"""Charges of a ledger or a result file, grouped and added up; an unknown amount makes its sum unknown."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from jisi_cli.days import local_day
from jisi_cli.models.ledger import LedgerEntry
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
        return local_day(self.time)

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
