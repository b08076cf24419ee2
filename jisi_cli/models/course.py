"""What has happened to a call so far: its attempts, what each of them cost, and how it ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jisi_cli.models.call import Outcome
from jisi_cli.types import whole_sum

if TYPE_CHECKING:
    from jisi_cli.models.completion import Completion
    from jisi_cli.models.failure import ProviderFailure

CUT_OFF = "cut off before its answer came"
"""The error of a call that was out when its question went away: a client left, or Ctrl-C was pressed."""


@dataclass(slots=True)
class Course:
    """The attempts of one call; whoever makes the call keeps it, so that it is known also when the call is cut off.

    Attributes:
        started: When the first request went out.
        ended: When the answer was there; None before.
        costs: Dollars of each attempt, the one that is out included; None while, or where, they are not known.
        counted: Dollars that limits count for each of them: the worst case of one whose cost is not known, and None
            where that is not known either.
        failure: What the last attempt met; None while one is out.
    """

    started: float = 0.0
    ended: float | None = None
    costs: list[float | None] = field(default_factory=list)
    counted: list[float | None] = field(default_factory=list)
    failure: ProviderFailure | None = None

    def begin_attempt(self) -> None:
        """Note that a request goes out; until it is known what it cost, it may have cost anything."""
        if not self.costs:
            self.started = time.perf_counter()
        self.costs.append(None)
        self.failure = None

    @property
    def may_have_cost(self) -> bool:
        """Whether any request went out, which a provider may bill however the call ends."""
        return bool(self.costs)

    def outcome(self, completion: Completion | None, *, is_cut_short: bool = False) -> Outcome:
        """Return how the call ended, with an answer or without."""
        return self._outcome(completion, self._error(completion), is_cut_short=is_cut_short)

    def cut_off(self) -> Outcome:
        """Return how a call ended that nobody waits for any more."""
        before = "" if self.failure is None else f"{self.failure.reason}; "
        return self._outcome(None, before + CUT_OFF)

    def _outcome(self, completion: Completion | None, error: str | None, *, is_cut_short: bool = False) -> Outcome:
        return Outcome(
            completion=completion,
            error=error,
            attempts=len(self.costs),
            # An attempt that may have cost anything leaves the call's cost unknown.
            cost_usd=whole_sum(self.costs),
            most_cost_usd=whole_sum(self.counted),
            seconds=(self.ended or time.perf_counter()) - self.started,
            key_refused=completion is None and self.failure is not None and self.failure.key_refused,
            is_cut_short=is_cut_short,
        )

    def _error(self, completion: Completion | None) -> str | None:
        if completion is None:
            return self.failure.reason if self.failure is not None else "no attempt was made"
        return completion.lack
