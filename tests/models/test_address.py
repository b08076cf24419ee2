"""Where a call goes is part of its cache key, also where only the environment says it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.address import environment_addresses, is_own_host, key_for
from jisi_cli.models.cache import cache_key
from jisi_cli.models.litellm_client import load_litellm
from tests.loopback import Loopback
from tests.models.asking import ask_once, cache_in, pool, user

VARIABLES = {
    "openai": "OPENAI_BASE_URL OPENAI_API_BASE",
    "anthropic": "ANTHROPIC_API_BASE ANTHROPIC_BASE_URL",
    "azure": "AZURE_API_BASE AZURE_API_VERSION",
    "azure_ai": "AZURE_AI_API_BASE",
    "bedrock": "AWS_BEDROCK_RUNTIME_ENDPOINT AWS_REGION_NAME AWS_REGION AWS_DEFAULT_REGION",
    "vertex_ai": "VERTEXAI_LOCATION VERTEX_LOCATION VERTEXAI_PROJECT VERTEX_API_BASE",
    "gemini": "GEMINI_API_BASE",
    "mistral": "MISTRAL_API_BASE MISTRAL_AZURE_API_BASE",
    "groq": "GROQ_API_BASE",
    "openrouter": "OPENROUTER_API_BASE",
    "together_ai": "TOGETHER_AI_API_BASE",
    "huggingface": "HF_API_BASE HUGGINGFACE_API_BASE",
    "ollama": "OLLAMA_API_BASE",
    "hosted_vllm": "HOSTED_VLLM_API_BASE",
    "lm_studio": "LM_STUDIO_API_BASE OPENAI_BASE_URL",
    "litellm_proxy": "LITELLM_PROXY_API_BASE OPENAI_BASE_URL",
    "meta_llama": "LLAMA_API_BASE",
    "friendliai": "FRIENDLI_API_BASE",
    "watsonx": "WATSONX_URL WX_URL WML_URL WATSONX_REGION",
    "databricks": "DATABRICKS_API_BASE DATABRICKS_HOST",
    "cloudflare": "CLOUDFLARE_ACCOUNT_ID",
    "snowflake": "SNOWFLAKE_ACCOUNT_ID",
}
PAIRS = [(provider, name) for provider, names in VARIABLES.items() for name in names.split()]


def key(litellm: str, api_base: str | None = None) -> str:
    return cache_key(ModelEntry("a", litellm, api_base=api_base), user("?"), {"temperature": 0.2}, 0)


@pytest.mark.parametrize(("provider", "name"), PAIRS)
def test_an_address_of_the_environment_is_part_of_the_key(
    provider: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {key(f"{provider}/a")}
    for value in ("https://one.example", "https://two.example"):
        monkeypatch.setenv(name, value)
        keys.add(key(f"{provider}/a"))
    assert len(keys) == 3


def test_a_request_whose_address_the_environment_does_not_name_keeps_the_key_that_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = "5cead368feca40b25b758cd5b9944f772aa8d177e5c441e1753f200b90e558eb"
    assert key("openai/a") == old
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://elsewhere.example")
    monkeypatch.setenv("OPENAI_ORGANIZATION", "mine")
    monkeypatch.setenv("OPENAI_PROJECT", "mine")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    assert key("openai/a") == old
    named = key("openai/a", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example")
    assert key("openai/a", "http://127.0.0.1:1/v1") == named
    assert key("openai/a") != old


def test_without_a_provider_every_address_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://elsewhere.example")
    assert "ANTHROPIC_BASE_URL" in environment_addresses("claude-sonnet-4-5", None)


def test_how_the_key_is_named_does_not_change_the_answer() -> None:
    entry = ModelEntry("a", "openai/a", api_base="http://127.0.0.1:1/v1")
    keys = {cache_key(each, user("?"), {}, 0) for each in (entry, replace(entry, api_key_env="MY_KEY"))}
    assert len(keys) == 1


def test_one_server_s_answer_is_not_taken_for_another_s(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-0123456789")
    cache = cache_in(tmp_path)
    model = ModelEntry("a", "openai/a", price=Price(1, 2))
    loopback.script("a", text="from the first")
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.api_base)
    assert ask_once(pool(model, cache=cache)).text == "from the first"
    with Loopback() as other:
        other.script("a", text="from the second")
        monkeypatch.setenv("OPENAI_BASE_URL", other.api_base)
        assert ask_once(pool(model, cache=cache)).text == "from the second"
        monkeypatch.setenv("OPENAI_BASE_URL", loopback.api_base)
        assert ask_once(pool(model, cache=cache)).text == "from the first"
        assert (loopback.count(), other.count()) == (1, 1)


_NAMED = re.compile(r"[\"']([A-Z][A-Z0-9_]*_(?:API_BASE|BASE_URL|ENDPOINT|REGION|REGION_NAME|LOCATION|URL|HOST))[\"']")
_NO_CHAT = re.compile(r"^LITELLM_(?!PROXY_API)|SEARCH|REDIS|WEBHOOK|LANGFUSE|ARIZE|PHOENIX|^DEFAULT|SITE_URL")


@pytest.mark.slow
def test_no_variable_that_moves_a_request_of_the_installed_litellm_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address that its code names is set to a host of its own; who is asked there must have it in the key."""
    litellm = load_litellm()
    folder = Path(litellm.__file__).parent
    sources = [*(folder / "llms").rglob("*.py"), *(folder / "litellm_core_utils").rglob("*.py"), folder / "main.py"]
    sources += (folder / "llms").rglob("*.json")
    names = sorted({name for path in sources for name in _NAMED.findall(path.read_text(errors="replace"))})
    names = [name for name in names if not _NO_CHAT.search(name)]
    assert len(names) > 50
    asked: list[str] = []

    async def remember(_: httpx.AsyncClient, request: httpx.Request, **__: Any) -> httpx.Response:
        asked.append(str(request.url))
        raise OSError("far enough")

    monkeypatch.setattr(httpx.AsyncClient, "send", remember)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    for name in names:
        monkeypatch.setenv(name, f"https://{name.lower().replace('_', '-')}.example/v1")
    missing = []
    for provider in sorted(str(getattr(each, "value", each)) for each in litellm.provider_list):
        asked.clear()
        call = {"messages": user("?"), "api_key": "none", "max_retries": 0, "num_retries": 0, "timeout": 5}
        with contextlib.suppress(Exception):  # Whatever an adapter raises: what counts is where it went.
            asyncio.run(litellm.acompletion(model=f"{provider}/a", **call))
        known = environment_addresses(f"{provider}/a", None)
        moved = [name for name in names if any(f"//{name.lower().replace('_', '-')}.example" in url for url in asked)]
        missing += [(provider, name) for name in moved if name not in known]
    assert missing == []


@pytest.mark.parametrize(
    ("name", "address", "is_own"),
    [
        ("openai/a", "https://api.openai.com/v1", True),
        ("openai/a", "https://eu.api.openai.com/v1", True),
        ("openai/a", "http://api.openai.com/v1", False),
        ("openai/a", "https://api.openai.com.evil.example/v1", False),
        ("openai/a", "https://evil.example/api.openai.com", False),
        ("openai/a", "https://api.openai.com@evil.example/v1", False),
        ("openai/a", "https://evil.example?api.openai.com", False),
        ("openai/a", "https://xapi.openai.com", False),
        ("anthropic/a", "https://api.openai.com/v1", False),
        ("anthropic/a", "https://api.anthropic.com", True),
        ("azure/a", "https://mine.openai.azure.com", True),
        ("azure/a", "https://mine.azure-api.net", False),
        ("azure/a", "https://mine.azurewebsites.net", False),
        ("bedrock/a", "https://bedrock-runtime.eu-west-1.amazonaws.com", True),
        ("bedrock/a", "https://mine.execute-api.eu-west-1.amazonaws.com", False),
        ("huggingface/a", "https://x.endpoints.huggingface.cloud", False),
        ("openai/a", "https://[::1", False),
    ],
)
def test_a_provider_s_own_host_is_told_from_others(name: str, address: str, is_own: bool) -> None:
    assert is_own_host(name, address) == is_own
    assert key_for(name, address, None) == (None if is_own else "none")
