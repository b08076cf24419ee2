"""Calls made by workers of a cluster, within the limits and the budget of this process.

It stands where `Caller` does, so cache, ledger and what waits for equal calls stay in this process. A worker asks here
for money and for its turn before each attempt. When it dies, what its attempts had set aside counts as spent, because
a provider may bill them, and its calls are made again by another worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from jisi_cli.cluster.call_messages import (
    Drop,
    FromWorker,
    Happened,
    Made,
    Make,
    Rest,
    Settled,
    TurnEnded,
    Want,
    Warned,
)
from jisi_cli.cluster.call_worker import CallSettings, CallWorker, Greeting, hashed_addresses, litellm_version
from jisi_cli.cluster.crew import failed_to_start, require_same_source
from jisi_cli.cluster.flight import Flight, Line
from jisi_cli.cluster.patience import Patience
from jisi_cli.cluster.session import Session
from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError, JisiError
from jisi_cli.models.call import Call, Course, Outcome
from jisi_cli.models.facts import missing_key
from jisi_cli.models.limits import Budget, RateLimiter, question_budget
from jisi_cli.models.redaction import secrets_in
from jisi_cli.models.retry import RetryPolicy

_MOST_DEATHS = 20
"""Workers that may die over one call before it counts as failed: it may be the call that kills them."""
_PAUSE = 0.5
"""Seconds until another worker is asked for in place of one that died."""
_LOOK = 1.0
_CLOSING_SECONDS = 10.0


def require_no_keys(entries: Sequence[ModelEntry]) -> None:
    """Refuse models whose key, or a header that may be one, stands in the pool file: it would be sent to the nodes.

    Raises:
        InputError: There is one.
    """
    for entry in entries:
        if secrets_in(entry.params):
            raise InputError(
                f"model `{entry.name}`: `params` hold headers or what may be a key, and --engine ray would send them "
                'to every node; name the variable that holds the key there, api_key_env = "…", or leave --engine out'
            )


class ClusterCaller:
    """Makes calls on a cluster; it stands where `models.retry.Caller` does.

    Args:
        session: The cluster.
        most: Workers at most.
        entries: The models that may be called.
        timeout: Seconds one attempt may take.
        limiter: Limits the calls that are out, on all workers together.
        budget: Limits what they may cost together; None for no limit.
        policy: When a worker tries again.
        warn: Told what does not agree in a provider's figures, and of workers that died.
    """

    def __init__(
        self,
        session: Session,
        most: int,
        entries: Sequence[ModelEntry],
        timeout: float,
        limiter: RateLimiter,
        budget: Budget | None,
        policy: RetryPolicy,
        warn: Callable[[str], None] | None,
    ) -> None:
        self._session, self._ray, self._size = session, session.ray, max(1, min(session.cpus, most))
        self._entries = list(entries)
        setting = "--max-cost" if budget is None else budget.setting
        self._settings = CallSettings(timeout, policy, budget is not None, setting)
        self._limiter, self._budget, self._warn = limiter, budget, warn or (lambda words: None)
        self._patience = Patience(session, {"CPU": 1.0})
        self._lines: list[Line] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._problem: Exception | None = None
        self._has_news = asyncio.Event()
        self._warned: set[str] = set()
        self._numbers = 0

    async def call(self, call: Call, course: Course) -> Outcome:
        """Have a call made; see `Caller.call`.

        Raises:
            BudgetError: The first attempt does not fit what is left of the budget.
            InputError: A parameter makes it unknowable what the call can cost.
            JisiError: No worker can be had, or a node is not as it must be.
        """
        if not self._keepers:
            self._patience.renew()
            self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._size)]
            self._keepers.append(asyncio.create_task(self._watch()))
        flight = await self._take_off(call, course)
        try:
            for _ in range(_MOST_DEATHS):
                ended = await flight.ended
                if isinstance(ended, Exception):
                    raise ended
                if ended is not None:
                    return self._told(flight, ended)
                await self._go_on(flight)
        except BaseException:
            if flight.line.flights.pop(flight.number, None) is not None:
                flight.line.send(Drop(flight.number))
            flight.let_go()
            raise
        raise JisiError(f"{_MOST_DEATHS} workers died over one call to `{call.entry.name}`; see the logs of Ray")

    async def close(self) -> None:
        """End the workers."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers.clear()

    @staticmethod
    def _told(flight: Flight, ended: Outcome) -> Outcome:
        """Return how a call ended, after telling who wanted to hear it piece by piece."""
        on_text = flight.call.asker.on_text
        if on_text is not None and ended.completion is not None and ended.error is None:
            on_text(ended.completion.text)
        return flight.outcome(ended)

    # Calls on their way.

    async def _take_off(self, call: Call, course: Course) -> Flight:
        self._numbers += 1
        number, budget = self._numbers, question_budget.get() or self._budget
        flight = Flight(number, call, course, budget, Line(), asyncio.get_running_loop().create_future())
        await self._go_on(flight)
        return flight

    async def _go_on(self, flight: Flight) -> None:
        """Hand a call to the worker that has least to do, as soon as there is one."""
        call, flight.line = flight.call, await self._free_line()
        flight.ended = asyncio.get_running_loop().create_future()
        flight.line.flights[flight.number] = flight
        request = replace(call.request, on_text=None)
        flight.line.send(Make(flight.number, call.entry, call.messages, call.parameters, request, call.key))

    async def _free_line(self) -> Line:
        while True:
            if self._problem is not None:
                raise self._problem
            if self._lines:
                self._patience.renew()
                return min(self._lines, key=lambda line: len(line.flights))
            self._patience.check()
            self._has_news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_news.wait(), _LOOK)

    def _hear(self, line: Line, message: FromWorker) -> None:
        if isinstance(message, Warned):
            if message.words not in self._warned:
                self._warned.add(message.words)
                self._warn(message.words)
        elif isinstance(message, Rest):
            self._limiter.close_for(message.model, message.seconds)
            self._limiter.count_tokens(message.model, message.tokens)
        elif (flight := line.flights.get(message.number)) is not None:
            self._hear_of(flight, message)

    def _hear_of(self, flight: Flight, message: Want | Settled | TurnEnded | Happened | Made) -> None:
        match message:
            case Want(what="money"):
                flight.wants_money(message.usd)
            case Want():
                flight.wants_turn(self._limiter)
            case Settled():
                flight.settle(message.usd)
            case TurnEnded():
                flight.turn_ended()
            case Happened():
                flight.call.asker.tell(message.event)
            case Made():
                del flight.line.flights[flight.number]
                flight.end(message.ended)

    # Workers: each place is kept by a task, which asks for another worker when one dies.

    async def _keep(self) -> None:
        from ray.exceptions import RayError, RayTaskError

        remote = self._ray.remote(CallWorker).options(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")
        while self._problem is None:
            handle, line = remote.remote(self._settings), Line()
            try:
                self._check(await _reply(handle.hello.remote(self._entries)))
                self._lines.append(line)
                self._has_news.set()
                await self._serve(handle, line)
            except RayTaskError as error:  # a fault of jisi
                self._problem = error
            except RayError as error:  # its process or its node is gone, or what it had told
                self._mourn(line, error)
            except asyncio.CancelledError:
                if line in self._lines:  # one that has not begun has nothing to close, and may never begin
                    with suppress(Exception):  # whatever becomes of it, the run has its answers
                        await asyncio.wait_for(_reply(handle.close.remote()), _CLOSING_SECONDS)
                raise
            except Exception as error:  # a fault of a node, or of jisi: all calls end with it
                self._problem = error
            finally:
                self._lines = [other for other in self._lines if other is not line]
                for ended in [line] if self._problem is None else [line, *self._lines]:
                    self._end(ended)
                self._ray.kill(handle)
            await asyncio.sleep(_PAUSE)

    async def _serve(self, handle: Any, line: Line) -> None:  # noqa: ANN401 - Ray's
        """Carry messages to and from a worker, until it dies."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._deliver(handle, line))
                group.create_task(self._listen(handle, line))
        except* Exception as failed:
            raise failed.exceptions[0] from None

    async def _deliver(self, handle: Any, line: Line) -> None:  # noqa: ANN401
        while True:
            await _reply(handle.put.remote(await line.mail()))

    async def _listen(self, handle: Any, line: Line) -> None:  # noqa: ANN401
        while True:
            for message in await _reply(handle.take.remote()):
                self._hear(line, message)

    async def _watch(self) -> None:
        """End all calls once the head of the cluster is gone: workers that live may have no way to say anything."""
        while self._problem is None:
            try:
                self._session.require_head()
            except JisiError as error:
                self._problem = error
                for line in self._lines:
                    self._end(line)
            await asyncio.sleep(_LOOK)

    def _mourn(self, line: Line, error: Exception) -> None:
        """Say that a worker died; one that never began is a fault of its node."""
        if "__init__" in str(error) or "No module named" in str(error):
            self._problem = JisiError(failed_to_start(error))
        elif line.flights:
            self._warn(f"a worker of the Ray cluster died; calls that it had out are made again: {len(line.flights)}")

    def _end(self, line: Line) -> None:
        """Let the calls of a worker that is gone go on elsewhere, or end with what is wrong."""
        flights = list(line.flights.values())
        line.flights.clear()
        for flight in flights:
            if self._problem is not None and not flight.ended.done():
                flight.ended.set_result(self._problem)
            flight.lose()
        self._has_news.set()

    def _check(self, found: Greeting) -> None:
        """Refuse a node that would send calls elsewhere than this machine, without a key, or at other prices.

        Raises:
            JisiError: It would.
        """
        require_same_source((found.node, found.version, found.source))
        if found.litellm != litellm_version():
            raise JisiError(
                f"node {found.node} of the Ray cluster has LiteLLM {found.litellm}, and this machine has "
                f"{litellm_version()}: their prices may differ, so no limit would hold; install the same on every node"
            )
        for entry in self._entries:
            variable = found.missing_keys.get(entry.name)
            if variable is not None and missing_key(entry) is None:
                raise JisiError(
                    f"node {found.node} of the Ray cluster has no key for {entry.name}; set {variable} there before "
                    "`ray start`, since keys are never sent"
                )
        here = hashed_addresses(self._entries)
        for name, there in found.addresses.items():
            if there != here[name]:
                raise JisiError(
                    f"node {found.node} of the Ray cluster would reach {name} at another address; set the same "
                    "address variables there as here, or name `api_base` in the pool file"
                )


async def _reply(ref: Any) -> Any:  # noqa: ANN401 - Ray's
    return await ref
