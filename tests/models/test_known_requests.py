"""How LiteLLM asks a model, learned from its first request: the next is the same, and no key goes astray."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models import direct_call, known_requests
from jisi_cli.models.kept_file import litellm_version
from jisi_cli.models.known_requests import keep_request, known_request
from jisi_cli.models.litellm_client import load_litellm
from jisi_cli.paths import cache_folder
from jisi_cli.types import Answer, Message, Sampling
from tests.loopback import Loopback
from tests.models.asking import ask_once, pool, user
from tests.models.test_direct_call import STREAMED, sent

QUESTION: list[Message] = user("what is 2 + 2?")
ASKED = {"temperature": 0.2}
KEY = "sk-or-a-secret-value"
URL = "https://openrouter.ai/api/v1/chat/completions"
ENTRY = ModelEntry("a", "openrouter/openai/gpt-4.1-mini")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)


def request(url: str = URL, **changes: Any) -> httpx.Request:
    """Return a request as LiteLLM would send it."""
    body = {"model": "openai/gpt-4.1-mini", "messages": QUESTION, **ASKED, "usage": {"include": True}, **changes}
    headers = {"authorization": f"Bearer {KEY}", "user-agent": "litellm/1", "x-title": "liteLLM"}
    return httpx.Request("POST", url, json=body, headers=headers)


def in_a_new_process() -> None:
    known_requests._kept.cache_clear()


def test_what_litellm_sent_is_known_later_without_the_key() -> None:
    keep_request(ENTRY, QUESTION, ASKED, ASKED, request())
    in_a_new_process()
    known = known_request(ENTRY, QUESTION, ASKED)
    assert known is not None
    assert (known.url, known.variable, known.name) == (URL, "OPENROUTER_API_KEY", "openai/gpt-4.1-mini")
    assert known.body == {**ASKED, "usage": {"include": True}} and known.given == ASKED
    assert known.headers["x-title"] == "liteLLM" and "authorization" not in known.headers
    assert KEY not in (cache_folder() / "requests.json").read_text()


def test_a_conversation_is_asked_as_one_that_goes_on_longer_but_not_as_one_in_another_order() -> None:
    answer = Message(role="assistant", content="4")
    talk = [*QUESTION, answer, *QUESTION]
    keep_request(ENTRY, talk, ASKED, ASKED, request(messages=talk))
    assert known_request(ENTRY, [*talk, answer, *QUESTION], ASKED) is not None
    for other in ([*talk, *QUESTION], [answer, *talk], [*talk, answer], QUESTION):
        assert known_request(ENTRY, other, ASKED) is None


@pytest.mark.parametrize(
    ("entry", "messages", "parameters", "variables"),
    [
        (ENTRY, QUESTION, {"temperature": 0.3}, {}),
        (ENTRY, [Message(role="system", content="be brief"), *QUESTION], ASKED, {}),
        (ModelEntry("a", "openrouter/openai/gpt-4.1"), QUESTION, ASKED, {}),
        (ModelEntry("a", ENTRY.litellm, api_base="https://example.org/v1"), QUESTION, ASKED, {}),
        (ModelEntry("a", ENTRY.litellm, api_key_env="OTHER_KEY"), QUESTION, ASKED, {}),
        (ENTRY, QUESTION, ASKED, {"OPENROUTER_API_BASE": "https://example.org/v1"}),
        (ENTRY, QUESTION, ASKED, {"OPENROUTER_API_KEY": ""}),
    ],
)
def test_anything_else_is_not_known(
    entry: ModelEntry,
    messages: list[Message],
    parameters: dict[str, Any],
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_request(ENTRY, QUESTION, ASKED, ASKED, request())
    assert known_request(ENTRY, QUESTION, ASKED) is not None
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert known_request(entry, messages, parameters) is None


def another_key() -> httpx.Request:
    changed = request()
    changed.headers["authorization"] = "Bearer of-no-variable"
    return changed


def another_header() -> httpx.Request:
    changed = request()
    changed.headers["x-session"] = "1"
    return changed


ODD: dict[str, Callable[[], httpx.Request]] = {
    "another host": lambda: request("https://example.org/v1/chat/completions"),
    "without encryption": lambda: request("http://openrouter.ai/api/v1/chat/completions"),
    "another path": lambda: request("https://openrouter.ai/api/v1/responses"),
    "another conversation": lambda: request(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}]),
    "no conversation": lambda: request(messages=None),
    "no model": lambda: request(model=None),
    "a key of no variable": another_key,
    "a header that may say anything": another_header,
    "no JSON": lambda: httpx.Request("POST", URL, content=b"{", headers={"authorization": f"Bearer {KEY}"}),
}


@pytest.mark.parametrize("name", ODD)
def test_requests_of_another_kind_are_not_kept(name: str) -> None:
    keep_request(ENTRY, QUESTION, ASKED, ASKED, ODD[name]())
    assert known_request(ENTRY, QUESTION, ASKED) is None
    assert not (cache_folder() / "requests.json").exists()


@pytest.mark.parametrize("parameters", [{"tools": [{"type": "function"}]}, {"stop": "x" * 3000}])
def test_large_and_nested_parameters_are_not_kept(parameters: dict[str, Any]) -> None:
    keep_request(ENTRY, QUESTION, parameters, parameters, request())
    assert not (cache_folder() / "requests.json").exists()


TAMPERED: dict[str, dict[str, Any]] = {
    "another host": {"url": "https://example.org/v1/chat/completions"},
    "a host that ends alike": {"url": "https://openrouter.ai.example.org/v1/chat/completions"},
    "a name before the host": {"url": "https://openrouter.ai@example.org/v1/chat/completions"},
    "another provider's key": {"variable": "OPENAI_API_KEY"},
    "another secret": {"variable": "OPENROUTER_DATABASE_PASSWORD"},
    "another header": {"headers": {"authorization": "Bearer x"}},
    "two lines in a header": {"headers": {"x-title": "a\r\nb: c"}},
    "another conversation": {"body": {"messages": []}},
    "another model": {"body": {"model": "x"}},
    "no table": {"given": 3},
    "no text": {"url": 3},
    "one more": {"more": 1},
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_file_that_was_tampered_with_sends_no_key_astray(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-secret")
    monkeypatch.setenv("OPENROUTER_DATABASE_PASSWORD", "secret")
    keep_request(ENTRY, QUESTION, ASKED, ASKED, request())
    path: Path = cache_folder() / "requests.json"
    data = json.loads(path.read_text())
    for row in data["kept"].values():
        row.update(TAMPERED[name])
    path.write_text(json.dumps(data))
    in_a_new_process()
    assert known_request(ENTRY, QUESTION, ASKED) is None


def test_what_another_release_sent_is_not_known() -> None:
    keep_request(ENTRY, QUESTION, ASKED, ASKED, request())
    path = cache_folder() / "requests.json"
    path.write_text(path.read_text().replace(f'"{litellm_version()}"', '"0.0.0"', 1))
    in_a_new_process()
    assert known_request(ENTRY, QUESTION, ASKED) is None


# Through LiteLLM and without, to a server.

MODELS = {
    "openai/gpt-4.1-mini": ("OPENAI", {}),
    "openai/gpt-5-mini": ("OPENAI", {}),
    "openai/gpt-5.4-mini": ("OPENAI", {"max_tokens": 8000}),
    "gpt-4.1-mini": ("OPENAI", {}),
    "openrouter/openai/gpt-4.1-mini": ("OPENROUTER", {}),
    "deepseek/deepseek-chat": ("DEEPSEEK", {}),
    "cerebras/gpt-oss-120b": ("CEREBRAS", {}),
    "xai/grok-4": ("XAI", {}),
}


def left_to_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave every request to LiteLLM."""
    load_litellm()
    monkeypatch.setattr(direct_call, "is_the_programs_own", lambda: True)


def once(model: str, params: dict[str, Any], *, streamed: bool, system: str | None) -> tuple[Answer, str]:
    pieces: list[str] = []
    entry = ModelEntry("a", model, params=params, system=system, price=Price(1, 2))
    options = {"on_text": pieces.append} if streamed else {}
    answer = ask_once(pool(entry, max_retries=0, timeout=30.0), sampling=Sampling(temperature=0.2), **options)
    return answer, "".join(pieces)


@pytest.mark.slow
@STREAMED
@pytest.mark.parametrize("model", MODELS)
def test_the_second_request_is_litellms_own_though_litellm_is_not_there(
    model: str, streamed: bool, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_to_litellm(monkeypatch)
    provider, params = MODELS[model]
    loopback.script("*", text="It is 4.")
    monkeypatch.setenv(f"{provider}_API_KEY", "sk-a-secret-value")
    monkeypatch.setenv(f"{provider}_{'BASE_URL' if provider == 'OPENAI' else 'API_BASE'}", loopback.api_base)
    usual, shown = once(model, params, streamed=streamed, system="be brief")
    assert usual.ok
    monkeypatch.setattr(direct_call, "is_the_programs_own", lambda: False)
    direct, shown_directly = once(model, params, streamed=streamed, system="be brief")
    assert (direct.text, direct.completion_tokens, direct.cost_usd, shown_directly) == (
        *(usual.text, usual.completion_tokens, usual.cost_usd, shown),
    )
    assert loopback.count() == 2
    first, second = loopback.requests
    assert sent(second) == sent(first)
    assert "x-stainless-lang" not in second.headers  # it did leave without LiteLLM


def test_a_conversation_that_litellm_rewrites_is_left_to_it(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_to_litellm(monkeypatch)
    loopback.script("*", text="It is 4.")
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.api_base)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-value")
    for system in (None, "be brief"):
        for is_there in (True, False):
            monkeypatch.setattr(direct_call, "is_the_programs_own", lambda found=is_there: found)
            assert once("openai/o3-mini", {}, streamed=False, system=system)[0].ok
    by_litellm = ["x-stainless-lang" in request.headers for request in loopback.requests]
    assert by_litellm == [True, False, True, True]
    assert loopback.requests[-1].body["messages"][0]["role"] != "system"


def test_an_answer_that_is_not_plain_is_handed_over_and_asked_for_once(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_to_litellm(monkeypatch)
    loopback.script("*", text="It is 4.", reasoning="two and two")
    monkeypatch.setenv("OPENROUTER_API_BASE", loopback.api_base)
    usual, _ = once(ENTRY.litellm, {}, streamed=False, system=None)
    monkeypatch.setattr(direct_call, "is_the_programs_own", lambda: False)
    direct, _ = once(ENTRY.litellm, {}, streamed=False, system=None)
    assert direct.ok and (direct.text, direct.completion_tokens) == (usual.text, usual.completion_tokens)
    assert loopback.count() == 2


def test_openais_own_models_are_called_directly_from_the_first_call_on(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_to_litellm(monkeypatch)
    loopback.script("*", text="It is 4.")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-value")
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.api_base)
    usual, _ = once("openai/gpt-4.1-mini", {"max_tokens": 9}, streamed=False, system=None)
    in_a_new_process()
    (cache_folder() / "requests.json").unlink()
    monkeypatch.setattr(direct_call, "is_the_programs_own", lambda: False)
    direct, _ = once("openai/gpt-4.1-mini", {"max_tokens": 9}, streamed=False, system=None)
    assert direct.ok and direct.text == usual.text
    first, second = loopback.requests
    assert sent(second) == sent(first)
    assert second.headers["authorization"] == "Bearer sk-a-secret-value"
    assert "x-stainless-lang" in first.headers and "x-stainless-lang" not in second.headers


def test_a_parameter_of_the_users_that_litellm_leaves_out_is_told_of_each_time(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_to_litellm(monkeypatch)
    loopback.script("*", text="It is 4.")
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.api_base)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-value")
    warned: list[str] = []
    entry = ModelEntry("a", "openai/gpt-5-mini", params={"temperature": 0.2}, price=Price(1, 2))
    for _ in range(2):
        ask_once(pool(entry, max_retries=0, warn=warned.append))
        monkeypatch.setattr(direct_call, "is_the_programs_own", lambda: False)
    assert len(warned) == 2


@pytest.mark.parametrize("own_comes_first", [True, False])
def test_a_variable_that_held_the_same_key_by_chance_is_never_sent_to_the_provider(
    own_comes_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["OPENROUTER_API_KEY", "OPENROUTER_OF_MY_LAB_API_KEY"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name in names if own_comes_first else reversed(names):
        monkeypatch.setenv(name, KEY)
    keep_request(ENTRY, QUESTION, ASKED, ASKED, request())
    in_a_new_process()
    known = known_request(ENTRY, QUESTION, ASKED)
    assert known is not None and known.variable == "OPENROUTER_API_KEY"


def test_a_key_among_the_parameters_of_a_pool_entry_is_not_kept() -> None:
    asked = {**ASKED, "api_key": KEY}
    keep_request(ENTRY, QUESTION, asked, asked, request())
    path = cache_folder() / "requests.json"
    assert not path.exists() or KEY not in path.read_text()
