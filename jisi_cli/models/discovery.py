"""What a first pool can be made of: keys in the environment, and servers on this machine that have models."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from jisi_cli.config import unusable_name

_PATIENCE = 1.0
"""Seconds that a server on this machine may take."""
_MOST_BYTES = 2**20
_MODEL_NAME = re.compile(r"[\w.:/@+-]{1,200}", re.ASCII)
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")
_EVERYWHERE = frozenset({"0.0.0.0", "::"})
"""Addresses that a server listens at to be reached from anywhere, this machine included."""
_OLLAMA_PORT, _LLAMACPP_PORT = 11434, 8080


@dataclass(frozen=True, slots=True)
class KeyedProvider:
    """A provider whose models are asked with a key.

    Attributes:
        name: As LiteLLM's names begin with it.
        title: As people call it.
        variables: Environment variables that LiteLLM reads its key from.
        choices: For each model of a first pool, LiteLLM's names of it, the newest first.
        listed: Whether LiteLLM's map has the provider's models; else the first of each choice is taken as it stands.
    """

    name: str
    title: str
    variables: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]
    listed: bool = True


KEYED = (
    KeyedProvider(
        "openai",
        "OpenAI",
        ("OPENAI_API_KEY",),
        (("gpt-6.1-terra", "gpt-5.6-terra", "gpt-5.1", "gpt-4.1"), ("gpt-5.4-mini", "gpt-5-mini", "gpt-4.1-mini")),
    ),
    KeyedProvider(
        "anthropic",
        "Anthropic",
        ("ANTHROPIC_API_KEY",),
        (
            ("claude-sonnet-5-5", "claude-sonnet-4-6", "claude-sonnet-4-5"),
            ("claude-haiku-5-5", "claude-haiku-4-5"),
        ),
    ),
    KeyedProvider(
        "gemini",
        "Google Gemini",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        (
            ("gemini-3.8-flash", "gemini-3-flash-preview", "gemini-2.5-flash"),
            ("gemini-3.5-flash-lite", "gemini-2.5-flash-lite"),
        ),
    ),
    KeyedProvider("mistral", "Mistral", ("MISTRAL_API_KEY",), (("mistral-large-latest",), ("mistral-small-latest",))),
    KeyedProvider("deepseek", "DeepSeek", ("DEEPSEEK_API_KEY",), (("deepseek-v4-flash", "deepseek-chat"),)),
    KeyedProvider("xai", "xAI", ("XAI_API_KEY",), (("grok-4.7", "grok-4.3", "grok-4"),)),
    KeyedProvider("groq", "Groq", ("GROQ_API_KEY",), (("openai/gpt-oss-120b",), ("openai/gpt-oss-20b",))),
    KeyedProvider("cerebras", "Cerebras", ("CEREBRAS_API_KEY",), (("gpt-oss-120b",),)),
    KeyedProvider(
        "openrouter",
        "OpenRouter",
        ("OPENROUTER_API_KEY",),
        (("openai/gpt-4.1-mini",), ("google/gemini-2.5-flash",), ("deepseek/deepseek-chat",)),
        listed=False,
    ),
    KeyedProvider("together_ai", "Together AI", ("TOGETHERAI_API_KEY",), (("openai/gpt-oss-120b",),)),
)
"""The providers in the order of the pool file."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server on this machine.

    Attributes:
        name: `ollama` or `llamacpp`.
        title: As people call it.
        api_base: Its address for clients of OpenAI's protocol.
        models: The names of its models, in its own order.
    """

    name: str
    title: str
    api_base: str
    models: tuple[str, ...]


LOCAL_NAMES = ("ollama", "llamacpp")
NAMES = (*LOCAL_NAMES, *(provider.name for provider in KEYED))


def variable_with_key(provider: KeyedProvider) -> str | None:
    """Return the name of the variable that holds a provider's key; None when none is set."""
    return next((name for name in provider.variables if os.environ.get(name)), None)


def first_models(provider: KeyedProvider) -> tuple[str, ...]:
    """Return a provider's models for a first pool: of each choice the newest that the installed LiteLLM knows."""
    from jisi_cli.models.facts import is_known

    choices = ([f"{provider.name}/{name}" for name in names] for names in provider.choices)
    if not provider.listed:
        return tuple(names[0] for names in choices)
    newest = (next(filter(is_known, names), None) for names in choices)
    return tuple(name for name in newest if name is not None)


def find_server(name: str) -> LocalServer | None:
    """Ask a server on this machine which models it has; None where none answers, or where it has none.

    Only loopback is asked: the usual port, or what the server's own variables say (`OLLAMA_HOST`, `LLAMA_ARG_PORT`).
    """
    return _ollama() if name == "ollama" else _llamacpp()


def _ollama() -> LocalServer | None:
    place = _loopback(os.environ.get("OLLAMA_HOST", ""), _OLLAMA_PORT)
    if place is None:
        return None
    listed = _entries(_asked(*place, "/api/tags"), "models")
    # Models with a `remote_host` answer elsewhere; those of BERT's family embed.
    names = [entry.get("name") for entry in listed if not entry.get("remote_host") and not _embeds(entry)]
    return _server("ollama", "Ollama", place, names)


def _llamacpp() -> LocalServer | None:
    port = os.environ.get("LLAMA_ARG_PORT", "")
    place = ("127.0.0.1", int(port) if port.isdecimal() and 0 < int(port) < 65536 else _LLAMACPP_PORT)
    listed = _entries(_asked(*place, "/v1/models"), "data")
    # The port is anybody's; who has the models is said.
    ids = [entry.get("id") for entry in listed if entry.get("owned_by") == "llamacpp"]
    # The one model of a server goes by the path of its file.
    names = [re.split(r"[\\/]", name)[-1] if isinstance(name, str) and name.endswith(".gguf") else name for name in ids]
    return _server("llamacpp", "llama.cpp", place, names)


def _server(name: str, title: str, place: tuple[str, int], models: list[Any]) -> LocalServer | None:
    usable = [model for model in models if isinstance(model, str) and _MODEL_NAME.fullmatch(model)]
    usable = [model for model in dict.fromkeys(usable) if unusable_name(f"openai/{model}") is None]
    host, port = place
    shown = f"[{host}]" if ":" in host else host
    return LocalServer(name, title, f"http://{shown}:{port}/v1", tuple(usable)) if usable else None


def _embeds(entry: dict[str, Any]) -> bool:
    details = entry.get("details")
    return isinstance(details, dict) and "bert" in str(details.get("family"))


def _loopback(address: str, default_port: int) -> tuple[str, int] | None:
    """Return host and port of an address on loopback; None for one elsewhere, or that cannot be read."""
    if not address:
        return "127.0.0.1", default_port
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname or "127.0.0.1", parts.port or default_port
    except ValueError:
        return None
    if host in _EVERYWHERE:
        host = "127.0.0.1"
    return (host, port) if parts.scheme == "http" and _LOOPBACK.fullmatch(host) else None


def _asked(host: str, port: int, path: str) -> object:
    """Return the JSON that a server answers with; None where there is none. No proxy and no redirect is followed."""
    connection = HTTPConnection(host, port, timeout=_PATIENCE)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = response.read(_MOST_BYTES + 1)
        if response.status != 200 or len(body) > _MOST_BYTES:
            return None
        return json.loads(body)
    except (OSError, HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()


def _entries(answer: object, key: str) -> list[dict[str, Any]]:
    listed = answer.get(key) if isinstance(answer, dict) else None
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
