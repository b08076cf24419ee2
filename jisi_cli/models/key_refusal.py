"""Whether a provider refuses a key or an account, and so every call to a model, or only the one request it was asked.

A model whose key is refused is not asked again for a while. Status 401 is always about the key; 403 is not: providers
answer it to a question that their moderation flags, to a country, to a request that is too long, and a firewall on the
way answers it with a page of its own.
"""

from __future__ import annotations

import re

_BAD_KEY = re.compile(
    r"\b(?:invalid|incorrect|wrong|missing|expired) api[ _-]?key|api[ _-]?key (?:is )?(?:not valid|invalid|"
    r"missing|expired)",
    re.IGNORECASE,
)
_ACCOUNT_CLOSED = re.compile(
    r"\b(?:account|organi[sz]ation|project|team|(?:api )?key)\b[^.]{0,40}"
    r"\b(?:suspended|disabled|deactivated|banned|terminated|blocked|restricted|revoked|leaked)\b",
    re.IGNORECASE,
)
_CONTENT = (
    r"moderat\w+|flagged|inappropriate|data ?inspection|safety (?:check|filter|system|guideline|polic)\w*|"
    r"(?:content|usage|acceptable use) (?:polic|filter|guideline|management|violat)\w*|"
    r"(?:content|prompt|input|message|request|question|text)s?\b[^.]{0,30}\b(?:violat\w+|rejected|blocked|not allowed)"
)
_PLACE = (
    r"\b(?:country|countries|region|territory|location)\b[^.]{0,40}\b(?:not |un)(?:supported|available)|"
    r"unsupported (?:country|region|location)|(?:not |un)(?:supported|available) in (?:your|this) "
    r"(?:country|region|location)"
)
_SIZE = r"context (?:length|window)|max (?:new )?tokens|token count|too (?:long|large)\b"
_ONE_REQUEST = re.compile("|".join((_CONTENT, _PLACE, _SIZE)), re.IGNORECASE)


def is_about_key(status: int, said: str, *, page: bool = False) -> bool:
    """Return whether a refusal is about the key or the account that it belongs to.

    Args:
        status: The HTTP status.
        said: What the provider said, its codes included.
        page: Whether that is a web page, which no provider's own API answers.
    """
    if status != 403:
        return status == 401 or (status == 400 and _BAD_KEY.search(said) is not None)
    words = said.replace("_", " ")
    if _ACCOUNT_CLOSED.search(words):
        return True
    # Some name the key in what they say of a question, so that it is looked for last.
    return not page and _ONE_REQUEST.search(words) is None
