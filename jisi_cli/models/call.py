"""One call: what is sent, what a live view is told of it, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jisi_cli.config import ModelEntry
from jisi_cli.types import Message, Request, Role

if TYPE_CHECKING:
    from jisi_cli.models.completion import Completion


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it will be sent.

    Attributes:
        entry: The model's pool entry.
        messages: The conversation, the entry's system message included.
        parameters: Sampling parameters by LiteLLM's names.
        request: What it was made of.
        key: Its cache key.
    """

    entry: ModelEntry
    messages: Sequence[Message]
    parameters: Mapping[str, Any]
    request: Request
    key: str


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    Attributes:
        completion: What the model returned last, even if it is empty; None when it never returned.
        error: Why there is no answer, in one line; None when there is one.
        attempts: How often it was tried.
        cost_usd: Dollars of all attempts; None when one of them is unknown.
        most_cost_usd: Dollars that a budget counts for them, each of unknown cost at its worst case; None without one.
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
