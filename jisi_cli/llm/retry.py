"""When a failed call is tried again, and how long to wait before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_TRANSIENT = frozenset({408, 425, 429})


def is_transient(status: int) -> bool:
    """Return whether a call that met this HTTP status may go well when repeated as it is.

    That is so for a busy or broken server, not for a request or a key that it refuses.
    """
    return status in _TRANSIENT or status >= 500


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header (RFC 9110, section 10.2.3): seconds, or an HTTP date.

    Args:
        value: The header's value; None when there is no such header.
        now: The present time, with its zone.

    Returns:
        Seconds from now, at least 0; None when there is nothing to read.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        # A date without a zone is in GMT, as HTTP dates are.
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (zoned - now).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Attributes:
        max_retries: Attempts after the first.
        base: Upper bound of the first wait, in seconds; it doubles with every retry.
        cap: Upper bound of any wait that jisi chooses, in seconds.
        retry_after_cap: The longest `Retry-After` that is waited for, in seconds.
    """

    max_retries: int = 3
    base: float = 0.5
    cap: float = 30.0
    retry_after_cap: float = 120.0

    def delay(self, retry: int, retry_after: float | None, rng: np.random.Generator) -> float:
        """Return the seconds to wait before a retry.

        A provider that says when to come back is believed up to `retry_after_cap`; a little jitter keeps
        the calls it turned away from coming back all at once. Otherwise the wait is uniform in
        [0, min(cap, base * 2^(retry - 1))).

        Args:
            retry: Which retry this is, from 1.
            retry_after: What the provider asked for, in seconds; None when it did not.
            rng: Source of the jitter.
        """
        jitter = float(rng.random())
        # Beyond a thousand retries the power is no number any more.
        bound = min(self.cap, self.base * 2.0 ** min(retry - 1, 64))
        if retry_after is None:
            return jitter * bound
        return min(retry_after, self.retry_after_cap) + jitter * min(bound, 1.0)
