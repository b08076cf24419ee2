"""How LiteLLM asks a model, kept so that the next request for it need not wait for LiteLLM.

LiteLLM has rules of its own for most models: parameters are renamed or left out, providers have addresses and headers.
Rather than repeat them, jisi looks at the first request that LiteLLM sends for a model with certain parameters, and
where it is OpenAI's protocol with the conversation as it stands, the next one can be written without it. No key is
kept, only the variable that it came from, and it goes to the provider's own hosts alone, or where the user's pool file
or environment says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jisi_cli.config import ModelEntry
from jisi_cli.models.address import environment_addresses, is_own_host, provider_of
from jisi_cli.models.kept_file import kept_path, read_kept, write_kept
from jisi_cli.types import Message

if TYPE_CHECKING:
    import httpx

_FILE = "requests.json"
_MOST = 500
_LARGEST = 2000
"""Characters of the parameters of a call."""
_TABLES = ("stop", "stream_options")
"""Parameters that may have more than one word or number."""
_PATH = "/chat/completions"
_OPENAI = "openai"
"""Whose a model is that names no provider."""
_HEADERS = frozenset({"accept", "user-agent", "http-referer", "x-title"})
"""Headers that are sent again as they are; they tell who asks."""
_OF_THE_CONNECTION = re.compile(r"host|connection|content-(?:length|type)|accept-encoding|authorization|x-stainless-.*")
_VARIABLE = re.compile(r"[A-Z0-9_]{1,40}_API_KEY")
_SECRET = re.compile(r"key|secret|password|credential|auth|cookie|token$", re.IGNORECASE)
"""Names of parameters that may hold what no file may."""


class KnownRequest(NamedTuple):
    """How a request is written.

    Attributes:
        url: Where it goes.
        variable: The variable that holds the key.
        headers: What is said besides.
        name: The model's name there.
        body: The parameters as they are sent.
        given: The parameters as LiteLLM gets them, to whom the answer may have to be handed over.
    """

    url: str
    variable: str
    headers: dict[str, str]
    name: str
    body: dict[str, Any]
    given: dict[str, Any]


def known_request(entry: ModelEntry, messages: Sequence[Message], asked: Mapping[str, Any]) -> KnownRequest | None:
    """Return how a call is written; None where that is not known, or its key may not go there.

    Args:
        entry: The model's pool entry.
        messages: The conversation.
        asked: All parameters that are asked for.
    """
    if entry.api_base is not None or entry.api_key_env is not None:
        return None
    row = _kept(kept_path(_FILE)).get(_key(entry, messages, asked))
    known = None if row is None else _believed(row)
    return known if known is not None and _may_go(entry.litellm, known) else None


def keep_request(
    entry: ModelEntry,
    messages: Sequence[Message],
    asked: Mapping[str, Any],
    given: Mapping[str, Any],
    request: httpx.Request,
) -> None:
    """Keep how LiteLLM has asked a model, where it can be asked so without it.

    Args:
        entry: The model's pool entry.
        messages: The conversation.
        asked: All parameters that were asked for.
        given: What of them LiteLLM was given.
        request: What it sent.
    """
    if entry.api_base is not None or entry.api_key_env is not None or not _is_small(asked):
        return
    path = kept_path(_FILE)
    kept, key = _kept(path), _key(entry, messages, asked)
    if key in kept:
        return
    known = _written(entry, messages, given, request)
    if known is None or not _may_go(entry.litellm, known):
        return
    kept[key] = known._asdict()
    for oldest in list(kept)[:-_MOST]:
        del kept[oldest]
    write_kept(path, dict(kept))


def _written(
    entry: ModelEntry, messages: Sequence[Message], given: Mapping[str, Any], request: httpx.Request
) -> KnownRequest | None:
    """Return how a request was written; None if it holds more than the conversation, the name and parameters."""
    try:
        body = json.loads(request.content)
    except (ValueError, RuntimeError):  # RuntimeError: its content was not read, as httpx says
        return None
    if not isinstance(body, dict) or body.pop("messages", None) != list(messages):
        return None
    name, headers = body.pop("model", None), {}
    for header, value in request.headers.items():
        if header.lower() in _HEADERS:
            headers[header.lower()] = value
        elif not _OF_THE_CONNECTION.fullmatch(header.lower()):
            return None
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    variables = (name for name, value in os.environ.items() if value == sent and _is_of_provider(name, entry.litellm))
    variable = next(variables, None)
    if scheme != "Bearer" or not sent or variable is None:
        return None
    return _believed(KnownRequest(str(request.url), variable, headers, name, body, dict(given))._asdict())


def _believed(row: Any) -> KnownRequest | None:  # noqa: ANN401 - whatever is on disk
    """Return a request that is kept; None where it is not of that kind."""
    if not isinstance(row, dict) or row.keys() != set(KnownRequest._fields):
        return None
    known = KnownRequest(**row)
    are_texts = all(isinstance(text, str) for text in (known.url, known.variable, known.name))
    are_tables = all(isinstance(table, dict) for table in (known.headers, known.body, known.given))
    if not (are_texts and are_tables and _HEADERS.issuperset(known.headers)):
        return None
    if not all(isinstance(value, str) and value.isascii() and value.isprintable() for value in known.headers.values()):
        return None
    return known if {"messages", "model"}.isdisjoint(known.body) else None


def _may_go(litellm_name: str, known: KnownRequest) -> bool:
    """Whether a request goes where the provider's key may go, with a key of that provider."""
    provider = provider_of(litellm_name) or _OPENAI
    places = [f"{place.rstrip('/')}{_PATH}" for place in environment_addresses(litellm_name, None).values()]
    return (
        (known.url in places or is_own_host(f"{provider}/", known.url))
        and known.url.endswith(_PATH)
        and _is_of_provider(known.variable, litellm_name)
        and bool(os.environ.get(known.variable))
    )


def _is_of_provider(variable: str, litellm_name: str) -> bool:
    """Whether a variable is the provider's own: another that holds the same key today may hold any tomorrow."""
    begins = re.sub("[_-]", "", provider_of(litellm_name) or _OPENAI).upper()
    is_variable = _VARIABLE.fullmatch(variable) is not None
    return is_variable and variable.replace("_", "") in (f"{begins}APIKEY", f"{begins}AIAPIKEY")


def _is_small(asked: Mapping[str, Any]) -> bool:
    """Whether the parameters are few, plain and no secret, so that they may be kept."""
    are_plain = all(
        (isinstance(value, str | int | float) and not _SECRET.search(name)) or name in _TABLES
        for name, value in asked.items()
    )
    return are_plain and len(json.dumps(asked, default=str)) <= _LARGEST


def _key(entry: ModelEntry, messages: Sequence[Message], asked: Mapping[str, Any]) -> str:
    """Return what a request is known by: all on which it may depend that LiteLLM writes it so."""
    parts = [entry.litellm, environment_addresses(entry.litellm, None), _order(messages), dict(asked)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _order(messages: Sequence[Message]) -> list[Any]:
    """Return who speaks in a conversation, and who follows whom: LiteLLM may join two turns in a row."""
    roles = [message["role"] for message in messages]
    return [roles[:1], roles[-1:], sorted(set(pairwise(roles)))]


@cache
def _kept(path: Path) -> dict[str, Any]:
    return read_kept(path)
