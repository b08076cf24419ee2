"""What an embedder asks of an endpoint, held to the run's budget and booked in the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from jisi_cli.config import ModelEntry
from jisi_cli.models.call import CUT_OFF
from jisi_cli.models.ledger import Ledger, LedgerEntry
from jisi_cli.models.limits import Budget, Reservation
from jisi_cli.models.live import Run
from jisi_cli.models.pricing import UNKNOWN, Cost, price_of_call
from jisi_cli.models.usage import count_text, is_count, most_reported_cost, most_text_tokens, reported_cost
from jisi_cli.models.worst_case import worst_case
from jisi_cli.types import TokensSource, whole_sum

if TYPE_CHECKING:
    from jisi_cli.models.outstanding import Mark

# The seam between an endpoint and the account that its requests are charged to.


class RequestAccount(Protocol):
    """One request to an endpoint, from its first attempt to its last; a context manager, closed by the last."""

    def attempt(self) -> None:
        """Set aside what one more attempt can cost.

        Raises:
            BudgetError: It does not fit what is left of the budget.
        """
        ...

    def failed(self, reason: str, *, billable: bool) -> None:
        """Note that the attempt brought nothing.

        Args:
            reason: Why, in one line.
            billable: Whether it may have cost something all the same.
        """
        ...

    def answered(self, usage: object) -> None:
        """Note that the attempt brought vectors; `usage` is the endpoint's, or None."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Account(Protocol):
    """Pays for requests; may be used from several threads."""

    def request(self, texts: Sequence[str]) -> RequestAccount:
        """Open the account of one request that embeds these texts."""
        ...


class Unbooked:
    """An account that lets everything happen and keeps nothing."""

    def request(self, texts: Sequence[str]) -> Unbooked:
        """Return itself: no request differs from another."""
        return self

    def attempt(self) -> None:
        """Allow it."""

    def failed(self, reason: str, *, billable: bool) -> None:
        """Keep nothing."""

    def answered(self, usage: object) -> None:
        """Keep nothing."""

    def __enter__(self) -> Unbooked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


# The rules are those of every other call: the price is the endpoint's reported cost, else the pool file's, else
# LiteLLM's; no attempt goes out unless its worst case fits; an unknown price stays unknown.


_SPECIAL_TOKENS = 8
"""What models put around a text, and count, at most; most put one or two."""


class EmbeddingAccount:
    """An `Account` of one run; may be used from several threads.

    Args:
        entry: The embedder, as a pool would name it: its name, LiteLLM's name and its price.
        run: What the ledger says about where the requests came from.
        ledger: Where they are booked; None books none.
        budget: What they may cost; None for no limit.
        mark: Where it is written down what requests may cost that are out, if no budget does so; None for nowhere.
    """

    def __init__(
        self, entry: ModelEntry, run: Run, ledger: Ledger | None, budget: Budget | None, mark: Mark | None = None
    ) -> None:
        self.entry, self.run, self.ledger, self.budget = entry, run, ledger, budget
        self.mark = mark if budget is None else None

    def request(self, texts: Sequence[str]) -> EmbeddingRequest:
        """Open the account of one request that embeds these texts."""
        return EmbeddingRequest(self, texts)

    def worst_case(self, texts: Sequence[str], *, exactly: bool = True) -> float | None:
        """Return the most that embedding some texts can cost once, in dollars; None when there is no price.

        Args:
            texts: The texts.
            exactly: Whether to count with the model's own tokenizer, where that is known, which takes long.
        """
        return worst_case(self.entry, sum(_most_tokens(self.entry, text, exactly) for text in texts), 0)


class EmbeddingRequest:
    """One request and its repetitions: money set aside before each attempt, one row in the ledger at the end."""

    def __init__(self, account: EmbeddingAccount, texts: Sequence[str]) -> None:
        self._account, self._texts = account, texts
        self._started = time.perf_counter()
        self._worst: float | None = None
        self._reservation: Reservation | None = None
        self._until_booked: list[Callable[[], None]] = []
        self._costs: list[float | None] = []
        self._counted: list[float | None] = []
        self._is_out = False
        self._tokens: tuple[int, TokensSource] | None = None
        self._price: Cost = UNKNOWN
        self._error: str | None = None

    def attempt(self) -> None:
        """Set aside what one more attempt can cost.

        Raises:
            BudgetError: It does not fit what is left, or the budget needs a price and none is known.
        """
        account = self._account
        if account.budget is not None:
            if not self._costs:
                self._worst = account.worst_case(self._texts)
            self._reservation = account.budget.reserve_in_thread(account.entry.name, self._worst)
            self._until_booked.append(self._reservation.booked)
        elif account.mark is not None and (usd := account.worst_case(self._texts, exactly=False)):
            account.mark.add(usd)
            self._until_booked.append(partial(account.mark.release, usd))
        self._is_out = True

    def failed(self, reason: str, *, billable: bool) -> None:
        """Note that the attempt brought nothing."""
        self._error = reason
        self._ended(None if billable else 0.0)

    def answered(self, usage: object) -> None:
        """Note that the attempt brought vectors."""
        entry = self._account.entry
        source: TokensSource
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "total_tokens")]
        reported = max((count for count in counts if is_count(count)), default=0)
        if reported > 0:
            tokens, source = reported, "provider"
        else:
            tokens, source = sum(count_text(entry, text) for text in self._texts), "counted"
        self._tokens = (tokens, source)
        self._price = price_of_call(entry, tokens, 0, provider_cost=reported_cost(usage))
        self._error = None
        self._ended(self._price.usd, self._most_spent(tokens if reported else None, usage))

    def _most_spent(self, reported: int | None, usage: object) -> float | None:
        """Return the dollars that a budget counts: the largest figure that can be true."""
        listed = self._worst if reported is None else price_of_call(self._account.entry, reported, 0).usd
        told = most_reported_cost(usage)
        if told is not None and reported is None:
            listed = None
        return max((amount for amount in (self._price.usd, told, listed) if amount is not None), default=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_out:
            # It may have cost anything.
            self._error = CUT_OFF
            self._ended(None)
        if self._costs and self._account.ledger is not None:
            self._account.ledger.append(self._row())
        for release in self._until_booked:
            release()

    def _ended(self, cost: float | None, most: float | None = None) -> None:
        self._is_out = False
        self._costs.append(cost)
        counted = cost if most is None else most
        if counted is None and self._worst is None:
            self._worst = self._account.worst_case(self._texts)
        self._counted.append(self._worst if counted is None else counted)
        if self._reservation is not None:
            self._reservation.settle(counted)
            self._reservation = None

    def _row(self) -> LedgerEntry:
        account, answered = self._account, self._error is None
        tokens, source = self._tokens or (None, None)
        return LedgerEntry(
            run=account.run.id,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            command=account.run.command,
            label=account.run.label,
            role="embedding",
            model=account.entry.name,
            litellm=account.entry.litellm,
            prompt_tokens=tokens,
            completion_tokens=0 if answered else None,
            tokens_source=source,
            # As for other calls: where the cost of an attempt is unknown, so is the request's.
            cost_usd=whole_sum(self._costs),
            list_cost_usd=self._price.usd if answered else None,
            price_source=self._price.source if answered else None,
            seconds=time.perf_counter() - self._started,
            cached=False,
            attempts=len(self._costs),
            error=self._error,
            # A request holds texts of many questions.
            dataset=None,
            query_hash=None,
            most_cost_usd=whole_sum(self._counted),
        )


def _most_tokens(entry: ModelEntry, text: str, exactly: bool) -> int:
    """Return how many tokens an endpoint can find in a text."""
    return most_text_tokens(entry, text, exactly=exactly) + _SPECIAL_TOKENS
