"""What leaves with a call: no redirect takes it to another host, and no key goes to a host that it is not for."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from jisi_cli.config import ModelEntry, Price
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import InputError
from jisi_cli.models.litellm_client import RefusedError, Rules, keeping, load_litellm
from tests.loopback import Fault, Loopback
from tests.models.asking import ask_once, entry, pool

KEY = "sk-planted-0123456789"
PROVIDERS = {
    "openai": "OPENAI_API_KEY",
    "text-completion-openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "azure": "AZURE_API_KEY",
    "azure_ai": "AZURE_AI_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "cohere_chat": "COHERE_API_KEY",
    "groq": "GROQ_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
    "fireworks_ai": "FIREWORKS_API_KEY",
    "huggingface": "HUGGINGFACE_API_KEY",
    "ollama": "OLLAMA_API_KEY",
    "ollama_chat": "OLLAMA_API_KEY",
    "hosted_vllm": "HOSTED_VLLM_API_KEY",
    "databricks": "DATABRICKS_API_KEY",
    "xai": "XAI_API_KEY",
    "perplexity": "PERPLEXITYAI_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
}
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
EVERY_PROVIDER = pytest.mark.parametrize("provider", PROVIDERS)


class Listener(ThreadingHTTPServer):
    """A server that remembers what it got, and answers with a status and headers that a test chose."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.location = 404, ""
        self.got: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Tells its server what came."""

    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode("utf-8", "replace")
        self.server.got.append(f"{self.path}\n{self.headers}\n{body}")
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("location", self.server.location + self.path)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def listening() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def first() -> Iterator[Listener]:
    with listening() as server:
        yield server


@pytest.fixture
def second() -> Iterator[Listener]:
    with listening() as server:
        yield server


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROVIDERS.values():
        monkeypatch.setenv(name, KEY)


def error_of(model: ModelEntry, streamed: bool = False) -> str:
    answer = ask_once(pool(model, max_retries=1), on_text=(lambda _: None) if streamed else None)
    assert answer.error is not None
    return answer.error


@STREAMED
@EVERY_PROVIDER
def test_a_redirect_takes_no_question_and_no_key_to_another_host(
    provider: str, streamed: bool, first: Listener, second: Listener
) -> None:
    first.status, first.location = 307, second.address
    params = {"extra_headers": {"X-Own": "a header of one's own"}, "max_tokens": 9}
    model = ModelEntry(
        "a", f"{provider}/a", api_base=first.address, api_key_env=PROVIDERS[provider], params=params, price=Price(1, 2)
    )
    error = error_of(model, streamed)
    assert second.got == []
    assert error.startswith("redirect to another host refused: ")
    assert first.address in error
    assert second.address in error
    assert len(first.got) == 1
    assert KEY in first.got[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_kind_of_redirect_leads_to_another_port(status: int, first: Listener, loopback: Loopback) -> None:
    first.status, first.location = status, loopback.api_base.removesuffix("/v1")
    loopback.script("a", text="from elsewhere")
    assert "redirect to another host refused" in error_of(ModelEntry("a", "openai/a", api_base=f"{first.address}/v1"))
    assert loopback.count() == 0


def test_a_redirect_on_the_same_host_is_followed(first: Listener) -> None:
    first.status, first.location = 307, "/elsewhere"
    error = error_of(ModelEntry("a", "openai/a", api_base=f"{first.address}/v1"))
    assert "more than 5 redirects" in error
    assert len(first.got) == 5
    assert "/elsewhere/elsewhere/v1/chat/completions" in first.got[2]


@pytest.mark.parametrize(
    ("here", "there", "is_followed"),
    [
        ("https://a.example/x", "https://a.example/y", True),
        ("https://a.example/x", "https://a.example:443/y", True),
        ("http://a.example/x", "https://a.example/x", True),
        ("https://a.example/x", "http://a.example/x", False),
        ("https://a.example/x", "https://b.example/x", False),
        ("https://a.example/x", "https://a.example:8443/x", False),
        ("http://a.example:8080/x", "https://a.example/x", False),
        ("https://a.example/x", "//b.example/x", False),
        ("https://a.example/x", "https://a.example@b.example/x", False),
    ],
)
def test_a_redirect_stays_with_scheme_host_and_port(here: str, there: str, is_followed: bool) -> None:
    load_litellm()
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(200 if len(asked) > 1 else 307, headers={"location": there} if len(asked) == 1 else {})

    with keeping(Rules()), httpx.Client(transport=httpx.MockTransport(answer), follow_redirects=True) as client:
        if is_followed:
            assert client.post(here, json={}).status_code == 200
        else:
            with pytest.raises(RefusedError, match="refused"):
                client.post(here, json={})
    assert asked == ["a.example"] * (2 if is_followed else 1)


def test_other_users_of_the_same_http_client_are_left_alone(first: Listener, second: Listener) -> None:
    load_litellm()
    first.status, first.location = 302, second.address
    assert httpx.get(first.address, follow_redirects=True).status_code == 404
    assert len(second.got) == 1


@pytest.mark.parametrize("name", ["openai/vectors", "cohere/vectors", "together_ai/vectors", "mistral/vectors"])
def test_a_redirect_takes_no_text_of_an_embedder_to_another_host(name: str, first: Listener, second: Listener) -> None:
    first.status, first.location = 308, second.address
    embedder = load_embedder(
        EmbedderSpec(f"litellm:{name}"), api_base=first.address, api_key_env=PROVIDERS.get(name.split("/")[0])
    )
    with pytest.raises(InputError, match="redirect to another host refused"):
        embedder.embed(["one"])
    assert second.got == []


@STREAMED
@EVERY_PROVIDER
def test_no_key_of_the_environment_goes_to_an_address_whose_key_is_not_named(
    provider: str, streamed: bool, first: Listener
) -> None:
    error_of(ModelEntry("a", f"{provider}/a", api_base=first.address, price=Price(1, 2)), streamed)
    assert len(first.got) == 1
    assert KEY not in first.got[0]


@EVERY_PROVIDER
def test_the_key_that_an_entry_names_goes_to_its_address_and_no_other_does(
    provider: str, first: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY", "named-0123456789")
    model = ModelEntry("a", f"{provider}/a", api_base=first.address, api_key_env="GATEWAY", price=Price(1, 2))
    error_of(model)
    assert len(first.got) == 1
    assert "named-0123456789" in first.got[0]
    assert KEY not in first.got[0]


@pytest.mark.parametrize("provider", ["helicone", "zerogpu", "xiaomi_mimo", "nebius", "volcengine", "deepinfra"])
def test_openai_s_key_stands_in_for_no_other_provider_s(provider: str) -> None:
    error = error_of(ModelEntry("a", f"{provider}/a", price=Price(1, 2)))
    assert error.startswith("no key for ")
    assert "OPENAI_API_KEY" in error or "set " in error
    assert KEY not in error


def test_a_token_that_no_entry_names_is_not_sent_however_a_client_came_by_it() -> None:
    load_litellm()
    reached: list[Any] = []
    transport = httpx.MockTransport(lambda request: reached.append(request) or httpx.Response(200))  # type: ignore[func-returns-value]
    rules = Rules(only_key="none", headers=frozenset({"of one's own"}))
    with keeping(rules), httpx.Client(transport=transport) as client:
        for headers in ({"Authorization": "Bearer ya29.token"}, {"x-goog-api-key": KEY}, {"Cookie": "session=1234"}):
            with pytest.raises(RefusedError, match="api_key_env"):
                client.post("http://host.example", headers=headers)
        with pytest.raises(RefusedError, match="api_key_env"):
            client.post(f"http://host.example?key={KEY}")
        client.post("http://host.example", headers={"Authorization": "Bearer none", "X-Auth": "of one's own"})
    assert len(reached) == 1


@pytest.mark.parametrize(
    ("address", "rules", "arrives"),
    [
        ("https://api.openai.com/v1", Rules(), True),
        ("http://host.example/v1", Rules(only_key="mine"), False),
        ("http://host.example/v1", Rules(only_key="mine", named_variable="OPENAI_API_KEY"), True),
        ("http://host.example/v1", Rules(only_key="mine", headers=frozenset({"org-1"})), True),
        ("https://api.groq.com/openai/v1", Rules(), False),
    ],
)
def test_an_organisation_of_the_environment_is_told_to_openai_alone(
    address: str, rules: Rules, arrives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openai

    load_litellm()
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    got: list[httpx.Headers] = []
    transport = httpx.MockTransport(lambda request: got.append(request.headers) or httpx.Response(400))  # type: ignore[func-returns-value]
    client = openai.OpenAI(base_url=address, api_key="mine", http_client=httpx.Client(transport=transport))
    with keeping(rules), client, pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="a", messages=[{"role": "user", "content": "hi"}])
    assert (got[0].get("openai-organization") == "org-1") is arrives


def test_no_file_that_lies_about_adds_to_the_environment() -> None:
    """LiteLLM reads a `.env` of the folders above it, which may be a stranger's repository."""
    script = (
        "import dotenv, sys\n"
        "dotenv.load_dotenv = lambda *_, **__: sys.exit('a .env was read')\n"
        "from jisi_cli.models.litellm_client import load_litellm\n"
        "load_litellm()\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_refused_key_names_the_remedy(loopback: Loopback) -> None:
    loopback.script("a", faults=[Fault("status", status=401, message="who are you?")])
    error = error_of(entry(loopback))
    assert "HTTP 401: who are you?" in error
    assert 'api_key_env = "…"' in error


def test_a_named_key_that_is_not_set_is_missing(loopback: Loopback) -> None:
    assert "set NOT_THERE" in error_of(entry(loopback, api_key_env="NOT_THERE"))
    assert loopback.count() == 0
