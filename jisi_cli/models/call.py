"""One call: what is sent, what a live view is told of it, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from jisi_cli.config import ModelEntry
from jisi_cli.types import Message, OnText, Request, Role, whole_sum

if TYPE_CHECKING:
    from jisi_cli.models.completion import Completion
    from jisi_cli.models.failure import ProviderFailure

CUT_OFF = "cut off before its answer came"
"""The error of a call that was out when its question went away: a client left, or Ctrl-C was pressed."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """Something a live view may show.

    A `retry` means that the response begins again: pieces streamed so far belong to no answer.

    Attributes:
        kind: `waiting` when another process makes the same call already, `started` when the first request
            goes out, `retry` when another will after `wait` seconds, `adapted` when one follows without, or with
            another name for, a parameter that the model refused, `refused` when the model is asked no more because its
            key is missing or was refused.
        model: The pool's name of the model.
        role: Why the call is made.
        attempt: Attempts made so far.
        reason: Why the last attempt failed or the key was refused, or what was adapted; else None.
        wait: Seconds until the next attempt.
    """

    kind: Literal["waiting", "started", "retry", "adapted", "refused"]
    model: str
    role: Role
    attempt: int = 0
    reason: str | None = None
    wait: float = 0.0


OnEvent = Callable[[CallEvent], None]


class Asker:
    """Who asked for a call, and is told of it while they wait; others may wait longer for the same call.

    Args:
        on_event: Receives what happens.
        on_text: Receives the response piece by piece; None to get it whole.

    Attributes:
        has_gone: Whether they have stopped waiting, after which they are told nothing.
    """

    def __init__(self, on_event: OnEvent, on_text: OnText | None) -> None:
        self._on_event, self._on_text = on_event, on_text
        self.has_gone = False

    def tell(self, event: CallEvent) -> None:
        """Tell what happens."""
        if not self.has_gone:
            self._on_event(event)

    @property
    def on_text(self) -> OnText | None:
        """What receives the response piece by piece; None where it is to come whole."""
        return None if self._on_text is None else self._pass_on

    def _pass_on(self, piece: str) -> None:
        if not self.has_gone and self._on_text is not None:
            self._on_text(piece)


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it will be sent.

    Attributes:
        entry: The model's pool entry.
        messages: The conversation, the entry's system message included.
        parameters: Sampling parameters by LiteLLM's names.
        request: What it was made of.
        key: Its cache key.
        asker: Who is told of it.
    """

    entry: ModelEntry
    messages: Sequence[Message]
    parameters: Mapping[str, Any]
    request: Request
    key: str
    asker: Asker


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    Attributes:
        completion: What the model returned last, even if it is empty; None when it never returned.
        error: Why there is no answer, in one line; None when there is one.
        attempts: How often it was tried.
        cost_usd: Dollars of all attempts; None when one of them is unknown.
        most_cost_usd: Dollars that limits count for them, each of unknown cost at its worst case; None where that is
            not known either.
        seconds: From the first request to the end.
        key_refused: Whether it failed because the key is missing or was refused.
        is_cut_short: Whether another attempt was due, which its own question's limit forbade.
    """

    completion: Completion | None
    error: str | None
    attempts: int
    cost_usd: float | None
    most_cost_usd: float | None
    seconds: float
    key_refused: bool = False
    is_cut_short: bool = False


@dataclass(slots=True)
class Course:
    """The attempts of one call; kept by what makes the call, so that it is known even if the call is cut off.

    Attributes:
        started: When the first request went out.
        ended: When the answer was there; None before.
        costs: Dollars of each attempt, the one that is out included; None while, or where, they are not known.
        counted: Dollars that limits count for each of them: the worst case of one whose cost is not known, and None
            where that is not known either.
        failure: What the last attempt met; None while one is out.
        before_attempt: Called before a request goes out; None for nothing.
        until_booked: What is to be called once the ledger has the call, or nothing of it has gone out.
    """

    started: float = 0.0
    ended: float | None = None
    costs: list[float | None] = field(default_factory=list)
    counted: list[float | None] = field(default_factory=list)
    failure: ProviderFailure | None = None
    before_attempt: Callable[[], None] | None = None
    until_booked: list[Callable[[], None]] = field(default_factory=list)

    def begin_attempt(self) -> None:
        """Note that a request goes out; until it is known what it cost, it may have cost anything."""
        if self.before_attempt is not None:
            self.before_attempt()
        if not self.costs:
            self.started = time.perf_counter()
        self.costs.append(None)
        self.failure = None

    def booked(self) -> None:
        """Note that nothing of it is out any more that the ledger has not."""
        for release in self.until_booked:
            release()
        self.until_booked.clear()

    @property
    def may_have_cost(self) -> bool:
        """Whether any request went out, which a provider may bill however the call ends."""
        return bool(self.costs)

    def outcome(self, completion: Completion | None, *, is_cut_short: bool = False) -> Outcome:
        """Return how the call ended, with an answer or without."""
        return self._outcome(completion, self._error(completion), is_cut_short=is_cut_short)

    def cut_off(self) -> Outcome:
        """Return how a call ended for which no one waits any more."""
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
