"""Requests that wait for each other: all that is asked about the same time becomes one batch.

A method asks its models one call after another, and does not know that its calls wait. Where many questions are
under way at once, their first calls are submitted together, and then together what depends on the answers to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from jisi_cli.errors import BudgetError, ExitCode, JisiError, NoAnswerError
from jisi_cli.models.batch.batches import Batches, OnProgress
from jisi_cli.models.batch.pool import BesideLive, Fetched
from jisi_cli.models.live import LivePool
from jisi_cli.types import Answer, Request

_QUIET = 3.0
"""Seconds without another request, after which those that wait are submitted; what comes later has its own batch."""


class BatchesLeftError(JisiError):
    """A provider does not say how far it is, which is no failure of a model: the run ends, and a later one goes on."""

    exit_code = ExitCode.NO_ANSWER


class BatchQueue(BesideLive):
    """Asks by batch; an implementation of `Pool`. Close it with `await queue.close()`.

    Args:
        pool: The live pool: it says what a call is, keeps and books.
        make: Makes what submits requests and waits for them, given whom to tell how far it is.
        on_progress: Told how far all of it is.
        quiet: Seconds without another request, after which those that wait are submitted.

    Attributes:
        fetched: What has come so far.
    """

    def __init__(
        self,
        pool: LivePool,
        make: Callable[[OnProgress], Batches],
        on_progress: OnProgress | None = None,
        quiet: float = _QUIET,
    ) -> None:
        super().__init__(pool)
        self.fetched = Fetched()
        self._make, self._quiet = make, quiet
        self._on_progress = on_progress
        self._progress: list[tuple[int, int]] = []
        self._waiting: dict[str, tuple[Request, asyncio.Future[None]]] = {}
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._last = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: Request) -> Answer:
        """Wait for the batch that brings the answer; nothing that is cached is booked.

        Raises:
            BudgetError: The request does not fit what is left of the budget.
            BatchesLeftError: A provider does not say what it has.
            InputError: See `Batches.fetch`.
        """
        key = self._pool.call_of(request).key
        answer = await self._there(request, key)
        if answer is None:
            await asyncio.shield(self._joined(request, key))
            answer = await self._there(request, key)
        return answer or Answer(request.model, "", role=request.role, error="no batch brought an answer")

    async def close(self) -> None:
        """Wait for nothing any more; what was submitted goes on at the providers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _there(self, request: Request, key: str) -> Answer | None:
        """Return what is there already; None where it is to be asked for."""
        if key in self.fetched.answers:
            return self.fetched.answers[key]
        why = self.fetched.unasked.get(key)
        if why is None:
            return await self._pool.kept(self._pool.call_of(request))
        if self.fetched.stopped is not None:
            raise BudgetError(self.fetched.stopped)
        return Answer(request.model, "", role=request.role, error=why)

    def _joined(self, request: Request, key: str) -> asyncio.Future[None]:
        """Return what is done when the batch of a request has ended."""
        if key in self._under_way:
            return self._under_way[key]
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        if not self._waiting:
            self._start(self._submit())
        return self._waiting.setdefault(key, (request, loop.create_future()))[1]

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _submit(self) -> None:
        """Submit all that waits, once nothing more comes, and tell those who wait when it has ended."""
        while (left := self._last + self._quiet - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)
        waiting, self._waiting = self._waiting, {}
        self._under_way |= {key: done for key, (_, done) in waiting.items()}
        number = len(self._progress)
        self._progress.append((0, len(waiting)))
        batches = self._make(lambda done, total: self._show(number, done, total))
        try:
            found = await batches.fetch([request for request, _ in waiting.values()])
        except Exception as error:  # even one of ours: those who wait would wait for ever
            told = BatchesLeftError(str(error)) if isinstance(error, NoAnswerError) else error
            for _, done in waiting.values():
                done.set_exception(told)
            return
        finally:
            await batches.close()
            for key in waiting:
                del self._under_way[key]
        self.fetched.answers |= found.answers
        self.fetched.unasked |= found.unasked
        self.fetched.stopped = self.fetched.stopped or found.stopped
        for _, done in waiting.values():
            done.set_result(None)

    def _show(self, number: int, done: int, total: int) -> None:
        self._progress[number] = done, total
        if self._on_progress is not None:
            self._on_progress(sum(done for done, _ in self._progress), sum(total for _, total in self._progress))
