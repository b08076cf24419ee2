"""Refusals that are named without LiteLLM: to the letter what its exceptions give, and what is odd is left to it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.models import direct_call
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.litellm_client import load_litellm
from jisi_cli.models.plain_refusal import plain_refusal
from jisi_cli.models.provider import Provider
from tests.cli.commands import ROOT
from tests.loopback import Loopback, Raw
from tests.models.asking import entry, user

QUESTION = "Which of the seven bridges of Königsberg did Euler cross twice on that one walk?"
OPENAI: dict[str, dict[str, Any]] = {
    "a wrong key": {
        "message": "Incorrect API key provided: sk-none.",
        "type": "invalid_request_error",
        "code": "invalid_api_key",
    },
    "its own key": {"message": "no account for sk-planted-0123456789abcdef", "type": "auth", "code": None},
    "another model": {
        "message": "The model `a` does not exist",
        "type": "invalid_request_error",
        "code": "model_not_found",
    },
    "too many": {
        "message": "Rate limit reached for a: try again in 20ms.",
        "type": "requests",
        "code": "rate_limit_exceeded",
    },
    "spent": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"},
    "too long": {"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"},
    "a parameter": {
        "message": "Unsupported parameter: 'temperature'",
        "param": "temperature",
        "code": "unsupported_parameter",
    },
    "its value": {"message": "`max_tokens` is too large: 9000", "type": "invalid_request_error", "param": "max_tokens"},
    "moderation": {"message": "Your input was flagged by moderation", "type": "invalid_request_error"},
    "a filter": {"message": "refused", "type": "invalid_request_error", "code": "content_policy_violation"},
    "cyber": {"message": "refused", "type": "invalid_request_error", "code": "cyber_policy"},
    "an account": {"message": "This organization has been disabled.", "type": "invalid_request_error"},
    "the server": {"message": "The server had an error processing your request.", "type": "server_error", "code": 500},
    "overloaded": {"message": "Engine overloaded", "type": "server_error"},
    "a timeout": {"message": "Request timed out.", "type": "server_error"},
    "the question": {"message": f"Cannot answer: {QUESTION}", "type": "invalid_request_error"},
    "roles": {"message": "Conversation roles must alternate user/assistant/user", "type": "BadRequestError"},
    "nested": {"message": {"detail": "no such deployment"}, "type": "x"},
    "upstream": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "slow down"}},
    "nothing": {},
}
BODIES: dict[str, Any] = {
    **{name: {"error": error} for name, error in OPENAI.items()},
    "what it cost": {
        "error": {"message": "too late"},
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    },
    "a text": {"error": "model is loading"},
    "a detail": {"detail": "Not Found"},
    "details": {"detail": [{"loc": ["body", "stop"], "msg": "field not permitted"}]},
    "bare": {"message": "quota", "code": "insufficient_quota"},
    "a list": [{"error": {"message": "API key not valid"}}],
    "null": {"error": None},
    "plain": b"upstream connect error\x1b[31m or disconnect\r\n",
    "a page": b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
    "cut off": b'{"error": {"message": "the disk',
    "empty": b"",
    "blank": b" \n",
    "no text": b"\xff\xfe\x00\x01",
    "long": b"x" * 40_000,
}
STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 425, 429, 500, 502, 503, 504, 529)
HEADERS: Sequence[dict[str, str]] = (
    {},
    {"retry-after": "7"},
    {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "x-request-id": "r"},
    {"retry-after": "soon", "retry-after-ms": "20"},
    {"retry-after": "-3"},
)
KINDS = (None, "text/html; charset=utf-8", "text/plain; charset=latin-1", "application/problem+json")


def told(failure: ProviderFailure) -> dict[str, Any]:
    """Return all that a failure says."""
    return vars(failure) | {"kind": type(failure)}


async def failures(server: Loopback, answers: Sequence[Raw]) -> list[dict[str, Any]]:
    """Return what each answer becomes, whole and streamed in turns."""
    provider, found = Provider(timeout=30.0), []
    for number, answer in enumerate(answers):
        server.script("a", raw=lambda _, answer=answer: answer)
        with pytest.raises(ProviderFailure) as raised:
            await provider.complete(
                entry(server, api_key_env="THEIR_API_KEY"),
                user(QUESTION),
                {"temperature": 0.2, "max_tokens": 9},
                (lambda _: None) if number % 2 else None,
            )
        found.append(told(raised.value))
        provider._accepted.clear()  # a parameter that was refused once is not sent again
    await provider.close()
    return found


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_API_KEY", "sk-planted-0123456789abcdef")


@pytest.fixture
def environment_without_litellm(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which importing LiteLLM is a failure."""
    (tmp_path / "litellm.py").write_text("raise SystemExit('LiteLLM was imported')\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}


def cases() -> list[tuple[int, str]]:
    """Return statuses with bodies: each body with three, each status with two."""
    others = [status for status in STATUSES if status not in (400, 429)]
    by_body = [(status, name) for n, name in enumerate(BODIES) for status in (400, 429, others[n % len(others)])]
    return list(dict.fromkeys([*by_body, *product(STATUSES, ("a wrong key", "plain"))]))


def test_every_refusal_is_what_litellms_exception_gives(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    load_litellm()
    answers = [
        Raw(BODIES[name], status, KINDS[number % 7 % 4], headers=HEADERS[number % len(HEADERS)])
        for number, (status, name) in enumerate(cases())
    ]
    monkeypatch.setattr(direct_call, "is_the_programs_own", lambda: False)
    named: list[ProviderFailure | None] = []

    async def counted(*arguments: Any) -> ProviderFailure | None:
        named.append(await plain_refusal(*arguments))
        return named[-1]

    monkeypatch.setattr(direct_call, "plain_refusal", counted)
    direct = asyncio.run(failures(loopback, answers))
    assert sum(failure is not None for failure in named) > len(answers) / 3  # the rest is left to LiteLLM
    monkeypatch.setattr(direct_call, "is_the_programs_own", lambda: True)
    usual = asyncio.run(failures(loopback, answers))
    for case, ours, theirs in zip(cases(), direct, usual, strict=True):
        assert ours == theirs, case


def test_a_wrong_key_is_told_though_litellm_never_comes(
    loopback: Loopback, environment_without_litellm: dict[str, str]
) -> None:
    loopback.script("a", raw=lambda _: Raw({"error": OPENAI["a wrong key"]}, 401))
    script = (
        "from jisi_cli.config import ModelEntry, Price\n"
        "from tests.models.asking import ask_once, pool\n"
        f"entry = ModelEntry('a', 'openai/a', api_base={loopback.api_base!r}, price=Price(1, 2))\n"
        "print(ask_once(pool(entry)).error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment_without_litellm, cwd=ROOT, text=True, capture_output=True
    )
    assert run.stdout.startswith("HTTP 401: Incorrect API key provided"), run.stderr
    assert loopback.count() == 1
