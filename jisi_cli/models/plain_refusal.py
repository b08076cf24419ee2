"""Refusals that are OpenAI's protocol to the letter, named without LiteLLM: a wrong key need not wait for its import.

LiteLLM makes one of a dozen exceptions of an HTTP status and the words of a body. For all but a few of them a failure
tells nothing but what stands in the answer itself, so that it can be read there. Those few, and whatever has another
shape, are LiteLLM's to name, from the first byte on.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from jisi_cli.models.failure import ProviderFailure, one_line, refusal_in, words_in
from jisi_cli.models.plain_reply import WholeReader, read_plain
from jisi_cli.models.redaction import Withheld

if TYPE_CHECKING:
    import httpx

_KINDS = ("", "application/json", "text/plain", "text/html")
_MOST = 2**14
"""Bytes of a body; providers say what is wrong in less."""
_TIMEOUTS = (408, 504)
_ASKS_AGAIN = 422
"""LiteLLM may ask in another way after this status."""
_ODD = re.compile(
    r"time[ds]?[ -]?out|policy|safety system|\broles\b|LLM Provider NOT provided|\"usage\"", re.IGNORECASE
)
"""Words by which LiteLLM takes an answer for a timeout or a filter, or asks again; and what reports a cost."""
_PLAIN = (str, int, float, bool, type(None))


async def plain_refusal(response: httpx.Response, withheld: Withheld) -> ProviderFailure | None:
    """Read why a request was refused; if that is not plain, return None and leave the response as if unread.

    Args:
        response: What came, its body unread.
        withheld: What of the request no message may repeat.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_usual = 400 <= response.status_code < 600 and response.status_code not in (*_TIMEOUTS, _ASKS_AGAIN)
    if not is_usual or kind not in _KINDS:
        return None
    return await read_plain(response, WholeReader(lambda body: _named(response, body, withheld)), _MOST)


def _named(response: httpx.Response, content: bytes, withheld: Withheld) -> ProviderFailure | None:
    """Return the failure that a body tells; None where it is not plain."""
    import httpx

    # In the character set that the answer names.
    body = httpx.Response(response.status_code, headers=response.headers, content=content).text
    if _ODD.search(body) or not (_is_flat(body) if body.lstrip().startswith(("{", "[")) else body.strip()):
        return None
    words = one_line(words_in(body), withheld)
    retry_after = response.headers.get("retry-after") or None
    return refusal_in(response.status_code, body, words, retry_after, withheld) if words else None


def _is_flat(body: str) -> bool:
    """Whether a body is JSON of the usual shape, `{"error": {"message": …, "type": …, "code": …}}`, or less."""
    try:
        reply: Any = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(reply, dict):
        return False
    error = reply.pop("error", None)
    parts = [*reply.values(), *(error.values() if isinstance(error, dict) else [error])]
    return all(isinstance(part, _PLAIN) for part in parts)
