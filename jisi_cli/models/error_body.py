"""What a provider says when it refuses a call, read from the many shapes in which error bodies come."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_MOST_LEVELS = 8
_MOST_MESSAGES = 3
_LONGEST_READ = 2**20
"""Characters of a body that are looked at."""
_WITHIN = ("error", "errors", "fault", "exception", "response")
"""Fields that hold the error itself."""
_SAID = ("message", "msg", "detail", "details", "error_description", "error_message", "errorMessage", "error_msg")
_ELSE = ("description", "reason", "cause", "Message", "text", "title", "type", "code", "status")
_HTML = re.compile(r"\s*(?:<!doctype html|<html|<head|<body|<\?xml)", re.IGNORECASE)
_HTML_TITLE = re.compile(r"<(title|h1|message)[^<>]{0,200}>([^<]{1,400})</", re.IGNORECASE)
_TAG = re.compile(r"<(?:script|style)\b.{0,20000}?</(?:script|style)>|<[^<>]{0,2000}>", re.IGNORECASE | re.DOTALL)
_CODE_FIELDS = frozenset({"code", "type", "error_code", "error_type", "errorcode", "reason", "error", "status"})

_SPENT_CODES = frozenset(
    {
        *("insufficient_quota", "insufficient_balance", "insufficient_credits", "insufficient_credit"),
        *("insufficient_funds", "billing_hard_limit_reached", "billing_hard_limit", "billing_not_active"),
        *("billing_error", "credit_balance_too_low", "exceeded_current_quota_error", "payment_required"),
        *("arrearage", "account_deactivated", "out_of_credits", "credits_exhausted", "budget_exceeded"),
    }
)
_SPENT = re.compile(
    r"insufficient[ _-](?:quota|balance|credits?|funds)|billing[ _](?:hard[ _])?limit|credit balance is too low"
    r"|free-models-per-day|PerDay\w*-FreeTier|\bdaily (?:free |request |token )*(?:quota|limit)"
    r"|out of credits|(?:requires?|need) more credits|no (?:remaining )?credits|budget has been exceeded"
    r"|reached your (?:specified |monthly )*(?:api )?(?:usage|spend(?:ing)?) limit",
    re.IGNORECASE,
)


def words_in(body: str) -> str:
    """Return what an error body says: JSON of any common shape, a page, or plain text.

    Args:
        body: The body as text.

    Returns:
        The words; the body itself where it has no shape that is known; empty when it is blank.
    """
    body = body[:_LONGEST_READ]
    parsed = _parsed(body)
    if parsed is not None:
        return "; ".join(_distinct(_messages(parsed, _MOST_LEVELS))) or body
    if _HTML.match(body):
        titles = _distinct(match[2].strip() for match in _HTML_TITLE.finditer(body))
        return ": ".join(titles) or _TAG.sub(" ", body)
    return body.strip()


def is_spent_quota(body: str) -> bool:
    """Whether an error body says that there is no money left, which waiting does not bring back."""
    parsed = _parsed(body[:_LONGEST_READ])
    codes = () if parsed is None else _codes(parsed, _MOST_LEVELS)
    return any(code in _SPENT_CODES for code in codes) or _SPENT.search(words_in(body)) is not None


def is_page(body: str) -> bool:
    """Whether a body is a web page."""
    return _HTML.match(body) is not None


def code_in(reply: Mapping[str, Any]) -> int | None:
    """Return the HTTP status that an error names in the body of a good answer; None where it names none."""
    error = reply.get("error")
    for part in (error, reply):
        code = part.get("code", part.get("status")) if isinstance(part, Mapping) else None
        if type(code) is int or (isinstance(code, str) and re.fullmatch(r"[1-5]\d\d", code)):
            return int(code)
    return None


def parameter_in(body: str) -> str:
    """Return the parameter that an error body names as its cause in a field of its own; empty where it names none."""
    parsed = _parsed(body[:_LONGEST_READ])
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    named = error.get("param") if isinstance(error, dict) else None
    return named if isinstance(named, str) else ""


def _parsed(body: str) -> dict[str, Any] | list[Any] | None:
    """Return the JSON of a body, or of the first event of a stream; None when it has none."""
    text = body.strip().removeprefix("data:").strip()
    if not text.startswith(("{", "[")):
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _distinct(messages: Iterator[str]) -> list[str]:
    """Return the first few messages that say something, each once."""
    found: dict[str, None] = {}
    for message in messages:
        if message.strip():
            found[message.strip()] = None
        if len(found) == _MOST_MESSAGES:
            break
    return list(found)


def _messages(value: Any, levels: int) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        yield from _told(value, levels)
    elif isinstance(value, list) and levels > 0:
        for item in value:
            yield from _messages(item, levels - 1)
    elif isinstance(value, dict) and levels > 0:
        yield from _messages_of(value, levels)


def _told(text: str, levels: int) -> Iterator[str]:
    """Yield a message, or the messages in one that is JSON again."""
    inner = _parsed(text) if levels > 0 else None
    within = [] if inner is None else _distinct(_messages(inner, levels - 1))
    yield from within or [text]


def _messages_of(error: dict[str, Any], levels: int) -> Iterator[str]:
    for name in _WITHIN:
        found = _distinct(_messages(error.get(name), levels - 1))
        if found:
            yield from found
            # `{"error": "invalid_request", "error_description": "…"}`: the first is only a name.
            if isinstance(error.get(name), str):
                yield from _messages([error.get(other) for other in _SAID if other in error], levels - 1)
            return
    said = _distinct(_messages([error.get(name) for name in _SAID], levels - 1))
    if not said:
        said = [text for name in _ELSE if isinstance(text := error.get(name), str) and text.strip()][:1]
    where = _where(error)
    yield from (f"{where}: {message}" if where else message for message in said)
    yield from _upstream(error, levels)


def _where(error: Mapping[str, Any]) -> str:
    """Return what a message is about: the place in the request (FastAPI), or the title of a problem (RFC 9457)."""
    place = error.get("loc")
    if isinstance(place, list):
        return ".".join(str(part) for part in place if part != "body")
    title = error.get("title")
    return title.strip() if isinstance(title, str) and isinstance(error.get("detail"), str) else ""


def _upstream(error: Mapping[str, Any], levels: int) -> Iterator[str]:
    """Yield the words of the provider behind the provider, as OpenRouter passes them on."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str) and levels > 0:
        yield words_in(raw)


def _codes(value: Any, levels: int) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    if levels > 0 and isinstance(value, list):
        for item in value:
            yield from _codes(item, levels - 1)
    elif levels > 0 and isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str) and str(name).lower() in _CODE_FIELDS:
                yield item.lower()
            elif isinstance(item, str):
                inner = _parsed(item)
                yield from _codes(inner, levels - 1) if inner is not None else ()
            else:
                yield from _codes(item, levels - 1)
