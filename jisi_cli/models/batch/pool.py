"""The pool of a run whose calls were made by batch: answers that are there, and no call for what is not."""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.models.batch.batches import Fetched
from jisi_cli.models.live import LivePool
from jisi_cli.types import Answer, Request


class BatchedPool:
    """Gives out what batches brought; an implementation of `Pool`.

    Args:
        pool: The live pool, of which only the cache is asked.
        fetched: What batches brought.
    """

    def __init__(self, pool: LivePool, fetched: Fetched) -> None:
        self._pool, self._fetched = pool, fetched

    @property
    def models(self) -> Sequence[str]:
        """The names that can be asked."""
        return self._pool.models

    @property
    def live(self) -> bool:
        """Whether models are called."""
        return True

    def can_answer(self, request: Request) -> bool:
        """Whether there is an answer, or a failure for good."""
        return self._pool.can_answer(request) and self.why_unasked(request) is None

    def why_unasked(self, request: Request) -> str | None:
        """Return why a request was not asked; None where it was."""
        return self._fetched.unasked.get(self._pool.call_of(request).key)

    async def ask(self, request: Request) -> Answer:
        """Return what came for a request; the second time it comes from the cache, at no further cost."""
        call = self._pool.call_of(request)
        answer = self._fetched.answers.get(call.key)
        if answer is not None and not answer.ok:
            return answer
        self._fetched.answers.pop(call.key, None)
        if answer is not None:
            return answer
        if not await self._pool.is_kept(call):
            return Answer(request.model, "", role=request.role, error="its answer is not in the cache any more")
        return await self._pool.ask(request)
