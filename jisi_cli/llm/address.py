"""Where a model is reached, and which key may go there.

A key goes to its own provider's hosts, or to where the pool file names the variable that holds it. An address that the
environment names (`OPENAI_BASE_URL`) is the user's own word: LiteLLM finds address and key there by itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

OPENAI_KEY = "OPENAI_API_KEY"
NO_KEY = "none"
"""Sent where no key may be: clients refuse to start without one, and LiteLLM would look for one by itself."""

_OPENAI_HOSTS = (r"(\w+\.)?api\.openai\.com",)
_AZURE_HOSTS = (
    r"[\w-]+\.(openai|cognitiveservices|services\.ai)\.azure\.(com|us|cn)",
    r"[\w.-]+\.(models|inference)\.ai\.azure\.com",
)
_GOOGLE_HOSTS = (r"([\w-]+-)?aiplatform\.googleapis\.com", r"aiplatform\.[\w-]+\.rep\.googleapis\.com")
_AWS_HOSTS = (r"([\w-]+\.)?bedrock-runtime(-fips)?\.[\w-]+\.(vpce\.)?(amazonaws\.com(\.cn)?|api\.aws)",)
_OWN_HOSTS: Mapping[str, tuple[str, ...]] = {
    "openai": _OPENAI_HOSTS,
    "text-completion-openai": _OPENAI_HOSTS,
    "anthropic": (r"api\.anthropic\.com",),
    "gemini": (r"generativelanguage\.googleapis\.com",),
    "vertex_ai": _GOOGLE_HOSTS,
    "vertex_ai_beta": _GOOGLE_HOSTS,
    "azure": _AZURE_HOSTS,
    "azure_ai": _AZURE_HOSTS,
    "azure_text": _AZURE_HOSTS,
    "bedrock": _AWS_HOSTS,
    "cohere": (r"api\.cohere\.(com|ai)",),
    "cohere_chat": (r"api\.cohere\.(com|ai)",),
    "mistral": (r"api\.mistral\.ai", r"codestral\.mistral\.ai"),
    "codestral": (r"codestral\.mistral\.ai",),
    "groq": (r"api\.groq\.com",),
    "deepseek": (r"api\.deepseek\.com",),
    "openrouter": (r"openrouter\.ai",),
    "together_ai": (r"api\.together\.(xyz|ai)",),
    "fireworks_ai": (r"api\.fireworks\.ai",),
    "xai": (r"([\w-]+\.)?api\.x\.ai",),
    "perplexity": (r"api\.perplexity\.ai",),
    "cerebras": (r"api\.cerebras\.ai",),
    "sambanova": (r"api\.sambanova\.ai",),
    "nvidia_nim": (r"integrate\.api\.nvidia\.com",),
    "deepinfra": (r"api\.deepinfra\.com",),
    "replicate": (r"api\.replicate\.com",),
    "huggingface": (r"(router|api-inference)\.huggingface\.co",),
    "ai21": (r"api\.ai21\.com",),
    "ai21_chat": (r"api\.ai21\.com",),
    "databricks": (r"[\w.-]+\.cloud\.databricks\.com", r"[\w.-]+\.azuredatabricks\.net"),
    "snowflake": (r"[\w.-]+\.snowflakecomputing\.com",),
    "moonshot": (r"api\.moonshot\.(ai|cn)",),
    "dashscope": (r"dashscope(-\w+)?\.aliyuncs\.com",),
    "volcengine": (r"ark\.[\w-]+\.volces\.com",),
    "zai": (r"api\.z\.ai",),
    "minimax": (r"api\.minimax(i)?\.(io|com|chat)",),
    "nebius": (r"api\.(studio|tokenfactory)\.nebius\.(ai|com)",),
    "novita": (r"api\.novita\.ai",),
    "voyage": (r"api\.voyageai\.com",),
    "jina_ai": (r"api\.jina\.ai",),
}
"""Hosts at which a provider itself answers, by LiteLLM's name of it; only under https."""


def provider_of(litellm_name: str) -> str:
    """Return the provider that a LiteLLM name begins with; empty when it names none."""
    return litellm_name.partition("/")[0] if "/" in litellm_name else ""


def is_own_host(litellm_name: str, api_base: str) -> bool:
    """Whether an address is one at which the model's provider itself answers."""
    try:
        parts = urlsplit(api_base)
        host = parts.hostname or ""
    except ValueError:
        return False
    patterns = _OWN_HOSTS.get(provider_of(litellm_name), ())
    return parts.scheme == "https" and any(re.fullmatch(pattern, host) for pattern in patterns)


def is_openai_host(host: str) -> bool:
    """Whether OpenAI answers at a host."""
    return any(re.fullmatch(pattern, host) for pattern in _OPENAI_HOSTS)


def openai_bases() -> tuple[str, ...]:
    """Return the addresses that the environment names as OpenAI's."""
    return tuple(value for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE") if (value := os.environ.get(name)))


def key_for(litellm_name: str, api_base: str | None, api_key_env: str | None) -> str | None:
    """Return the key that goes with a call; None leaves it to LiteLLM, which looks for the provider's own.

    Args:
        litellm_name: LiteLLM's name of the model.
        api_base: The address that the pool file names; None for none.
        api_key_env: The variable that the pool file names; None for none. It must be set.
    """
    if api_key_env is not None:
        return os.environ[api_key_env]
    if api_base is None or is_own_host(litellm_name, api_base):
        return None
    return NO_KEY
