"""What a request holds that an error message must not repeat: keys in any encoding, and the user's own text.

A provider may quote a request in its error, whole or in part: the question, a header, the address. The message goes
to the terminal, the ledger, the bank and result files, so it is cleaned once, where it is made.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from jisi_cli.types import whole_characters

REDACTED = "[redacted]"
QUOTED = "…"

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTHORIZATION|COOKIE", re.IGNORECASE)
_ADDRESS_NAME = re.compile(r"(?:_BASE|_URL|_ENDPOINT|_PROXY|_HOST)$|^(?:https?|all)_proxy$|api_base", re.IGNORECASE)
_SCHEME = re.compile(r"^\s*(bearer|basic|token)\s+", re.IGNORECASE)
_SHORTEST_SECRET = 6
_SHORTEST_ENCODED = 8
"""Characters of base64; fewer are found in ordinary words."""
_HEADERS = frozenset({"extra_headers", "headers", "default_headers"})
_NOT_TEXT = frozenset({"model", "api_base", "base_url", "client", *_HEADERS})
_ORDINARY_SEGMENTS = frozenset(
    {
        *("anthropic", "chat", "completions", "compatible", "compatible-mode", "deployments", "embeddings", "engines"),
        *("gateway", "google", "inference", "models", "openai", "openapi", "project", "projects", "providers"),
        *("responses", "router", "serving", "serving-endpoints", "services", "v1alpha", "v1beta"),
    }
)
_ORDINARY_QUERIES = frozenset({"api-version", "api_version", "version", "region", "location"})

_LONGEST_READ = 16_000
"""Characters of a provider's words that are looked at; a few hundred are kept."""
_RUN_BYTES = 20
"""Letters and digits, in bytes of UTF-8, that words share with the request before they count as a quotation."""
_SHORTEST_QUESTION = 6
"""The same of a whole message shorter than that."""
_LONGEST_SHORT = 200
"""Characters of such a message, signs and spaces included."""

# A shape begins where a run of its first characters does: tried anywhere in it, the time would grow with the square
# of a long run.
_SECRET_SHAPES = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {REDACTED}"),
    (re.compile(r"(?i)([?&](?:[\w-]*key|[\w-]*token|sig|signature|password)=)[^&\s\"']+"), rf"\1{REDACTED}"),
    (re.compile(r"(?<!\w)(\w+://)[^\s/@]+@"), rf"\1{REDACTED}@"),
    (re.compile(r"\b(?:sk|pk|rk)-[\w-]{8,}"), REDACTED),
)
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/])|[nrtbf])')
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
# Colours, movements of the cursor and commands to a terminal, whole: without its first character the rest is text.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
_BETWEEN_LETTERS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Withheld:
    """What of one request no error message may repeat.

    Attributes:
        secrets: Keys, header values, parts of the address.
        texts: Messages and other long values; any long run of them is left out, and a short message as a whole.
    """

    secrets: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


NOTHING = Withheld()


def withheld_from(request: Mapping[str, Any]) -> Withheld:
    """Return what of a request, in LiteLLM's arguments, no error message may repeat."""
    model = str(request.get("model", "")).casefold()
    address = [part for part in _address_secrets(request.get("api_base")) if part.casefold() not in model]
    key = getattr(request.get("client"), "api_key", None)
    keys = [key] if isinstance(key, str) else []
    texts = [text for name, value in request.items() if name not in _NOT_TEXT for text in _texts(value)]
    return Withheld((*secrets_in(request), *address, *keys), tuple(texts))


def secrets_in(request: Mapping[str, Any]) -> list[str]:
    """Return what in a request may be a secret of the pool file: its own headers, and parameters that are named so."""
    found: list[str] = []
    for name, value in request.items():
        if isinstance(value, Mapping):
            found += _header_secrets(value) if name in _HEADERS else secrets_in(value)
        elif isinstance(value, list | tuple):
            found += [secret for item in value if isinstance(item, Mapping) for secret in secrets_in(item)]
        elif isinstance(value, str) and _SECRET_NAME.search(name):
            found.append(value)
    return found


def redact(text: str, withheld: Withheld = NOTHING) -> str:
    """Replace secrets in a text: those of the environment, those of the request, and what has the shape of one.

    A secret is found in capitals and small letters, URL-encoded, as base64 (also within a longer code, as in
    `user:key`), as hexadecimal digits, and escaped as in JSON or HTML.

    Args:
        text: Anybody's words.
        withheld: Further secrets that are known.
    """
    known = {secret for secret in (*_environment_secrets(), *withheld.secrets) if len(secret) >= _SHORTEST_SECRET}
    spellings = {spelling for secret in known for spelling in _spellings(secret)}
    if spellings:
        # The longest first, so that one which begins with another leaves no rest.
        longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        text = re.sub("|".join(map(re.escape, longest_first)), REDACTED, text, flags=re.IGNORECASE)
    codes = sorted({code for secret in known for code in _base64_cores(secret)})
    if codes:
        # A code may be wrapped, and follow a name: `token=…`.
        wrapped = (r"\s*".join(map(re.escape, code)) for code in codes)
        text = re.sub(rf"(?<![\w+/-])[\w+/-]*(?:{'|'.join(wrapped)})[\w+/=-]*", REDACTED, text)
    for shape, replacement in _SECRET_SHAPES:
        text = shape.sub(replacement, text)
    return text


def without_private_parts(text: str, withheld: Withheld = NOTHING) -> str:
    """Return a provider's words on one line, without control characters, secrets, and quotations of the request."""
    text = whole_characters(_unescaped(text[:_LONGEST_READ]))
    line = _CONTROL.sub("", " ".join(_SEQUENCE.sub("", text).split()))
    return _without_quotations(redact(line, withheld), withheld.texts)


def _without_quotations(text: str, texts: tuple[str, ...]) -> str:
    """Replace what a text shares with others by an ellipsis; only letters and digits are compared."""
    letters, places = _letters_with_places(text)
    if len(letters) < _SHORTEST_QUESTION:
        return text
    runs = {letters[start : start + _RUN_BYTES] for start in range(len(letters) - _RUN_BYTES + 1)}
    quoted: set[bytes] = set()
    for other in map(_letters, texts) if runs else ():
        if len(other) >= _RUN_BYTES:
            windows = (other[start : start + _RUN_BYTES] for start in range(len(other) - _RUN_BYTES + 1))
            quoted.update(window for window in windows if window in runs)
    spans = [
        (places[start], places[start + _RUN_BYTES - 1] + 1)
        for start in range(len(letters) - _RUN_BYTES + 1)
        if letters[start : start + _RUN_BYTES] in quoted
    ]
    spans += [span for other in texts for span in _short_quotations(text, letters, places, other)]
    for start, end in reversed(_merged(spans)):
        text = f"{text[:start]}{QUOTED}{text[end:]}"
    return text


def _short_quotations(text: str, letters: bytes, places: list[int], other: str) -> Iterator[tuple[int, int]]:
    """Yield where a whole short message of several words stands in a text, as words of its own."""
    wanted = b"" if len(other) > _LONGEST_SHORT else _letters(other)
    if not _SHORTEST_QUESTION <= len(wanted) < _RUN_BYTES or len(other.split()) < 2:
        return
    found = letters.find(wanted)
    while found >= 0:
        start, end = places[found], places[found + len(wanted) - 1] + 1
        if not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum():
            yield start, end
        found = letters.find(wanted, found + 1)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, those that touch or overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _letters(text: str) -> bytes:
    """Return the letters and digits of a text in small letters, so that escapes and spaces hide no quotation."""
    return _BETWEEN_LETTERS.sub("", text.casefold()).encode("utf-8", "surrogatepass")


def _letters_with_places(text: str) -> tuple[bytes, list[int]]:
    """Return the same, and for each byte which character of the text it came from."""
    letters, places = bytearray(), []
    for place, character in enumerate(text):
        found = _letters(character)
        letters += found
        places += [place] * len(found)
    return bytes(letters), places


def _unescaped(text: str) -> str:
    """Return a text with JSON's escapes and URL encoding undone; a quotation may be in either."""
    for _ in range(2):
        text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2] or " ", text)
    return unquote(text) if "%" in text else text


def _texts(value: object) -> Iterator[str]:
    """Yield all text within a value; of a picture its beginning, as long as anybody's words are looked at."""
    if isinstance(value, str):
        yield value[:_LONGEST_READ] if value.startswith("data:") else value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _header_secrets(headers: Mapping[str, Any]) -> list[str]:
    """Return the values of headers; of one that begins with a scheme, what is behind it, which may be quoted alone."""
    found: list[str] = []
    for value in headers.values():
        if not isinstance(value, str):
            continue
        scheme = _SCHEME.match(value)
        credentials = _SCHEME.sub("", value).strip()
        found.append(credentials)
        if scheme is not None and scheme[1].lower() == "basic":
            found += _basic_secrets(credentials)
    return found


def _basic_secrets(credentials: str) -> list[str]:
    """Return what the credentials of HTTP's basic authentication hold: `user:password`, and the password."""
    try:
        pair = base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        return []
    return [pair, pair.partition(":")[2]]


def _environment_secrets() -> Iterator[str]:
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name):
            yield value
        elif _ADDRESS_NAME.search(name) and "//" in value:
            yield from _address_secrets(value)


def _address_secrets(address: object) -> list[str]:
    """Return what in an address may be a secret: user, password, values of its query, and uncommon parts of its path.

    Host and port are shown: without them a user cannot see what is wrong.
    """
    if not isinstance(address, str):
        return []
    try:
        parts = urlsplit(address)
    except ValueError:
        return [address]
    found = [part for part in (parts.username, parts.password) if part]
    found += [value for name, value in parse_qsl(parts.query) if name.lower() not in _ORDINARY_QUERIES]
    found += [segment for segment in parts.path.split("/") if segment.casefold() not in _ORDINARY_SEGMENTS]
    found += [parts.fragment]
    return list(dict.fromkeys(part for given in found for part in (given, unquote(given)) if part))


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it may stand in a text, base64 apart; case does not matter."""
    plain = " ".join(secret.split())
    raw = secret.encode("utf-8", "surrogatepass")
    yield plain
    yield plain[::-1]
    yield quote(raw, safe="")
    yield quote_plus(raw)
    yield quote(quote(raw, safe=""), safe="")
    yield json.dumps(plain)[1:-1]
    yield html.escape(plain)
    yield raw.hex()


def _base64_cores(secret: str) -> Iterator[str]:
    """Yield the characters of base64 that a secret determines alone, at each of the three places it can begin."""
    raw = secret.encode("utf-8", "surrogatepass")
    for skipped, spoilt in ((0, 0), (1, 2), (2, 3)):
        end = (skipped + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(b"\0" * skipped + raw).decode()[spoilt:end]
            if len(core) >= _SHORTEST_ENCODED:
                yield core
