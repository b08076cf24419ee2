"""When a call that failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from jisi_cli.models.failure import ProviderFailure


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

    def allows_another(self, attempts: int, failure: ProviderFailure) -> bool:
        """Whether a call that failed is tried again, after so many attempts."""
        most = self.max_retries if failure.most_retries is None else min(self.max_retries, failure.most_retries)
        return failure.retryable and attempts <= most

    def delay(self, retry: int, retry_after: float | None, rng: random.Random) -> float:
        """Return the seconds to wait before a retry.

        A provider that says when to come back is believed up to `retry_after_cap`; a little jitter keeps
        the calls it turned away from coming back all at once. Otherwise the wait is uniform in
        [0, min(cap, base * 2^(retry - 1))).

        Args:
            retry: Which retry this is, from 1.
            retry_after: What the provider asked for, in seconds; None when it did not.
            rng: Source of the jitter.
        """
        jitter = rng.random()
        # Beyond a thousand retries the power is no longer a number.
        bound = min(self.cap, self.base * 2.0 ** min(retry - 1, 64))
        if retry_after is None:
            return jitter * bound
        return min(retry_after, self.retry_after_cap) + jitter * min(bound, 1.0)
