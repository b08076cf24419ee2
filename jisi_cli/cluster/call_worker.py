"""What makes calls in a process of the cluster: the caller of every run, whose money and turns the driver holds."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import jisi_cli
from jisi_cli.cluster.call_messages import (
    Drop,
    FromWorker,
    Grant,
    Happened,
    Made,
    Make,
    Rest,
    Settled,
    ToWorker,
    TurnEnded,
    Want,
    Warned,
)
from jisi_cli.cluster.session import source_hash
from jisi_cli.config import ModelEntry
from jisi_cli.models.address import environment_addresses
from jisi_cli.models.call import Asker, Call, CallEvent, Course
from jisi_cli.models.facts import missing_key
from jisi_cli.models.local import LocalModels
from jisi_cli.models.provider import Provider
from jisi_cli.models.retry import Caller, RetryPolicy

_number: ContextVar[int] = ContextVar("number")
"""Which call the code that runs belongs to."""
_LONGEST_WAIT = 10.0
"""Seconds after which a worker that has nothing to tell says so."""


@dataclass(frozen=True, slots=True)
class CallSettings:
    """How calls are made, as the driver says.

    Attributes:
        timeout: Seconds one attempt may take.
        policy: When a call that failed is tried again.
        has_budget: Whether anything limits what calls may cost.
        setting: What asks for that limit, for messages.
    """

    timeout: float
    policy: RetryPolicy
    has_budget: bool
    setting: str


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a worker says of its node before it gets a call.

    Attributes:
        node: The node's name.
        version: Of its jisi.
        source: Hash of its jisi's source.
        litellm: Version of its LiteLLM, whose prices it reserves money by.
        missing_keys: For models whose key it lacks, the variable to set there.
        addresses: For each model, a hash of what its environment says of the address.
    """

    node: str
    version: str
    source: str
    litellm: str
    missing_keys: dict[str, str]
    addresses: dict[str, str]


def litellm_version() -> str:
    """Return the version of LiteLLM that is installed here."""
    return metadata.version("litellm")


def hashed_addresses(entries: Sequence[ModelEntry]) -> dict[str, str]:
    """Return for each model a hash of what this environment says of where it is reached."""
    found = {entry.name: sorted(environment_addresses(entry.litellm, entry.api_base).items()) for entry in entries}
    return {name: hashlib.sha256(repr(addresses).encode()).hexdigest() for name, addresses in found.items()}


class CallWorker:
    """Makes the calls that the driver puts in, and gives out what is to be told of them.

    Args:
        settings: How calls are made.
    """

    def __init__(self, settings: CallSettings) -> None:
        self._local_models = LocalModels()
        self._provider = Provider(settings.timeout, self._local_models)
        desk = _Desk(self._tell, settings.setting)
        self._desk = desk
        self._caller = Caller(
            self._provider,
            desk,
            desk if settings.has_budget else None,
            settings.policy,
            random.Random(),
            lambda words: self._tell(Warned(words)),
        )
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._told: list[FromWorker] = []
        self._has_news = asyncio.Event()

    async def hello(self, entries: Sequence[ModelEntry]) -> Greeting:
        """Say what this node has."""
        missing = {entry.name: found for entry in entries if (found := missing_key(entry)) is not None}
        node, version = platform.node(), jisi_cli.__version__
        return Greeting(node, version, source_hash(), litellm_version(), missing, hashed_addresses(entries))

    async def put(self, messages: Sequence[ToWorker]) -> None:
        """Take in what the driver says."""
        for message in messages:
            match message:
                case Make():
                    self._calls[message.number] = asyncio.create_task(self._make(message))
                case Grant():
                    self._desk.granted(message)
                case Drop():
                    if message.number in self._calls:
                        self._calls[message.number].cancel()

    async def take(self) -> list[FromWorker]:
        """Return what there is to tell, as soon as there is anything."""
        try:
            await asyncio.wait_for(self._has_news.wait(), _LONGEST_WAIT)
        except TimeoutError:
            return []
        told, self._told = self._told, []
        self._has_news.clear()
        return told

    async def close(self) -> None:
        """Close the connections and end the local models."""
        for task in self._calls.values():
            task.cancel()
        await self._caller.close()
        await self._local_models.close()

    def _tell(self, message: FromWorker) -> None:
        self._told.append(message)
        self._has_news.set()

    async def _make(self, make: Make) -> None:
        _number.set(make.number)

        def on_event(event: CallEvent) -> None:
            self._tell(Happened(make.number, event))

        call = Call(make.entry, make.messages, make.parameters, make.request, make.key, Asker(on_event, None))
        try:
            self._tell(Made(make.number, await self._caller.call(call, Course())))
        except Exception as error:  # the driver raises it, where it belongs
            self._tell(Made(make.number, error))
        finally:
            del self._calls[make.number]
            self._desk.forget(make.number)


class _Desk:
    """Stands in for the limiter and the budget: asks the driver for each, and waits."""

    def __init__(self, tell: Callable[[FromWorker], None], setting: str) -> None:
        self._tell, self.setting = tell, setting
        self._waiting: dict[int, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def turn(self, model: str) -> AsyncIterator[None]:
        """Wait for a turn with a model and hold it."""
        await self._ask("turn", model)
        try:
            yield
        finally:
            self._tell(TurnEnded(_number.get()))

    def close_for(self, model: str, seconds: float) -> None:
        """Start no call to a model for some seconds."""
        self._tell(Rest(model, seconds=seconds))

    def count_tokens(self, model: str, tokens: int) -> None:
        """Let a model rest for as long as these tokens take at its rate."""
        self._tell(Rest(model, tokens=tokens))

    async def reserve(self, model: str, worst_case_usd: float | None) -> _Reserved:
        """Set aside the worst case of one attempt."""
        await self._ask("money", model, worst_case_usd)
        return _Reserved(self._tell, _number.get())

    def check(self) -> None:
        """Do nothing: the driver looks before it grants a turn."""

    def granted(self, grant: Grant) -> None:
        """Let a call go on that waits."""
        waiting = self._waiting.pop(grant.number, None)
        if waiting is None or waiting.done():
            return
        if grant.refused is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(grant.refused)

    def forget(self, number: int) -> None:
        """Forget a call that has ended."""
        self._waiting.pop(number, None)

    async def _ask(self, what: Literal["money", "turn"], model: str, usd: float | None = None) -> None:
        number = _number.get()
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._tell(Want(number, what, model, usd))
        await self._waiting[number]


class _Reserved:
    """Money of one attempt, which the driver holds."""

    def __init__(self, tell: Callable[[FromWorker], None], number: int) -> None:
        self._tell, self._number = tell, number

    def settle(self, actual_usd: float | None) -> None:
        """Say what the attempt cost."""
        self._tell(Settled(self._number, actual_usd))

    def booked(self) -> None:
        """Do nothing: the ledger is the driver's."""
