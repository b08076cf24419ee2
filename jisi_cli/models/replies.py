"""Chat completions as servers send them, made into the shape that LiteLLM reads.

Servers that call themselves OpenAI-compatible send the text of a response in many shapes, answer with whole JSON
where a stream was asked for, and hide an upstream failure in the reason why the response ended. LiteLLM fails on
these after the response was paid for. What has another shape than OpenAI's `choices` passes through unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from jisi_cli.models.failure import ProviderFailure, one_line

if TYPE_CHECKING:
    import httpx

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_MOST_LEVELS = 8
_NUMBER = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE]-?[0-9]{1,2})?")
_THINKING = re.compile(r"think|reason|analysis", re.IGNORECASE)
_FAILED = frozenset({"error", "network_error", "upstream_error", "server_error", "failed"})
"""Reasons why a response ended that mean the provider's own failure (OpenRouter, Zhipu and others)."""
# Whatever may have to change in an event of a stream; most have nothing of it.
_ODD_EVENT = re.compile(
    rb'"content"\s*:\s*[^"n\s]|"refusal"\s*:\s*"|"finish_reason"\s*:\s*"[^"]*(?i:error|fail)'
    rb'|"(?:prompt_tokens|completion_tokens|total_tokens|cost)"\s*:\s*(?:"|\d+\.)'
)


@dataclass(slots=True)
class Received:
    """What came over HTTP for one call, before LiteLLM reads it.

    Attributes:
        status: The HTTP status of the last answer; None before one came.
        body: All of an answer that was read as a whole; None of a stream.
        has_ended: Whether the last of it came.
        request: The request to which a good answer came over LiteLLM's connections; None before.
    """

    status: int | None = None
    body: bytes | None = None
    has_ended: bool = False
    request: httpx.Request | None = None
    _line: bytes = b""

    def begin(self, status: int) -> None:
        """Note that an answer begins; what came before it was a redirect or the like."""
        self.status, self.body, self.has_ended, self._line = status, None, False, b""

    def end(self, body: bytes | None = None) -> None:
        """Note that an answer ended, and what it was where it was read as a whole."""
        self.body, self.has_ended = body, True
        for line in (body or b"").split(b"\n"):
            self.note(line)

    def note(self, line: bytes) -> None:
        """Note a line of a stream."""
        if b'"usage"' in line:
            self._line = line

    @property
    def usage(self) -> SimpleNamespace | None:
        """The usage that an answer which ended reports, in LiteLLM's shape; None where it reports none."""
        if not self.has_ended:
            return None
        reply = _parsed(self.body or b"") or _parsed(self._line.strip().removeprefix(b"data:"))
        return None if reply is None else usage_in(reply)


def usage_in(reply: dict[str, Any]) -> SimpleNamespace | None:
    """Return the usage in an answer, or in an event of one, in LiteLLM's shape; None where it has none."""
    usage = _whole_numbers(reply.get("usage"))
    if usage is None:
        return None
    parts = {name: part for name, part in usage.items() if name.endswith("_details") and isinstance(part, dict)}
    details = {name: SimpleNamespace(**part) for name, part in parts.items() if name != "cost_details"}
    return SimpleNamespace(**{**usage, **details})


_received: ContextVar[Received | None] = ContextVar("jisi_received", default=None)


@contextmanager
def receiving() -> Iterator[Received]:
    """Note what comes for the requests that are sent in this context."""
    received = Received()
    token = _received.set(received)
    try:
        yield received
    finally:
        _received.reset(token)


def received_now() -> Received:
    """Return the notes of the call under way; outside of a call, notes that are never read."""
    return _received.get() or Received()


def text_and_thinking(content: Any) -> tuple[str, str]:  # noqa: ANN401 - whatever a server sent
    """Return the text in the content of a message, and the thinking in it.

    Args:
        content: A text, None, a list of parts (`{"type": "text", "text": …}`, thinking, others), or anything else.
    """
    text: list[str] = []
    thinking: list[str] = []
    for is_thinking, piece in _pieces(content, is_thinking=False, levels=_MOST_LEVELS):
        (thinking if is_thinking else text).append(piece)
    return "".join(text), "".join(thinking)


def _pieces(content: Any, *, is_thinking: bool, levels: int) -> Iterator[tuple[bool, str]]:  # noqa: ANN401
    if isinstance(content, str):
        yield is_thinking, content
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield is_thinking, json.dumps(content)
    elif isinstance(content, list) and levels > 0:
        for part in content:
            yield from _pieces(part, is_thinking=is_thinking, levels=levels - 1)
    elif isinstance(content, dict) and levels > 0:
        is_thinking = is_thinking or _THINKING.search(str(content.get("type", ""))) is not None
        found = next((name for name in _TEXT_FIELDS if content.get(name) is not None), None)
        if found is not None:
            is_thinking = is_thinking or found in _THINKING_FIELDS
            yield from _pieces(content[found], is_thinking=is_thinking, levels=levels - 1)


_THINKING_FIELDS = ("thinking", "reasoning", "summary")
_TEXT_FIELDS = ("text", "value", "content", "refusal", *_THINKING_FIELDS)


def normalised(body: bytes) -> bytes:
    """Return a whole JSON answer in OpenAI's shape, without usage numbers that are not whole numbers.

    Raises:
        ProviderFailure: The provider says that it failed in the middle of the response.
    """
    if b'"choices"' not in body and b'"usage"' not in body:
        return body
    reply = _parsed(body)
    return json.dumps(reply).encode() if reply is not None and _normalise(reply) else body


def is_odd_event(line: bytes) -> bool:
    """Whether a line of a stream may hold something that has to be brought into shape."""
    return _ODD_EVENT.search(line) is not None


def normalised_line(line: bytes) -> bytes:
    """Return a line of a stream of server-sent events, its JSON in OpenAI's shape.

    Raises:
        ProviderFailure: As above.
    """
    if not line.startswith(b"data:") or not is_odd_event(line):
        return line
    reply = _parsed(line.removeprefix(b"data:"))
    return b"data: " + json.dumps(reply).encode() if reply is not None and _normalise(reply) else line


def as_stream(body: bytes) -> bytes | None:
    """Return a whole JSON answer as the events of a stream; None when it is no chat completion.

    Args:
        body: What `normalised` returned.
    """
    reply = _parsed(body)
    choice = None if reply is None else _first_choice(reply)
    if reply is None or choice is None or not isinstance(choice.get("message"), dict):
        return None
    delta = {"role": "assistant", **choice["message"]}
    if isinstance(calls := delta.get("tool_calls"), list):
        # Only pieces of calls have a number.
        delta["tool_calls"] = [{"index": n, **call} for n, call in enumerate(calls) if isinstance(call, dict)]
    head = {**{k: v for k, v in reply.items() if k not in ("choices", "usage")}, "object": "chat.completion.chunk"}
    rest: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"}
    events: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**head, "choices": [rest]},
    ]
    if reply.get("usage") is not None:
        events.append({**head, "choices": [], "usage": reply["usage"]})
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


def as_whole(body: bytes) -> bytes | None:
    """Return the events of a stream, sent although none was asked for, as whole JSON; None when they are no answer."""
    lines = (normalised_line(line.strip()) for line in body.split(b"\n"))
    events = [event for line in lines if (event := _parsed(line.removeprefix(b"data:"))) is not None]
    choices = [choice for event in events if (choice := _first_choice(event)) is not None]
    if not choices:
        return None
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    if not reasons:
        raise ProviderFailure("the stream broke off before its end", retryable=True, billable=True)
    deltas = [delta for choice in choices if isinstance(delta := choice.get("delta"), dict)]
    message: dict[str, Any] = {"role": "assistant"} | {
        name: "".join(text for delta in deltas if isinstance(text := delta.get(name), str))
        for name in ("content", "reasoning_content")
    }
    calls = _joined_calls(deltas)
    if calls:
        message["tool_calls"] = calls
    usage = [event["usage"] for event in events if event.get("usage")]
    whole = {**events[0], "object": "chat.completion", "usage": usage[-1] if usage else None}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": reasons[-1]}]
    return json.dumps(whole).encode()


def _joined_calls(deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tool calls in the pieces of a stream, each as a whole."""
    found: dict[object, dict[str, Any]] = {}
    for delta in deltas:
        calls = delta.get("tool_calls")
        for piece in calls if isinstance(calls, list) else ():
            function = piece.get("function") if isinstance(piece, dict) else None
            if not isinstance(function, dict):
                continue
            whole = found.setdefault(str(piece.get("index")), {**piece, "function": {**function, "arguments": ""}})
            whole["function"]["arguments"] += str(function.get("arguments") or "")
    return [{name: part for name, part in whole.items() if name != "index"} for whole in found.values()]


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def _first_choice(reply: dict[str, Any]) -> dict[str, Any] | None:
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else None


def _normalise(reply: dict[str, Any]) -> bool:
    """Bring an answer, or an event of one, into shape in place; return whether anything changed."""
    changed = _drop_odd_usage(reply)
    choice = _first_choice(reply)
    if choice is None:
        return changed
    if str(choice.get("finish_reason")).lower() in _FAILED:
        raise _upstream_failure(reply, choice)
    for name in ("message", "delta"):
        message = choice.get(name)
        if isinstance(message, dict):
            changed |= _join_content(message) | _show_refusal(message, choice)
    return changed


def _join_content(message: dict[str, Any]) -> bool:
    """Make the content of a message a text, and its thinking the message's reasoning."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return False
    message["content"], thinking = text_and_thinking(content)
    if thinking and not message.get("reasoning_content"):
        message["reasoning_content"] = thinking
    return True


def _show_refusal(message: dict[str, Any], choice: dict[str, Any]) -> bool:
    """Make a refusal, which OpenAI sends in a field of its own, the text of a response that was filtered."""
    refusal = message.get("refusal")
    if not isinstance(refusal, str) or not refusal or message.get("content"):
        return False
    message["content"] = refusal
    if choice.get("finish_reason") == "stop":
        choice["finish_reason"] = "content_filter"
    return True


def _upstream_failure(reply: dict[str, Any], choice: dict[str, Any]) -> ProviderFailure:
    error = choice.get("error") or reply.get("error")
    words = error.get("message") if isinstance(error, dict) else error
    said = f": {one_line(words)}" if isinstance(words, str) and words.strip() else ""
    reason = f"the provider failed in the middle of the answer{said}"
    return ProviderFailure(reason, retryable=True, billable=True)


def _drop_odd_usage(reply: dict[str, Any]) -> bool:
    """Take a `usage`, or the details of it, out that count in anything but whole numbers.

    LiteLLM refuses an answer over such numbers; an answer that was paid for is worth more than its count.
    """
    usage = reply.get("usage")
    if usage is None:
        return False
    reply["usage"] = _whole_numbers(usage)
    return repr(reply["usage"]) != repr(usage)


def _whole_numbers(usage: Any) -> dict[str, Any] | None:  # noqa: ANN401 - whatever a server sent
    """Return a usage with whole numbers of tokens, also of those written `"10"` or 10.0; None where it has others."""
    if not isinstance(usage, dict):
        return None
    read = {name: _number(part) if name in (*_COUNTS, "cost") else part for name, part in usage.items()}
    if any(type(read.get(name, 0)) is not int for name in _COUNTS):
        return None
    return {name: part for name, part in read.items() if not _is_odd_detail(part)}


def _number(value: Any) -> Any:  # noqa: ANN401 - whatever a server sent
    """Return the number that a text is, a whole one as an integer; anything else as it is."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_odd_detail(part: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a part of a usage counts tokens (reasoning, cached, ...) and not in whole numbers."""
    return isinstance(part, dict) and any(
        name.endswith("_tokens") and count is not None and type(count) is not int for name, count in part.items()
    )
