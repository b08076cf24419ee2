"""What became of a request of a batch, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from jisi_cli.models.batch.service import GONE
from jisi_cli.models.call import Call
from jisi_cli.models.completion import Completion
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.pricing import cost_of
from jisi_cli.models.worst_case import most_spent


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a batch's results.

    Attributes:
        key: Which request it answers.
        status: The HTTP status of the answer; None where there is none.
        body: The answer, as JSON; empty where there is none.
        failure: Why there is no answer; None where there is one.
        is_unworked: Whether its turn did not come before the batch ended.
    """

    key: str
    status: int | None
    body: bytes
    failure: ProviderFailure | None
    is_unworked: bool = False


def without_result(status: str) -> ProviderFailure:
    """Return what became of a request of which the results say nothing.

    Args:
        status: The provider's word for how the batch ended; `gone` where it has none of that name any more.
    """
    match status:
        case "expired":
            return ProviderFailure("the batch expired before its turn came", retryable=True)
        case _ if status == GONE:
            return ProviderFailure("the provider has no such batch any more", billable=True)
        case _:
            reason = "the batch ended without a result for it"
            return ProviderFailure(reason, retryable=True, billable=True, most_retries=1)


@dataclass(frozen=True, slots=True)
class Spent:
    """What one request of a batch took.

    Attributes:
        bill: Dollars on the bill; None where unknown.
        most: Dollars that the budget counts, the largest figure that can be true.
    """

    bill: float | None
    most: float


def spent_on(call: Call, found: Completion | ProviderFailure, share: float, worst_usd: float | None) -> Spent:
    """Return what a request took, at the price of a batch.

    Args:
        call: What was asked.
        found: What came of it.
        share: What a batch costs of the list price.
        worst_usd: The most that was set aside for it, at the price of a batch; None for nothing.
    """
    worst = worst_usd or 0.0
    completion = found if isinstance(found, Completion) else found.spent
    if completion is None:
        is_free = isinstance(found, ProviderFailure) and not found.billable
        return Spent(0.0, 0.0) if is_free else Spent(None, worst)
    listed = cost_of(call.entry, completion).usd
    # What the provider itself says that it charged is what it charged.
    share = share if completion.provider_cost is None else 1.0
    most = most_spent(call.entry, completion, listed, worst / share if share else worst)
    return Spent(None if listed is None else share * listed, worst if most is None else share * most)
