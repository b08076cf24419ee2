"""Which models can call tools: the pool file says it, else LiteLLM's map; and parameters that must not be dropped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jisi_cli.config import ModelEntry
from jisi_cli.conversation import read_tools
from jisi_cli.models.facts import able, has_ability, none_able
from jisi_cli.models.parameters import Accepted
from jisi_cli.types import Request
from tests.loopback import Fault, Loopback, Raw
from tests.models.asking import ask_once, cache_in, entry, pool, user

TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


@pytest.mark.slow
def test_the_pool_file_wins_over_litellms_map_and_the_unknown_is_not_able() -> None:
    entries = [
        ModelEntry("yes", "openai/gpt-4o"),
        ModelEntry("no", "openai/gpt-4o", tools=False),
        ModelEntry("said", "openai/own", tools=True),
        ModelEntry("unknown", "openai/own"),
    ]
    assert able(entries, {"tools"}) == ("yes", "said")
    assert has_ability(entries[3], "tools") is None
    assert "tools = true for it in pool.toml" in str(none_able(entries, {"tools"}, "pool.toml"))


def test_calls_are_kept_and_come_from_the_cache_as_they_were(loopback: Loopback, tmp_path: Any) -> None:
    loopback.script("a", calls=lambda body: [("look", '{"at": "ü"}')])
    options: dict[str, Any] = {"wanted": read_tools(TOOLS)}
    first = ask_once(pool(entry(loopback), cache=cache_in(tmp_path)), **options)
    again = ask_once(pool(entry(loopback), cache=cache_in(tmp_path)), **options)
    assert first.ok and not first.text
    assert again.cached and again.tool_calls == first.tool_calls
    assert [(call.name, call.arguments) for call in first.tool_calls] == [("look", '{"at": "ü"}')]
    assert loopback.count() == 1


def test_tokens_of_calls_are_counted_where_no_usage_comes(loopback: Loopback) -> None:
    loopback.script("a", calls=lambda body: [("look", '{"at": "' + "word " * 50 + '"}')], usage=None)
    answer = ask_once(pool(entry(loopback)), wanted=read_tools(TOOLS))
    assert answer.tokens_source == "counted"
    assert answer.completion_tokens is not None and answer.completion_tokens > 50


def test_a_stream_was_asked_for_and_a_whole_answer_with_calls_comes(loopback: Loopback) -> None:
    from tests.loopback import completion

    call = {"id": "x", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    loopback.script("a", raw=lambda body: Raw(completion(None, "tool_calls", tool_calls=[call])))
    answer = ask_once(pool(entry(loopback)), wanted=read_tools(TOOLS), on_text=lambda piece: None)
    assert [made.name for made in answer.tool_calls] == ["look"]


def test_a_whole_answer_was_asked_for_and_a_stream_with_calls_comes(loopback: Loopback) -> None:
    from tests.loopback import events

    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "look", "arguments": '{"at"'}}
    rest = {"index": 0, "function": {"arguments": ": 1}"}}
    pieces = events({"tool_calls": [call]}, {"tool_calls": [rest]}, finish_reason="tool_calls")
    loopback.script("a", raw=lambda body: Raw(pieces, events=True))
    (made,) = ask_once(pool(entry(loopback)), wanted=read_tools(TOOLS)).tool_calls
    assert (made.id, made.name, made.arguments) == ("x", "look", '{"at": 1}')


def test_a_provider_that_refuses_tools_fails_instead_of_answering_without(loopback: Loopback) -> None:
    refusal = Fault("status", status=400, message="Unsupported parameter: 'tools' is not supported with this model")
    loopback.script("a", faults=[refusal, None])
    answer = ask_once(pool(entry(loopback)), wanted=read_tools(TOOLS))
    assert answer.error is not None and "tools" in answer.error
    assert loopback.count() == 1


def test_litellm_may_leave_out_what_it_does_not_know_but_never_tools() -> None:
    model, accepted = ModelEntry("a", "openai/a"), Accepted()
    assert accepted.leave_to_litellm(frozenset({"seed"}))
    assert accepted.sent(model, {"seed": 1}) == {"seed": 1, "drop_params": True}
    assert accepted.sent(model, {"seed": 1, "tools": TOOLS}) == {"tools": TOOLS}
    assert not accepted.leave_to_litellm(frozenset({"seed"})), "it was left out already"
    assert not accepted.leave_to_litellm(frozenset({"tools"}))


def test_a_budget_reserves_for_tools_and_for_what_was_called_before(loopback: Loopback) -> None:
    from jisi_cli.models.worst_case import worst_case_of

    model = entry(loopback, params={"max_tokens": 1})
    said: Any = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "x", "type": "function", "function": {"name": "look", "arguments": "x" * 1000}}],
    }
    plain, tools = {"max_tokens": 1}, {"max_tokens": 1, **read_tools(TOOLS).parameters()}
    least = asyncio.run(worst_case_of(model, user("?"), plain)) or 0.0
    with_tools = asyncio.run(worst_case_of(model, user("?"), tools)) or 0.0
    with_calls = asyncio.run(worst_case_of(model, [*user("?"), said], tools)) or 0.0
    assert least + 1000e-6 < with_tools
    assert with_tools + 1000e-6 < with_calls


@pytest.mark.parametrize("tools", [[{"type": "function", "function": {"name": "a", "parameters": 3}}], "x"])
def test_a_tool_of_another_shape_is_refused(tools: Any) -> None:
    from jisi_cli.errors import InputError

    with pytest.raises(InputError, match="tools"):
        read_tools(tools)
    assert Request("a", user("?"), "expert").wanted.parameters() == {}
