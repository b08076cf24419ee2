"""How long a run waits for workers: as long as others use the cluster, and not for ever where there are none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jisi_cli.errors import JisiError

if TYPE_CHECKING:
    from jisi_cli.cluster.session import Session

_PATIENCE = 120.0
"""Seconds without any worker after which a run gives up, unless others have what it needs."""
_SOON = 10.0
"""Seconds between looks at whether others have it."""


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
        self._since = time.monotonic()

    def check(self) -> None:
        """Take note that there is no worker.

        Raises:
            JisiError: There has been none for too long.
        """
        waited = time.monotonic() - self._since
        if waited < _SOON:
            return
        wanted = " and ".join(f"{number:g} {name}" for name, number in self._needs.items())
        if self._session.is_taken(self._needs):
            if not self._told:
                self._session.warn(f"others use the whole Ray cluster; waiting for a worker with {wanted}")
            self._told = True
            self.renew()
        elif waited > _PATIENCE:
            raise JisiError(
                f"the Ray cluster gave no worker with {wanted} for {_PATIENCE:.0f} seconds; `ray status` says why"
            )
