"""Providers that LiteLLM reaches by other ways than OpenAI's client fail and recover in the same manner."""

from __future__ import annotations

import pytest

from jisi_cli.config import ModelEntry, Price
from jisi_cli.types import Answer
from tests.loopback import Fault, Loopback
from tests.models.asking import ask_once, pool

PROVIDERS = {
    "hosted_vllm": "HOSTED_VLLM_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
}
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROVIDERS.values():
        monkeypatch.setenv(name, "planted-0123456789")


def answer_of(server: Loopback, provider: str, streamed: bool) -> Answer:
    named = {"api_base": server.api_base, "api_key_env": PROVIDERS[provider]}
    entry = ModelEntry("a", f"{provider}/a", price=Price(1, 2), **named)
    return ask_once(pool(entry), on_text=(lambda _: None) if streamed else None)


@STREAMED
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "fault",
    [Fault("status", status=429), Fault("status", status=503), Fault("reset"), Fault("malformed"), Fault("truncated")],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_what_passes_is_tried_again(loopback: Loopback, provider: str, fault: Fault, streamed: bool) -> None:
    loopback.script("a", text="it is four", faults=[fault])
    answer = answer_of(loopback, provider, streamed)
    assert (answer.text, answer.completion_tokens, answer.tokens_source) == ("it is four", 3, "provider")
    assert loopback.count() == 2


@STREAMED
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_is_refused_is_told_in_the_providers_words_without_the_key(
    loopback: Loopback, provider: str, status: int, streamed: bool
) -> None:
    loopback.script("a", faults=[Fault("status", status=status, message="no: {authorization}")])
    error = answer_of(loopback, provider, streamed).error
    assert error is not None
    assert error.startswith(f"HTTP {status}: no: ")
    assert "planted" not in error
    assert loopback.requests[0].headers["authorization"] == "Bearer planted-0123456789"
    assert loopback.count() == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_retry_after_is_kept(loopback: Loopback, provider: str) -> None:
    loopback.script("a", faults=[Fault("status", status=429, retry_after=1)])
    assert answer_of(loopback, provider, streamed=False).ok
    first, second = (request.time for request in loopback.requests)
    assert second - first >= 0.9
