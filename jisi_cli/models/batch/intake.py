"""Results of a batch taken in: each is kept and booked as the answer of a live call is, and marked, once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from jisi_cli.config import ModelEntry
from jisi_cli.models.batch.journal import BatchJournal, OpenBatch
from jisi_cli.models.batch.outcome import Result, Spent, spent_on
from jisi_cli.models.batch.rows import Rows, UnmadeCallFailure
from jisi_cli.models.batch.service import Service, State
from jisi_cli.models.call import Call, Outcome
from jisi_cli.models.completion import Completion
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.live import LivePool
from jisi_cli.models.retry import RetryPolicy
from jisi_cli.types import Answer

_ODD = {
    "malformed": "is no result",
    "unknown": "is about no request of this batch",
    "twice": "is about a request that has a result already",
}


@dataclass(slots=True)
class Taken:
    """What came of the requests of one batch so far.

    Attributes:
        answers: By cache key, those that came, and failures for good.
        again: What is to be submitted once more.
        spent: What the requests took, in dollars, as a budget counts it.
        unkept: How many answers could not be kept, so that the provider's copy is needed.
        odd: Lines that were left out, by what is odd about them.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    again: list[Call] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)
    unkept: int = 0
    odd: Counter[str] = field(default_factory=Counter)

    @property
    def keys(self) -> set[str]:
        """Which requests have ended."""
        return {*self.answers, *(call.key for call in self.again)}

    @property
    def good(self) -> int:
        """How many were answered."""
        return sum(answer.ok for answer in self.answers.values())

    @property
    def spent_usd(self) -> float:
        """Dollars of all."""
        return math.fsum(self.spent)

    def doubts(self) -> Iterable[str]:
        """Yield what is to be said of lines that were left out."""
        for kind, number in (+self.odd).items():
            yield f"{number:,} of the lines of its results left out: each {_ODD[kind]}"


class Intake:
    """Takes results in.

    Args:
        pool: Keeps and books.
        rows: Reads results.
        journal: Where each is marked.
        policy: What is submitted again.
        share: Returns what a batch costs of the list price of a model.
    """

    def __init__(
        self,
        pool: LivePool,
        rows: Rows,
        journal: BatchJournal,
        policy: RetryPolicy,
        share: Callable[[ModelEntry], float],
    ) -> None:
        self._pool, self._rows, self._journal = pool, rows, journal
        self._policy, self._share = policy, share

    async def take(
        self, batch: OpenBatch, calls: Mapping[str, Call], service: Service, state: State, into: Taken
    ) -> None:
        """Take in the results of a batch.

        Args:
            batch: Whose results they are.
            calls: What this run wants of it, by cache key; what others want is theirs to take in.
            service: Where it is.
            state: How it ended.
            into: Receives what comes of them.

        Raises:
            ProviderFailure: A file, or a result in it, cannot be read; what came before that is taken.
        """
        known, seen = self._journal.requests_of(batch.tag), set[str]()
        into.odd.clear()
        for lines in service.results(batch.batch_id or "", state):
            async for line in lines:
                result = service.result_in(line) if line.strip() else None
                if result is None:
                    into.odd["malformed"] += bool(line.strip())
                elif result.key not in known:
                    into.odd["unknown"] += 1
                elif result.key in seen:
                    into.odd["twice"] += 1
                else:
                    seen.add(result.key)
                    if result.key in calls and not known[result.key] and not result.is_unworked:
                        call = calls[result.key]
                        self.settle(batch, call, await self._read(call, result), into)

    def settle(self, batch: OpenBatch, call: Call, found: Completion | ProviderFailure, into: Taken) -> None:
        """Keep, book and mark what came of one request, or have it submitted again.

        What cannot be kept is booked all the same, once, but has not ended: the provider still has it for a later run.
        """
        is_booked = self._journal.is_booked(batch.tag, call.key)
        spent = spent_on(call, found, self._share(call.entry), batch.worst.get(call.key))
        spent = Spent(0.0, 0.0) if is_booked else spent
        # Nothing from here on waits, so that Ctrl-C finds all of it done, or nothing.
        into.spent.append(spent.most)
        is_again = isinstance(found, ProviderFailure) and self._policy.allows_another(batch.attempt, found)
        if not is_again:
            kept = self._pool.keep(call, outcome_of(call, found, spent, batch), is_booked=is_booked)
            into.answers[call.key] = kept.answer
            if not kept.is_kept:
                into.unkept += 1
                self._journal.booked(batch.tag, call.key)
                return
        elif spent.bill != 0.0:
            self._pool.keep(call, outcome_of(call, found, spent, batch))
        self._journal.settle(batch.tag, [call.key])
        if is_again:
            into.again.append(call)

    async def _read(self, call: Call, result: Result) -> Completion | ProviderFailure:
        if result.failure is not None or result.status is None:
            return result.failure or ProviderFailure("the batch brought no answer to it")
        try:
            return await self._rows.read(call, result.status, result.body)
        except UnmadeCallFailure:
            # The answer is there and has been paid for; it is read when that is possible again.
            raise
        except ProviderFailure as failure:
            return failure


def outcome_of(call: Call, found: Completion | ProviderFailure, spent: Spent, batch: OpenBatch) -> Outcome:
    """Return what became of a call that was made by batch."""
    return Outcome(
        completion=found if isinstance(found, Completion) else None,
        error=found.lack if isinstance(found, Completion) else found.reason,
        attempts=batch.attempt,
        cost_usd=spent.bill,
        most_cost_usd=None if batch.worst.get(call.key) is None else spent.most,
        seconds=(datetime.now(UTC) - batch.began).total_seconds(),
        key_refused=isinstance(found, ProviderFailure) and found.key_refused,
    )
