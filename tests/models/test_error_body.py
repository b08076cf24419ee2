"""A provider's own words, in whatever shape its error bodies come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jisi_cli.config import ModelEntry
from jisi_cli.models.failure import is_spent_quota, words_in
from tests.loopback import Loopback, Raw
from tests.models.asking import ask_once, entry, pool

UPSTREAM = json.dumps({"error": {"message": "rate limited upstream", "code": 429}})
SHAPES: dict[str, tuple[Any, str]] = {
    "OpenAI": (
        {"error": {"message": "Incorrect API key provided", "type": "x", "code": "y"}},
        "Incorrect API key provided",
    ),
    "FastAPI": ({"detail": "Not authenticated: token expired"}, "Not authenticated: token expired"),
    "FastAPI, fields": (
        {"detail": [{"loc": ["body", "model"], "msg": "Field required", "type": "missing"}]},
        "model: Field required",
    ),
    "FastAPI, nested": ({"detail": {"error": {"message": "no such deployment"}}}, "no such deployment"),
    "Ollama": ({"error": "model 'llama9' not found, pull it first"}, "model 'llama9' not found, pull it first"),
    "TGI": (
        {"error": "Input validation error: too long", "error_type": "validation"},
        "Input validation error: too long",
    ),
    "Gemini": (
        [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}],
        "API key not valid.",
    ),
    "Cloudflare": (
        {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]},
        "Authentication error",
    ),
    "Cohere": ({"message": "invalid api token"}, "invalid api token"),
    "Mistral": ({"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "too high"}]}}, "n: too high"),
    "msg": ({"code": 1301, "msg": "the account is in arrears"}, "the account is in arrears"),
    "problem": (
        {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "token expired"},
        "Unauthorized: token expired",
    ),
    "OAuth": ({"error": "invalid_client", "error_description": "bad secret"}, "invalid_client; bad secret"),
    "AWS": ({"Message": "The security token is invalid"}, "The security token is invalid"),
    "fault": (
        {"fault": {"faultstring": "x", "detail": {"errorcode": "y"}, "message": "quota violation"}},
        "quota violation",
    ),
    "JSON as text": ({"error": {"message": UPSTREAM}}, "rate limited upstream"),
    "OpenRouter": (
        {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": UPSTREAM}}},
        "Provider returned error; rate limited upstream",
    ),
    "two": ({"errors": [{"message": "one"}, {"message": "two"}, {"message": "one"}]}, "one; two"),
    "only a code": ({"error": {"code": "model_not_found"}}, "model_not_found"),
    "a string": ("upstream says: no such deployment", "upstream says: no such deployment"),
    "HTML": (
        "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>",
        "502 Bad Gateway",
    ),
    "HTML without a title": ("<!DOCTYPE html><body><p>Access\n denied</p></body>", "Access denied"),
    "XML": ("<?xml version='1.0'?><Error><Message>Denied by policy</Message></Error>", "Denied by policy"),
    "nothing known": ({"ok": False}, '{"ok": false}'),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("body", "words"), SHAPES.values(), ids=SHAPES)
def test_a_refusal_is_told_in_the_providers_own_words(
    loopback: Loopback, body: Any, words: str, streamed: bool
) -> None:
    raw = Raw(body.encode(), 404, "text/plain") if isinstance(body, str) else Raw(body, 404)
    loopback.script("a", raw=lambda request: raw)
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert answer.error == f"HTTP 404: {words}"


@pytest.mark.parametrize("provider", ["openrouter", "mistral", "hosted_vllm", "anthropic"])
@pytest.mark.parametrize("shape", ["FastAPI", "Ollama", "Gemini", "a string", "HTML"])
def test_every_provider_of_litellm_passes_the_words_on(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, provider: str, shape: str
) -> None:
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", "planted-0123456789")
    body, words = SHAPES[shape]
    raw = Raw(body.encode(), 404, "text/html") if isinstance(body, str) else Raw(body, 404)
    loopback.script("a", raw=lambda request: raw)
    answer = ask_once(pool(ModelEntry("a", f"{provider}/a", api_base=loopback.api_base)))
    assert answer.error == f"HTTP 404: {words}"


def test_an_empty_body_leaves_the_status(loopback: Loopback) -> None:
    loopback.script("a", raw=lambda request: Raw(b"", 418, "text/plain"))
    error = ask_once(pool(entry(loopback))).error
    assert error is not None and error.startswith("HTTP 418: ")


SPENT: dict[str, tuple[int, Any]] = {
    "OpenAI": (
        429,
        {"error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": None}},
    ),
    "OpenAI, code": (429, {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}),
    "OpenAI, limit": (
        429,
        {"error": {"message": "Billing hard limit has been reached", "code": "billing_hard_limit_reached"}},
    ),
    "Anthropic": (429, {"type": "error", "error": {"type": "x", "message": "Your credit balance is too low."}}),
    "DeepSeek": (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}),
    "any 402": (402, {"error": "pay first"}),
    "OpenRouter": (
        429,
        {"error": {"message": "This request requires more credits, or fewer max_tokens.", "code": 402}},
    ),
    "Moonshot": (429, {"error": {"message": "slow down", "type": "exceeded_current_quota_error"}}),
    "within": (429, {"error": {"message": json.dumps({"error": {"message": "no", "code": "insufficient_quota"}})}}),
    "500": (500, {"error": {"message": "no", "code": "insufficient_quota"}}),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("status", "body"), SPENT.values(), ids=SPENT)
def test_a_model_without_money_is_asked_once(loopback: Loopback, status: int, body: Any, streamed: bool) -> None:
    loopback.script("a", raw=lambda request: Raw(body, status))
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert answer.error is not None and answer.error.startswith(f"HTTP {status}: ")
    assert (loopback.count(), answer.cost_usd) == (1, 0.0)


def test_a_limit_of_calls_per_minute_is_no_spent_quota() -> None:
    said = "You exceeded your current quota, please check your plan. Please retry in 12 s."
    body = {"error": {"code": 429, "message": said, "status": "RESOURCE_EXHAUSTED"}}
    assert not is_spent_quota(json.dumps(body))
    assert is_spent_quota('{"error": {"code": "insufficient_quota"}}')


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 100_000, "<" * 100_000, "{" + " " * 100_000, "\ud800"])
def test_a_body_of_any_kind_is_read_in_no_time(body: str) -> None:
    assert isinstance(words_in(body), str)
    assert not is_spent_quota(body)
