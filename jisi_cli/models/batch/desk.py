"""Submitting requests so that they are worked on once, though the line may break, or this process end, any moment."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from jisi_cli.errors import NoAnswerError
from jisi_cli.models.batch.journal import BatchJournal, OpenBatch
from jisi_cli.models.batch.request_file import RequestFile
from jisi_cli.models.batch.rows import Place
from jisi_cli.models.batch.service import NOT_FOUND, RefusedError, Service, State, service_at
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.retry import RetryPolicy

T = TypeVar("T")

_LOOKS = 3
"""How often a provider is asked whether it has a batch, before another is created: its list may lag behind."""
_LOOKS_AT_FILE = 30
"""How often it is asked whether it has read a file, with pauses that grow: most of an hour."""
_OF_AN_ACCOUNT = ("openai-organization", "openai-project")
"""Headers that choose among the accounts of one key."""


class Desk:
    """Submits requests to providers, finds again what was submitted, and deletes what nobody needs any more.

    Args:
        journal: Where each step is written down before the next.
        timeout: Seconds without a byte from a provider.
        policy: How often, and how soon, a provider that fails is asked again.
        pause: Seconds between such attempts, by their number.
    """

    def __init__(
        self, journal: BatchJournal, timeout: float, policy: RetryPolicy, pause: Callable[[int], float]
    ) -> None:
        self._journal, self._timeout, self._policy, self._pause = journal, timeout, policy, pause
        self._services: dict[Place, Service] = {}

    def service(self, place: Place) -> Service:
        """Return the batch endpoints beside where a model's calls go."""
        if place not in self._services:
            self._services[place] = service_at(place, self._timeout)
        return self._services[place]

    def account(self, place: Place) -> str:
        """Return what tells the account that calls of a model are charged to from others; see `BatchJournal`."""
        names = [place.headers.get(name, "") for name in _OF_AN_ACCOUNT]
        return self._journal.account("\0".join([place.key, *names]))

    async def close(self) -> None:
        """Close the connections."""
        for service in self._services.values():
            await service.close()

    def tag(self) -> str:
        """Return a name for a batch that no other has."""
        return secrets.token_hex(16)

    async def submit(self, place: Place, tag: str, model: str, attempt: int, file: RequestFile) -> OpenBatch:
        """Submit requests.

        Raises:
            RefusedError: The provider does not take them; then it has none of them.
            NoAnswerError: Whether it took them is not known, and cannot be found out now; a later run looks for them.
        """
        service, account = self.service(place), self.account(place)
        batch = self._journal.about_to_submit(tag, model, file.content, attempt, file.worst, account)
        try:
            # What arrived without our hearing of it costs nothing, so it may be sent again.
            file_id = await self._insisting(lambda: service.prepare(file, tag))
        except ProviderFailure as failure:
            # They may have arrived all the same.
            await self._refused(service, batch)
            raise RefusedError(failure.reason) from failure
        self._journal.uploaded(tag, file_id)
        return await self._created(service, replace(batch, file_id=file_id), file)

    async def is_in_reach(self, place: Place, batch: OpenBatch) -> bool:
        """Whether a batch can be seen with the key that is set now: the one it was submitted with, or one as good.

        Raises:
            NoAnswerError: The provider cannot be asked now.
        """
        if batch.account is None or batch.account == self.account(place):
            return True
        service, batch_id = self.service(place), batch.batch_id
        if batch_id is None:
            found = await self._found(service, batch)
            return found is not None and not found.is_presumed
        try:
            await self._insisting(lambda: service.look(batch_id))
        except ProviderFailure as failure:
            if not _is_refusal(failure):
                raise _unknown(service, failure) from failure
            return False
        return True

    async def identified(self, service: Service, batch: OpenBatch) -> OpenBatch | None:
        """Return a batch with the provider's name of it; None where the provider never had it, which is forgotten.

        Raises:
            RefusedError: The provider has its file, and takes no batch of it.
            NoAnswerError: The provider cannot be asked now.
        """
        if batch.batch_id is not None and not batch.is_presumed:
            return batch
        # What it may have been is somebody else's batch, if it is not ours, and nothing is done to it.
        batch = replace(batch, batch_id=None, is_presumed=False)
        found = await self._found(service, batch)
        if found is not None:
            return found
        if batch.file_id is not None and service.keeps_requests:
            return await self._created(service, batch, None)
        await self._refused(service, batch)
        return None

    async def tidy(self, service: Service, batch: OpenBatch, state: State | None = None) -> str | None:
        """Delete what a provider has of a batch, once all its requests have ended; nobody needs it any more.

        A provider that cannot be reached, or credentials that are missing, are tried again by a later run; a provider
        that refuses is not.

        Args:
            service: Where it is.
            batch: Which.
            state: How it ended; None to find out.

        Returns:
            Why it still lies there; None where it does not, or is not to be deleted.
        """
        if not self._journal.is_to_be_deleted(batch.tag):
            return None
        try:
            await service.delete(batch, state or await service.look(batch.batch_id or ""))
        except ProviderFailure as failure:
            if failure.status != NOT_FOUND:
                if _is_refusal(failure):
                    self._journal.deleted(batch.tag)
                return failure.reason
        self._journal.deleted(batch.tag)
        return None

    async def tidy_earlier(self, place: Place, model: str) -> None:
        """Delete what an earlier run was kept from deleting.

        Args:
            place: Where calls of a model go.
            model: LiteLLM's name of it.
        """
        for batch in self._journal.left_at_providers():
            if batch.model == model and batch.account in (None, self.account(place)):
                await self.tidy(self.service(place), batch)

    async def _created(self, service: Service, batch: OpenBatch, file: RequestFile | None) -> OpenBatch:
        """Have requests worked on, once.

        Args:
            service: Where.
            batch: What is known of them.
            file: The requests; None where they lie at the provider.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._ready(service, batch)
                batch_id = await service.create(batch, file)
            except RefusedError:
                await self._refused(service, batch)
                raise
            except ProviderFailure as failure:
                if _is_refusal(failure):
                    await self._refused(service, batch)
                    raise RefusedError(failure.reason) from failure
                # It may have been created all the same.
                found = await self._found(service, batch)
                if found is not None:
                    return found
                if not self._policy.allows_another(attempt, failure):
                    raise _unknown(service, failure) from failure
                await asyncio.sleep(self._pause(attempt))
            else:
                self._journal.created(batch.tag, batch_id)
                return replace(batch, batch_id=batch_id)

    async def _ready(self, service: Service, batch: OpenBatch) -> None:
        """Wait until a batch can be created."""
        for look in range(1, _LOOKS_AT_FILE + 1):
            if await self._insisting(lambda: service.is_ready(batch.file_id or "")):
                return
            await asyncio.sleep(self._pause(look))
        raise _unknown(service, ProviderFailure("it has not finished reading the file of its requests"))

    async def _refused(self, service: Service, batch: OpenBatch) -> None:
        """Forget a batch that a provider does not take, and have it forget the requests, as far as it will."""
        self._journal.drop(batch.tag)
        with suppress(ProviderFailure):
            await service.delete(batch, State(""))

    async def _found(self, service: Service, batch: OpenBatch) -> OpenBatch | None:
        """Look for a batch among those of the provider; one that only may be it is presumed, and not noted."""
        keys, others = self._journal.requests_of(batch.tag), self._journal.names()
        for look in range(1, _LOOKS + 1):
            try:
                match = await self._insisting(lambda: service.find(batch, keys, others))
            except ProviderFailure as failure:
                raise _unknown(service, failure) from failure
            if match is not None:
                if match.is_sure:
                    self._journal.created(batch.tag, match.batch_id)
                if match.is_sure and not match.is_deletable:
                    self._journal.deleted(batch.tag)
                return replace(batch, batch_id=match.batch_id, is_presumed=not match.is_sure)
            if look < _LOOKS:
                await asyncio.sleep(self._pause(look))
        return None

    async def _insisting(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do what does no harm when it is done twice, until it goes well or has been tried often enough."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await act()
            except ProviderFailure as failure:
                if not self._policy.allows_another(attempt, failure):
                    raise
                await asyncio.sleep(self._pause(attempt))


def _is_refusal(failure: ProviderFailure) -> bool:
    """Whether a provider has said that it did nothing, and will do nothing."""
    if failure.status == 429 and failure.retryable:
        return False
    return failure.status is not None and 400 <= failure.status < 500 and failure.status not in (408, 409)


def _unknown(service: Service, failure: ProviderFailure) -> NoAnswerError:
    return NoAnswerError(
        f"whether {service.host} received the batch is not known: {failure.reason}; run the same command "
        "again, which looks for it and submits nothing twice"
    )
