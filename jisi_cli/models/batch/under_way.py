"""A batch at a provider, as a run that waits for it sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from jisi_cli.models.batch.intake import Taken
from jisi_cli.models.batch.journal import OpenBatch
from jisi_cli.models.batch.service import GONE, NOT_FOUND, Service, State
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.limits import Reservation

_LOOKS: Final = 3
"""How often a provider must say that it has no such batch, one after the other: it may have it only since a moment."""
_MOST_UNREADABLE: Final = 8
"""How often it may answer with what cannot be read, such as a redirect or a page, before it is another server."""


@dataclass(slots=True)
class UnderWay:
    """A batch that is waited for.

    Attributes:
        batch: What the journal has of it.
        service: Where it is.
        reservation: What is set aside for it; None without a limit.
        state: How far it was when it was last looked at.
        taken: What came of its requests.
    """

    batch: OpenBatch
    service: Service
    reservation: Reservation | None
    state: State = field(default_factory=lambda: State(""))
    taken: Taken = field(default_factory=Taken)
    _is_lost: bool = False
    _missed: int = 0
    _unreadable: int = 0

    async def look(self, warn: Callable[[str], None]) -> None:
        """Find out how far it is; a provider that cannot be reached is asked again later.

        Args:
            warn: Told, once, that it cannot be.

        Raises:
            ProviderFailure: It refuses to say, or says what tells nothing, time after time.
        """
        batch_id = self.batch.batch_id or ""
        try:
            state = await self.service.look(batch_id)
            if not state.status:
                raise ProviderFailure("the answer names no state", retryable=True, most_retries=1)
        except ProviderFailure as failure:
            silent = f"{self.service.host} does not say how {batch_id} is doing: {failure.reason}"
            if failure.status == NOT_FOUND:
                self._missed += 1
                self.state = State(GONE if self._missed >= _LOOKS else "")
                return
            if self.is_hopeless(failure):
                failure.reason = silent
                raise
            if not self._is_lost:
                warn(f"{silent}; asking again")
            self._is_lost = True
            return
        self.state, self._is_lost, self._missed = state, False, 0

    def is_hopeless(self, failure: ProviderFailure) -> bool:
        """Whether there is no use in asking a provider again: it refuses, or says what cannot be read once more."""
        self._unreadable += failure.most_retries is not None
        return not failure.retryable or self._unreadable >= _MOST_UNREADABLE
