"""How long a run waits for workers: as long as others use the cluster, and not for ever where there are none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jisi_cli.errors import JisiError

if TYPE_CHECKING:
    from jisi_cli.cluster.session import Session

_PATIENCE = 120.0
"""Seconds without any worker after which a run gives up, unless what it needs is taken."""
_LOOK = 10.0
"""Seconds until it is looked whether that is so."""
_TELL = 30.0
"""Seconds after which the user is told: on a busy machine a worker takes long to start, and has taken it itself."""


class Patience:
    """Waits for workers.

    Args:
        session: The cluster.
        needs: What a worker takes, by Ray's names: `CPU` and `GPU`.
    """

    def __init__(self, session: Session, needs: Mapping[str, float]) -> None:
        self._session, self._needs = session, {name: number for name, number in needs.items() if number}
        self._told = False
        self.renew()

    def renew(self) -> None:
        """Take note that there is a worker, or that waiting begins."""
        self._began = self._taken = time.monotonic()

    def check(self) -> None:
        """Take note that there is no worker.

        Raises:
            JisiError: There has been none for too long.
        """
        now = time.monotonic()
        if now - self._taken < _LOOK:
            return
        wanted = " and ".join(f"{number:g} {name}" for name, number in self._needs.items())
        if self._session.is_taken(self._needs):
            self._taken = now
            if now - self._began >= _TELL and not self._told:
                self._session.warn(
                    f"waiting for a worker of the Ray cluster with {wanted}; `ray status` shows what is in use"
                )
                self._told = True
        elif now - self._taken > _PATIENCE:
            raise JisiError(
                f"the Ray cluster gave no worker with {wanted} for {_PATIENCE:.0f} seconds; `ray status` says why"
            )
