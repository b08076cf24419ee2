"""Methods that rank the models and let the best one answer: one call, no probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from jisi_cli.methods.calls import Asker
from jisi_cli.methods.protocol import Listener, Outcome, Query
from jisi_cli.types import Pool, Sampling

Ranking = tuple[str, ...]
"""Models by name, best first."""


class Ranker(Protocol):
    """Ranks the models for each query without a call."""

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query, in order; a block at a time is fastest."""
        ...


class RankedMethod:
    """A router: the first model of a ranking answers; where it cannot, the next one.

    Args:
        ranker: Makes the rankings.
        reason: Why the first is chosen, in one sentence.
        sampling: Sampling parameters of the call.
    """

    def __init__(self, ranker: Ranker, reason: str, sampling: Sampling | None = None) -> None:
        self._ranker, self._reason = ranker, reason
        self._sampling = sampling or Sampling()

    def plan(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield the ranking of each query."""
        return self._ranker.rank(queries)

    async def answer(self, query: Query, plan: Ranking, pool: Pool, listener: Listener) -> Outcome:
        """Ask the best model, then the next ones until one answers.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped the call.
        """
        asker = Asker(pool, listener, query)
        answer = await asker.first_that_answers(plan, query.messages(), "expert", self._sampling)
        if answer is None:
            raise asker.nobody()
        first = answer.model == plan[0]
        reason = self._reason if first else f"{plan[0]} did not answer"
        return Outcome(answer, "route" if first else "fallback", reason, tuple(asker.calls))
