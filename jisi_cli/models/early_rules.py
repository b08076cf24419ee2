"""Which requests may leave without LiteLLM, and where they go."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jisi_cli.config import ModelEntry
from jisi_cli.messages import is_plain
from jisi_cli.models.address import NO_KEY, OPENAI_KEY, openai_bases
from jisi_cli.models.known_requests import KnownRequest, known_request
from jisi_cli.models.litellm_client import is_the_programs_own
from jisi_cli.types import Message

_PASSED_ON = frozenset(
    {
        *("temperature", "top_p", "max_tokens", "seed", "stop", "frequency_penalty", "presence_penalty"),
        *("stream", "stream_options"),
    }
)
"""Parameters that LiteLLM sends to such a server as they are."""
_OF_ITS_OWN = re.compile(
    r"(?<![a-z0-9])o\d|gpt-(?:[5-9]|\d\d)|audio|search|research|codex|computer|realtime|responses|image|instruct",
    re.IGNORECASE,
)
"""Models whose parameters, or address, LiteLLM changes by what stands anywhere in their names."""
_PLAIN_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(?:/[\w.~%-]+)*/?", re.IGNORECASE)
"""Addresses that OpenAI's client puts a path behind as is done here; for another it would send the request again."""
_DECIDES = re.compile(
    r"^(?:https?|all)_proxy$|^SSL_(?:VERIFY|CERTIFICATE|SECURITY_LEVEL|ECDH_CURVE)$|LITELLM_PROXY"
    r"|^OPENAI_(?:ORG|PROJECT|CUSTOM)",
    re.IGNORECASE,
)
"""Variables that change how LiteLLM connects, or what OpenAI's client sends beside a request. Those that name other
certificates, such as `SSL_CERT_FILE`, httpx heeds as well."""
_OPENAI_ADDRESS = "https://api.openai.com/v1"


class Target(NamedTuple):
    """Where a call goes.

    Attributes:
        model: LiteLLM's name of the model.
        api_base: The server's address; None leaves it to LiteLLM.
        key: The one key that goes there; None leaves it to LiteLLM.
    """

    model: str
    api_base: str | None
    key: str | None

    @property
    def own_key(self) -> str:
        """The key for a server that speaks OpenAI's protocol, which looks for one in every request."""
        return self.key or os.environ.get(OPENAI_KEY) or NO_KEY


def has_head_start(litellm_name: str, api_base: str | None, parameters: Mapping[str, Any]) -> bool:
    """Whether a call's request can leave without LiteLLM.

    Args:
        litellm_name: LiteLLM's name of the model; one that jisi serves itself has a server of this kind.
        api_base: The address that the pool file names; None for none.
        parameters: The call's parameters by LiteLLM's names, the pool file's own among them.
    """
    is_local = litellm_name.startswith("local:")
    address = address_of(litellm_name, api_base) or ""
    has_server = litellm_name.startswith("openai/") and _PLAIN_ADDRESS.fullmatch(address) is not None
    return (
        (is_local or has_server)
        and not is_the_programs_own()
        and _PASSED_ON.issuperset(parameters)
        and not _OF_ITS_OWN.search(litellm_name)
        and not is_hindered()
    )


def known_head_start(entry: ModelEntry, messages: Sequence[Message], asked: Mapping[str, Any]) -> KnownRequest | None:
    """Return how LiteLLM writes a call's request, where it is known and may leave without it."""
    if is_the_programs_own() or is_hindered() or not all(map(is_plain, messages)):
        return None
    return known_request(entry, messages, asked)


def address_of(litellm_name: str, api_base: str | None) -> str | None:
    """Return the address of a server that speaks OpenAI's protocol; None where it is LiteLLM's to say.

    Args:
        litellm_name: LiteLLM's name of the model.
        api_base: The address that the pool file names; None for none.
    """
    if api_base is None and litellm_name.startswith("openai/"):
        return next(iter(openai_bases()), _OPENAI_ADDRESS)
    return api_base


def is_hindered() -> bool:
    """Whether the environment says how LiteLLM is to connect, which is for LiteLLM to heed."""
    return any(value and _DECIDES.search(name) for name, value in os.environ.items())
