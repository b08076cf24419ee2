"""What clients get: completions, pieces of a stream and errors in OpenAI's shapes."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jisi_cli.errors import BankError, BudgetError, InputError, JisiError, NoAnswerError
from jisi_cli.messages import ToolCall
from jisi_cli.methods.protocol import Outcome
from jisi_cli.serve.requests import RequestError
from jisi_cli.types import whole_characters

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": waiting for the models\n\n"
"""A comment, which clients ignore; it keeps proxies from closing a silent connection."""
_FINISHED = {"length": "length", "content_filter": "content_filter", None: "stop"}


@dataclass(frozen=True, slots=True)
class Completion:
    """A chat completion, whole or in pieces.

    Attributes:
        asked: The model that the client asked for.
        id: Its name, under which feedback is given.
        created: When it was begun, in seconds since 1970.
    """

    asked: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, outcome: Outcome, decision: dict[str, Any] | None) -> dict[str, Any]:
        """Return the answer as one object; `model` is who wrote it, `usage` what all calls used.

        Args:
            outcome: How the question was answered.
            decision: What was decided, where that was asked for.
        """
        answer = outcome.answer
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.tool_calls:
            message |= {"content": answer.text or None, "tool_calls": [call.to_json() for call in answer.tool_calls]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(outcome)}
        return {
            **self._head("chat.completion", answer.model),
            "choices": [choice],
            "usage": usage(outcome),
            "jisi": told(outcome, decision),
        }

    def piece(self, model: str | None, text: str, *, first: bool) -> bytes:
        """Return one piece of a stream as a server-sent event."""
        delta = {"role": "assistant", "content": text} if first else {"content": text}
        return self._event(model, [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])

    def end(self, outcome: Outcome, decision: dict[str, Any] | None, *, include_usage: bool, first: bool) -> bytes:
        """Return the last events of a stream: calls of tools, why it ended, what is to be told, and what it used.

        A call is sent when its model has ended: half of one could not be taken back where the model breaks off.
        """
        model = outcome.answer.model
        calls = b"".join(self._calls(model, outcome.answer.tool_calls, first=first))
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": _finish_reason(outcome)}
        last = self._event(model, [choice], jisi=told(outcome, decision))
        return calls + last + (self._event(model, [], usage=usage(outcome)) if include_usage else b"") + DONE

    def _calls(self, model: str, calls: Sequence[ToolCall], *, first: bool) -> Iterator[bytes]:
        for number, call in enumerate(calls):
            begun = {"role": "assistant", "content": None} if first and number == 0 else {}
            delta = {**begun, "tool_calls": [{"index": number, **call.to_json()}]}
            yield self._event(model, [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])

    def _event(self, model: str | None, choices: list[dict[str, Any]], **more: object) -> bytes:
        head = self._head("chat.completion.chunk", model or self.asked)
        return event({**head, "choices": choices, **more})

    def _head(self, kind: str, model: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": model}


def event(data: dict[str, Any]) -> bytes:
    """Return a server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def usage(outcome: Outcome) -> dict[str, Any]:
    """Return the tokens of all calls together, those from the cache included: what an answer took, and mostly costs."""
    prompt = sum(call.prompt_tokens or 0 for call in outcome.calls)
    completion = sum(call.completion_tokens or 0 for call in outcome.calls)
    cached = sum(call.cached_prompt_tokens for call in outcome.calls)
    details = {"prompt_tokens_details": {"cached_tokens": cached}} if cached else {}
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **details}


def told(outcome: Outcome, decision: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what is to be known of an answer besides the answer."""
    decided = outcome.decision
    found = {
        "mode": outcome.mode,
        "reason": outcome.reason,
        "confidence": outcome.confidence,
        "calls": [
            {"model": call.model, "role": call.role, "cached": call.cached, "error": call.error}
            for call in outcome.calls
        ],
        "cost_usd": outcome.cost_usd,
        "candidates": [] if decided is None else list(decided.candidates),
        "aggregatees": list(outcome.references if decided is None else decided.aggregatees),
        "missing": list(outcome.missing),
    }
    return found if decision is None else {**found, "decision": decision}


def headers(outcome: Outcome) -> dict[str, str]:
    """Return the same figures for clients that look at headers alone."""
    found = told(outcome)
    values = {
        "mode": found["mode"],
        "model": outcome.answer.model,
        "calls": len(outcome.calls),
        "cost-usd": found["cost_usd"],
        "confidence": found["confidence"],
        "candidates": ",".join(found["candidates"]),
        "aggregatees": ",".join(found["aggregatees"]),
    }
    return {f"x-jisi-{name}": _header(value) for name, value in values.items() if value not in (None, "")}


def error_parts(error: JisiError) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the body of an error, in OpenAI's shape."""
    status, kind, code = _error_kind(error)
    param = error.param if isinstance(error, RequestError) else None
    param = None if param is None else whole_characters(param)
    # What a client called something may hold half a character, which no response can.
    return status, {"error": {"message": whole_characters(str(error)), "type": kind, "param": param, "code": code}}


def _error_kind(error: JisiError) -> tuple[int, str, str | None]:
    if isinstance(error, RequestError):
        kinds_by_status = {401: "authentication_error", 429: "rate_limit_error", 503: "server_error"}
        kind = kinds_by_status.get(error.status, "invalid_request_error")
        return error.status, kind, error.code
    kinds: list[tuple[type[JisiError], int, str, str]] = [
        (BudgetError, 429, "insufficient_quota", "budget_exceeded"),
        (NoAnswerError, 503, "server_error", "no_answer"),
        (InputError, 400, "invalid_request_error", "invalid_value"),
        (BankError, 500, "server_error", "bank_error"),
    ]
    found = next(((status, kind, code) for cls, status, kind, code in kinds if isinstance(error, cls)), None)
    return found or (500, "server_error", None)


def _finish_reason(outcome: Outcome) -> str:
    answer = outcome.answer
    # Calls of an answer that was cut off may lack the end of their arguments, as with OpenAI.
    return "tool_calls" if answer.tool_calls and answer.cut_off is None else _FINISHED[answer.cut_off]


def _header(value: object) -> str:
    """Return a value as a header can hold it: printable ASCII, and short."""
    return "".join(char if " " <= char <= "~" else "?" for char in str(value))[:1000]
