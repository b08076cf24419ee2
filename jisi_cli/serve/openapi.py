"""What the server offers, as OpenAPI describes it, for tools that make clients or tests from that."""

from __future__ import annotations

from typing import Any

import jisi_cli

_JSON = "application/json"
_OBJECT: dict[str, Any] = {"type": "object"}
_TEXT: dict[str, Any] = {"type": "string"}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_MESSAGE = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {"type": ["string", "array", "null"], "items": {"type": "object"}},
        "tool_calls": {"type": "array", "items": {"type": "object"}},
        "tool_call_id": _TEXT,
    },
}
_MESSAGES = {"type": "array", "minItems": 1, "items": _MESSAGE, "description": "The last is the question."}
_MODEL = {"type": "string", "description": "`jisi`, a method, or a model of the pool: see GET /v1/models."}
_JISI = {"type": "object", "description": "`explain`, `mode`, `max_cost` in dollars, and hyperparameters by name."}
_CHAT = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": _MODEL,
        "messages": _MESSAGES,
        "stream": {"type": "boolean"},
        "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "max_tokens": {"type": "integer", "minimum": 1},
        "max_completion_tokens": {"type": "integer", "minimum": 1},
        "tools": {"type": "array", "items": {"type": "object"}},
        "tool_choice": {"type": ["string", "object"]},
        "parallel_tool_calls": {"type": "boolean"},
        "response_format": {"type": "object"},
        "jisi": _JISI,
    },
}
_COMPLETION = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage", "jisi"],
    "properties": {
        "id": _TEXT,
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": {"type": "string", "description": "Who wrote the answer."},
        "choices": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "object"}},
        "usage": {"type": "object", "description": "Of all calls together."},
        "jisi": {"type": "object", "description": "How it was decided, the calls, and what they cost."},
    },
}
_ROUTE = {
    "type": "object",
    "description": "Either `query` or `messages`.",
    "properties": {"query": _TEXT, "messages": _MESSAGES, "model": _MODEL, "jisi": _JISI},
}
_FEEDBACK = {
    "type": "object",
    "description": "`score`, or `reference`: the right answer.",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "description": "Of a completion."},
        "reference": _TEXT,
        "score": {"anyOf": [{"enum": ["good", "bad"]}, {"type": "number", "minimum": 0, "maximum": 1}]},
        "note": _TEXT,
    },
}
_NAMES = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"type": "object"}}},
}
_REFUSED = {"400": "The request cannot be used; `param` names what is wrong.", "401": "Wrong or missing bearer token."}
_TOO_MUCH = {
    "413": "The body is too large.",
    "415": "The body is not JSON as it is.",
    "429": "Too many questions are under way (Retry-After), or the budget is used up (`budget_exceeded`).",
}
_FAILED = {"500": "The bank or the server is damaged.", "503": "No model could answer, or the server is ending."}


def description() -> dict[str, Any]:
    """Return the document of GET /openapi.json."""
    unknown = {"404": "There is no such model."}
    asking = {**_REFUSED, **unknown, **_TOO_MUCH, **_FAILED}
    chat = _post("Answer a conversation with the pool.", _CHAT, _COMPLETION, asking)
    chat["responses"]["200"]["content"]["text/event-stream"] = {"schema": _TEXT}
    return {
        "openapi": "3.1.0",
        "info": {"title": "jisi", "version": jisi_cli.__version__, "description": "A pool of models as one."},
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"key": []}],
        "paths": {
            "/v1/chat/completions": {"post": chat},
            "/v1/route": {"post": _post("Say who would be asked, and why; it is free.", _ROUTE, _OBJECT, asking)},
            "/v1/feedback": {
                "post": _post("Say how good an answer was.", _FEEDBACK, _OBJECT, {**_REFUSED, **unknown, **_TOO_MUCH})
            },
            "/v1/models": {"get": _get("List what can be asked by name.", _NAMES)},
            "/v1/models/{name}": {
                "parameters": [{"name": "name", "in": "path", "required": True, "schema": _TEXT}],
                "get": _get("Describe one of them.", _OBJECT, unknown),
            },
            "/health": {"get": _get("Whether questions can be answered.", _OBJECT, {"503": "Not yet, or not at all."})},
            "/metrics": {"get": _get("Counters for Prometheus.", _TEXT, kind="text/plain")},
        },
    }


def _get(
    summary: str, schema: dict[str, Any], refused: dict[str, str] | None = None, kind: str = _JSON
) -> dict[str, Any]:
    found = {"200": {"description": "Done.", "content": {kind: {"schema": schema}}}}
    return {"summary": summary, "responses": {**found, **_refusals({"401": _REFUSED["401"], **(refused or {})})}}


def _post(summary: str, body: dict[str, Any], answer: dict[str, Any], refused: dict[str, str]) -> dict[str, Any]:
    return {
        **_get(summary, answer, refused),
        "requestBody": {"required": True, "content": {_JSON: {"schema": body}}},
    }


def _refusals(reasons: dict[str, str]) -> dict[str, Any]:
    content = {_JSON: {"schema": _ERROR}}
    return {
        status: {"description": words} if status == "503" else {"description": words, "content": content}
        for status, words in reasons.items()
    }
