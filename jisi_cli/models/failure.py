"""What went wrong with one call, in the provider's own words without its secrets, and whether to try again."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from jisi_cli.errors import http_errors
from jisi_cli.models.key_refusal import is_about_key
from jisi_cli.models.parameters import names_refused
from jisi_cli.models.redaction import NOTHING, Withheld, without_private_parts

if TYPE_CHECKING:
    from jisi_cli.models.completion import Completion

_TRANSIENT = frozenset({408, 425, 429})


def is_transient(status: int) -> bool:
    """Return whether a call that met this HTTP status may go well when repeated as it is.

    That is so for a busy or broken server, not for a request or a key that it refuses.
    """
    return status in _TRANSIENT or status >= 500


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header (RFC 9110, section 10.2.3): seconds, or an HTTP date.

    Args:
        value: The header's value; None when there is no such header.
        now: The present time, with its zone.

    Returns:
        Seconds from now, at least 0; None when there is nothing to read.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        # A date without a zone is in GMT, as HTTP dates are.
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (zoned - now).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None


_LONGEST = 400
_NOT_ABOUT_PARAMETERS = (401, 402, 403, 408, 413, 429)
_UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError, RecursionError)
_NO_JSON = "the answer is not JSON that can be read"
_ERROR_FIELDS = ("error", "errors", "detail")
# "litellm.RateLimitError: RateLimitError: OpenAIException - " says three times what the status says.
_WRAPPING = re.compile(r"^(?:\s*(?:litellm\.)?\w*(?:Error|Exception|Timeout)(?::| -)\s*)+")

# What LiteLLM puts after the words: its own stack, or the whole response.
_APPENDED = re.compile(
    r"(?<!\W)\W*(?:Traceback \(most recent call last\)|original response:|received_args=).*", re.I | re.S
)


class ProviderFailure(Exception):
    """A call that gave no answer.

    Attributes:
        reason: Why, in one line.
        status: The HTTP status; None when there was no HTTP answer.
        retry_after: Seconds the provider asks to wait; None when it does not say.
        retryable: Whether the same call may go well later.
        billable: Whether the model may have worked, and be paid for, although no answer came of it.
        most_retries: How often the same call may be tried again at most, fewer than usual; None for as often as that.
        refused: Names that stand in the provider's words where it refuses a parameter; else empty.
        key_refused: Whether the model's key is missing, or is what the provider refuses.
        spent: The usage that the provider reports nevertheless, without a text; None where it reports nothing.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool = False,
        billable: bool = False,
        most_retries: int | None = None,
        refused: frozenset[str] = frozenset(),
        key_refused: bool = False,
    ) -> None:
        super().__init__(reason)
        self.refused = refused
        self.key_refused = key_refused
        self.reason = reason
        self.status = status
        self.retry_after = retry_after
        self.retryable = retryable
        self.billable = billable
        self.most_retries = most_retries
        self.spent: Completion | None = None


def one_line(text: str, withheld: Withheld = NOTHING) -> str:
    """Return a provider's words as one line of bounded length, without LiteLLM's wrapping and what is withheld."""
    line = without_private_parts(_APPENDED.sub("", _WRAPPING.sub("", text)), withheld)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def failure_from(error: Exception, withheld: Withheld = NOTHING, body: bytes | None = None) -> ProviderFailure:
    """Turn what LiteLLM raised into a failure that says whether to try again.

    LiteLLM gives errors of the connection the status 500, so what happened is read from the chain of
    causes: a timeout, a broken connection, an HTTP status, or an answer that cannot be read.

    Args:
        error: What LiteLLM raised.
        withheld: What of the request no message may repeat.
        body: The body of the answer where its status was good and all of it came; else None.
    """
    import openai

    chain = list(causes(error))
    told = next((e for e in chain if isinstance(e, ProviderFailure)), None)
    if told is not None:
        return told
    if "LLM Provider NOT provided" in str(error):
        return ProviderFailure("LiteLLM knows no such provider; `litellm` is written `provider/model`")
    if any(isinstance(e, (TimeoutError, *http_errors("TimeoutException"), openai.APITimeoutError)) for e in chain):
        status = _http_status(chain)
        reason = "no answer within the time limit" if status is None else f"HTTP {status}: {_words(error, withheld)}"
        return ProviderFailure(reason, status=status, retryable=True, billable=True)
    if body is not None:
        # LiteLLM's own words and status are not to be had here: it makes up the status, and quotes the answer.
        return failure_in(body, withheld) or _stumbled(chain)
    status = _http_status(chain)
    if status is not None and status >= 400:
        return _refusal(error, chain, status, withheld)
    if any(_is_connection(e) for e in chain):
        return _lost_connection(chain, withheld)
    if any(isinstance(e, _UNREADABLE) for e in chain) or status is not None:
        return ProviderFailure(_NO_JSON, retryable=True, billable=True, most_retries=1)
    if isinstance(chain[-1], (AttributeError, LookupError, TypeError)):
        # LiteLLM stumbled over the answer; it would again, and each time is paid for.
        return ProviderFailure(f"LiteLLM cannot read the answer: {_words(error, withheld)}", billable=True)
    # An error in the body of a good answer; LiteLLM gives it the status that the body names.
    named = getattr(error, "status_code", None)
    transient = isinstance(named, int) and is_transient(named)
    # LiteLLM's own, where it finds no key to send.
    no_key = named == 401 and type(error).__module__.startswith("litellm")
    return ProviderFailure(_words(error, withheld), retryable=transient, billable=transient, key_refused=no_key)


def failure_in(body: bytes, withheld: Withheld = NOTHING) -> ProviderFailure | None:
    """Return the failure that an answer of good status is in itself; None where it may be an answer."""
    text = body.decode("utf-8", "replace")
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        # A page of a proxy, say; waiting does not turn it into an answer.
        page = f"the answer is a web page: {one_line(words_in(text), withheld)}" if is_page(text) else _NO_JSON
        return ProviderFailure(page, retryable=True, billable=True, most_retries=1)
    if not isinstance(reply, dict):
        return ProviderFailure("the answer is JSON, but no answer of a model", billable=True)
    if "choices" in reply and not reply["choices"] and not reply.get("error"):
        return ProviderFailure("the answer has no choices", retryable=True, billable=True, most_retries=1)
    code = code_in(reply)
    # A bare `message` may be an answer.
    fields = (*_ERROR_FIELDS, *(("message",) if code is not None or "error" in str(reply.get("object")) else ()))
    said = {name: reply[name] for name in fields if reply.get(name)}
    if reply.get("choices") or not said:
        return None
    transient = code is not None and is_transient(code) and not is_spent_quota(text)
    words = one_line(words_in(json.dumps(said)), withheld)
    return ProviderFailure(words, retryable=transient, billable=transient)


def _stumbled(chain: list[BaseException]) -> ProviderFailure:
    """Return the failure to read an answer; LiteLLM would fail again, and each time is paid for."""
    reason = "the answer has a shape that LiteLLM cannot read for this provider (HTTP 200)"
    if isinstance(chain[-1], AttributeError):
        reason += f": {one_line(str(chain[-1]))}"
    return ProviderFailure(f"{reason}; look at the model's `litellm` and `api_base`", billable=True)


def _refusal(error: Exception, chain: list[BaseException], status: int, withheld: Withheld) -> ProviderFailure:
    body = _body(chain)
    words = one_line(words_in(body), withheld) or _words(error, withheld)
    is_filtered = "ContentPolicy" in type(error).__name__
    return refusal_in(status, body, words, _header(chain, "retry-after"), withheld, is_filtered=is_filtered)


def refusal_in(
    status: int,
    body: str,
    words: str,
    retry_after: str | None,
    withheld: Withheld = NOTHING,
    *,
    is_filtered: bool = False,
) -> ProviderFailure:
    """Return the failure that an answer is which has the HTTP status of an error.

    Args:
        status: The status.
        body: What came with it.
        words: What of it is told.
        retry_after: Its header `Retry-After`; None where it has none.
        withheld: What of the request no message may repeat.
        is_filtered: Whether a filter refused the question, which waiting does not change.
    """
    said = words_in(body)
    # Spent quota is often reported as 429 but does not come back within a run.
    hopeless = is_spent_quota(body) or is_filtered
    refused = names_refused(without_private_parts(said, withheld), parameter_in(body))
    return ProviderFailure(
        f"HTTP {status}: {words}",
        status=status,
        retry_after=parse_retry_after(retry_after, datetime.now(UTC)),
        retryable=is_transient(status) and not hopeless,
        refused=frozenset() if status in _NOT_ABOUT_PARAMETERS else refused,
        key_refused=is_about_key(status, " ".join((said, *codes_in(body))), page=is_page(body)),
    )


def _body(chain: list[BaseException]) -> str:
    """Return the body of the HTTP answer that an error came from; empty where it was not kept."""
    for error in chain:
        response = getattr(error, "response", None)
        if response is not None and getattr(response, "is_stream_consumed", False):
            with contextlib.suppress(Exception):  # Bytes that are not text in the charset that the answer names.
                if response.text.strip():
                    return str(response.text)
    for error in reversed(chain):
        for kept in (getattr(error, "body", None), getattr(error, "message", None)):
            if isinstance(kept, dict | list) and kept:
                return json.dumps(kept)
            if isinstance(kept, str) and kept.strip():
                return kept
    return ""


def _lost_connection(chain: list[BaseException], withheld: Withheld) -> ProviderFailure:
    # The innermost cause is the one that names the host or the reason.
    reason = one_line(str(chain[-1]), withheld) or type(chain[-1]).__name__
    never_connected = any(isinstance(e, http_errors("ConnectError")) for e in chain)
    return ProviderFailure(f"connection failed: {reason}", retryable=True, billable=not never_connected)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = getattr(current, "original_exception", None)
        current = inner if isinstance(inner, BaseException) else current.__cause__ or current.__context__


def _is_connection(error: BaseException) -> bool:
    import openai

    kinds = (*http_errors("TransportError"), openai.APIConnectionError, ConnectionError)
    # LiteLLM's APIConnectionError is its word for "anything else".
    return isinstance(error, kinds) and not type(error).__module__.startswith("litellm")


def _http_status(chain: list[BaseException]) -> int | None:
    """Return the status of a real HTTP answer; LiteLLM makes one up where there was none, or takes the body's."""
    for error in sorted(chain, key=lambda error: type(error).__module__.startswith("litellm")):
        if type(error).__module__.startswith("litellm"):
            headers = getattr(error, "litellm_response_headers", None) or getattr(error, "headers", None)
            answered, response = bool(headers), None
        else:
            response = getattr(error, "response", None)
            answered = response is not None
        # httpx's own error leaves it to the answer that it holds.
        status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
        if answered and isinstance(status, int):
            return status
    return None


def _header(chain: list[BaseException], name: str) -> str | None:
    for error in chain:
        response = getattr(error, "response", None)
        for source in (
            getattr(error, "litellm_response_headers", None),
            getattr(error, "headers", None),
            getattr(response, "headers", None),
        ):
            if isinstance(source, Mapping) and source.get(name):
                return str(source[name])
    return None


def _words(error: Exception, withheld: Withheld) -> str:
    body: Any = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    said = _WRAPPING.sub("", str(message or getattr(error, "message", None) or error))
    return one_line(words_in(said), withheld) or type(error).__name__


# What an error body says: providers send it in many shapes.

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
    return not _SPENT_CODES.isdisjoint(codes_in(body)) or _SPENT.search(words_in(body)) is not None


def codes_in(body: str) -> tuple[str, ...]:
    """Return the codes, types and reasons that an error body names, in lower case."""
    parsed = _parsed(body[:_LONGEST_READ])
    return () if parsed is None else tuple(_codes(parsed, _MOST_LEVELS))


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
