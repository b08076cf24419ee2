"""The pool of a run whose calls were made by batch: answers that are there, and no call for what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jisi_cli.errors import BudgetError
from jisi_cli.models.live import LivePool
from jisi_cli.types import Answer, Request


@dataclass(slots=True)
class Fetched:
    """What batches brought.

    Attributes:
        answers: By cache key, what came in this run, failures included; other answers lie in the cache.
        unasked: By cache key, why there is no answer and none should be recorded as failed.
        stopped: Why a budget ended it; None where none did.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    unasked: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None


class BesideLive:
    """What a pool says of itself that makes its calls otherwise than the live pool beside it.

    Args:
        pool: The live pool.
    """

    def __init__(self, pool: LivePool) -> None:
        self._pool = pool

    @property
    def models(self) -> Sequence[str]:
        """The names that can be asked."""
        return self._pool.models

    @property
    def live(self) -> bool:
        """Whether models are called."""
        return True

    def can_answer(self, request: Request) -> bool:
        """Whether a request can be answered."""
        return self._pool.can_answer(request)


class BatchedPool(BesideLive):
    """Gives out what batches brought; an implementation of `Pool`.

    Args:
        pool: The live pool, of which only the cache is asked, and judges.
        fetched: What batches brought.
    """

    def __init__(self, pool: LivePool, fetched: Fetched) -> None:
        super().__init__(pool)
        self._fetched = fetched

    def why_unasked(self, request: Request) -> str | None:
        """Return why a request was not asked; None where it was."""
        return self._fetched.unasked.get(self._pool.call_of(request).key)

    async def ask(self, request: Request) -> Answer:
        """Return what came for a request; the second time it comes from the cache, at no further cost.

        A judge, who reads what came, is called.

        Raises:
            BudgetError: The request was not submitted, since it did not fit what was left of the budget.
        """
        call = self._pool.call_of(request)
        answer = self._fetched.answers.get(call.key)
        if answer is not None:
            if answer.ok:
                del self._fetched.answers[call.key]
            return answer
        if request.role == "judge" or await self._pool.kept(call) is not None:
            return await self._pool.ask(request)
        if self._fetched.stopped is not None:
            raise BudgetError(self._fetched.stopped)
        why = self._fetched.unasked.get(call.key)
        return Answer(request.model, "", role=request.role, error=why or "it was asked by no batch")
