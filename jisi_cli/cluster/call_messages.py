"""What the driver and the workers that make calls tell each other; many messages travel at once.

Money and turns stay with the driver: a worker asks for each, waits for the grant, and says how it went. A worker that
dies takes nothing with it but the calls that it had out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jisi_cli.config import ModelEntry
from jisi_cli.models.call import CallEvent, Outcome
from jisi_cli.types import Message, Request

# From the driver.


@dataclass(frozen=True, slots=True)
class Make:
    """Make a call; see `models.call.Call`."""

    number: int
    entry: ModelEntry
    messages: Sequence[Message]
    parameters: Mapping[str, Any]
    request: Request
    key: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a call asked for is granted, or refused for a reason that is meant for the user."""

    number: int
    refused: Exception | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody waits for a call any more."""

    number: int


ToWorker = Make | Grant | Drop

# From a worker.


@dataclass(frozen=True, slots=True)
class Want:
    """A call asks for the money of one attempt, or for its turn."""

    number: int
    what: Literal["money", "turn"]
    model: str
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What an attempt cost; None where that is unknown."""

    number: int
    usd: float | None


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """An attempt has ended."""

    number: int


@dataclass(frozen=True, slots=True)
class Rest:
    """A model is to be left alone for some seconds, or for as long as some tokens take at its rate."""

    model: str
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that a live view may show."""

    number: int
    event: CallEvent


@dataclass(frozen=True, slots=True)
class Warned:
    """What does not agree in a provider's figures."""

    words: str


@dataclass(frozen=True, slots=True)
class Made:
    """How a call ended."""

    number: int
    ended: Outcome | Exception


FromWorker = Want | Settled | TurnEnded | Rest | Happened | Warned | Made
