"""The tool calls in a model's answer, whole or put together from the pieces of a stream."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from jisi_cli.messages import ToolCall
from jisi_cli.types import whole_characters


class CalledTools:
    """Puts tool calls together that arrive in pieces."""

    def __init__(self) -> None:
        self._calls: list[_Written] = []
        self._places: dict[object, _Written] = {}

    def feed(self, message: Any) -> int:  # noqa: ANN401 - LiteLLM's Message or Delta
        """Take what a message, or a piece of one, has of tool calls; return its length in characters."""
        length = 0
        for place, piece in enumerate(getattr(message, "tool_calls", None) or ()):
            written, function = self._at(piece, place), getattr(piece, "function", None)
            name, arguments = getattr(function, "name", None), getattr(function, "arguments", None)
            if isinstance(name, str):
                written.name = written.name or name
            if isinstance(arguments, dict):
                arguments = json.dumps(arguments)
            if isinstance(arguments, str):
                written.arguments.append(arguments)
                length += len(arguments)
        return length

    def finish(self) -> tuple[ToolCall, ...]:
        """Return the calls in their order; one without the name of a tool is none."""
        return tuple(written.call(place) for place, written in enumerate(self._calls) if written.name)

    def _at(self, piece: Any, place: int) -> _Written:  # noqa: ANN401 - as above
        """Return the call that a piece continues; some servers number every call of several with 0."""
        index, given = getattr(piece, "index", None), getattr(piece, "id", None)
        index = place if index is None else index
        written = self._places.get(index)
        if written is None or (given and written.id and given != written.id):
            written = self._places[index] = _Written()
            self._calls.append(written)
        if isinstance(given, str):
            written.id = written.id or given
        return written


class _Written:
    """One call as far as it has come."""

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []

    def call(self, place: int) -> ToolCall:
        name, arguments = whole_characters(self.name), whole_characters("".join(self.arguments)) or "{}"
        # Results name the call that they belong to, so that it needs a name.
        made = hashlib.sha256(f"{place} {name} {arguments}".encode()).hexdigest()[:24]
        return ToolCall(whole_characters(self.id) or f"call_{made}", name, arguments)


def words_in(calls: Iterable[ToolCall]) -> str:
    """Return what a model wrote to make calls, for counting it."""
    return "".join(f"{call.name}{call.arguments}" for call in calls)
