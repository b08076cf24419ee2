"""Where a model is reached, and which key may go there.

A key goes to its own provider's hosts, or to where the pool file names the variable that holds it. An address that the
environment names (`OPENAI_BASE_URL`) is the user's own choice: LiteLLM reads address and key from there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

OPENAI_KEY = "OPENAI_API_KEY"
NO_KEY = "none"
"""Sent where no key may be: clients refuse to start without one, and LiteLLM would look for one."""

_OPENAI_ADDRESS = "https://api.openai.com/v1"
_OPENAI_HOSTS = (r"(\w+\.)?api\.openai\.com",)
_AZURE_HOSTS = (
    r"[\w-]+\.(openai|cognitiveservices|services\.ai)\.azure\.(com|us|cn)",
    r"[\w.-]+\.(models|inference)\.ai\.azure\.com",
)
_GOOGLE_HOSTS = (r"([\w-]+-)?aiplatform\.googleapis\.com", r"aiplatform\.[\w-]+\.rep\.googleapis\.com")
_AWS_HOSTS = (r"([\w-]+\.)?bedrock(-runtime)?(-fips)?\.[\w-]+\.(vpce\.)?(amazonaws\.com(\.cn)?|api\.aws)",)
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

_ADDRESS_VARIABLE = re.compile(r"_(API_BASE|BASE_URL|ENDPOINT|REGION|REGION_NAME|LOCATION|API_VERSION|ACCOUNT_ID)$")
_MORE_VARIABLES = frozenset(
    {
        *("WATSONX_URL", "WX_URL", "WML_URL", "DATABRICKS_HOST", "PREDIBASE_TENANT_ID", "GITHUB_COPILOT_HOST"),
        *("VERTEXAI_PROJECT", "VERTEX_PROJECT", "CLOUD_ML_REGION"),
    }
)
_PART_OF_AN_ADDRESS = re.compile(r"_(REGION|REGION_NAME|LOCATION|API_VERSION|TENANT_ID|ACCOUNT_ID)$|RUNTIME_ENDPOINT$")
"""What still counts where the pool file names the address itself."""
_COMMON_WORDS = frozenset({"AI", "API", "TEXT", "COMPLETION", "CHAT", "CUSTOM", "MODEL", "RUNNER", "CLOUD", "AGENT"})
_OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "ai21": ("OPENAI",),
    "bedrock": ("AWS",),
    "bedrock_mantle": ("AWS",),
    "friendliai": ("FRIENDLI",),
    "huggingface": ("HF",),
    "litellm_proxy": ("OPENAI",),
    "lm_studio": ("OPENAI",),
    "sagemaker": ("AWS",),
    "sagemaker_chat": ("AWS",),
    "sagemaker_nova": ("AWS",),
    "vertex_ai": ("CLOUD_ML",),
    "vertex_ai_beta": ("CLOUD_ML",),
    "volcengine": ("ARK",),
    "watsonx": ("WX", "WML"),
    "watsonx_text": ("WX", "WML"),
    "xinference": ("OPENAI",),
}
"""How variables of a provider begin, where that is none of the words of its name."""


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


def address_of(litellm_name: str, api_base: str | None) -> str | None:
    """Return the address of a server that speaks OpenAI's protocol; None where it is up to LiteLLM.

    Args:
        litellm_name: LiteLLM's name of the model.
        api_base: The address that the pool file names; None for none.
    """
    if api_base is None and litellm_name.startswith("openai/"):
        return next(iter(openai_bases()), _OPENAI_ADDRESS)
    return api_base


def environment_addresses(litellm_name: str, api_base: str | None) -> dict[str, str]:
    """Return the variables of the environment that decide where LiteLLM sends a call, with their values.

    They are told by their names, which begin as the provider's does. Where a model's name has no provider LiteLLM
    guesses it, so those of all providers count.

    Args:
        litellm_name: LiteLLM's name of the model.
        api_base: The address that the pool file names, which leaves few of them in force; None for none.
    """
    provider = provider_of(litellm_name)
    words = {word.upper() for word in re.split(r"[-_.]", provider)} - _COMMON_WORDS
    begins = tuple(words | set(_OTHER_WORDS.get(provider, ())))
    if os.environ.get("USE_LITELLM_PROXY"):
        begins = (*begins, "LITELLM_PROXY")
    found = {}
    for name, value in os.environ.items():
        if not value or not (_ADDRESS_VARIABLE.search(name) or name in _MORE_VARIABLES):
            continue
        is_in_force = api_base is None or _PART_OF_AN_ADDRESS.search(name)
        if is_in_force and (not provider or name.startswith(begins)):
            found[name] = value
    return found


def aws_endpoint(service: str) -> str | None:
    """Return where the environment has AWS's tools ask a service instead of at Amazon; None for there.

    Args:
        service: Its name in the SDKs, such as `bedrock`.
    """
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or os.environ.get("AWS_ENDPOINT_URL") or None


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
