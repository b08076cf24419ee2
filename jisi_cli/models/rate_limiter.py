"""How many calls may be out at one time, in all and per model, and how fast they may follow each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from jisi_cli.config import ModelEntry


@dataclass(frozen=True, slots=True)
class PerMinute:
    """What a provider allows one model in a minute; None for no limit."""

    requests: float | None = None
    tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a pool.

    Attributes:
        concurrency: Calls out at one time, over all models.
        per_model: The same for each model whose pool entry sets no `concurrency`; None for no limit.
        per_minute: What the models may do in a minute, by the pool's name of the model.
    """

    concurrency: int = 16
    per_model: int | None = None
    per_minute: Mapping[str, PerMinute] = field(default_factory=dict)


class Turnstile:
    """Lets calls through up to the limits; a model that says "later" is left alone until then."""

    def __init__(self, limits: Limits, entries: Iterable[ModelEntry]) -> None:
        self._all = asyncio.Semaphore(limits.concurrency)
        self._models = {
            entry.name: asyncio.Semaphore(most)
            for entry in entries
            if (most := entry.concurrency or limits.per_model) is not None
        }
        self._per_minute = limits.per_minute
        self._closed_until: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, model: str) -> AsyncIterator[None]:
        """Wait for a turn with a model and hold it."""
        # The model's own turn comes first: a call that waits for a busy model must not block the others.
        async with self._models.get(model) or nullcontext():
            await self._enter(model)
            try:
                yield
            finally:
                self._all.release()

    def close_for(self, model: str, seconds: float) -> None:
        """Start no call to a model for some seconds: it said when to come back."""
        self._closed_until[model] = max(_now() + seconds, self._closed_until.get(model, 0.0))

    def count_tokens(self, model: str, tokens: int) -> None:
        """Let a model rest for as long as these tokens take at its rate."""
        rate = self._per_minute.get(model, PerMinute())
        if rate.tokens is not None:
            self._closed_until[model] = max(_now(), self._closed_until.get(model, 0.0)) + 60 * tokens / rate.tokens

    async def _enter(self, model: str) -> None:
        """Take one of the turns over all models, at a moment when this model may be called."""
        await self._all.acquire()
        while (wait := self._closed_until.get(model, 0.0) - _now()) > 0:
            self._all.release()
            await asyncio.sleep(wait)
            await self._all.acquire()
        rate = self._per_minute.get(model, PerMinute())
        if rate.requests is not None:
            # Evenly spaced: a provider may count any sixty seconds, or fewer.
            self.close_for(model, 60 / rate.requests)


def _now() -> float:
    return asyncio.get_running_loop().time()
