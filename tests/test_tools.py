"""Tools in the library: who is asked, who goes on, and methods that ask one model anyway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jisi_cli as jisi
from jisi_cli.errors import InputError
from jisi_cli.methods.tool_calling import Callers
from jisi_cli.types import Answer, ToolCall
from tests.cli.commands import build_small_bank, pool_file
from tests.loopback import Loopback

ADD: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.fixture
def pool(tmp_path: Path, loopback: Loopback) -> Iterator[jisi.Jisi]:
    for model in ("ada", "bob", "cyd", "dee"):
        loopback.script(
            model,
            text=f"{model} says so",
            calls=lambda body: [("add", '{"a": 2, "b": 2}')] if body["messages"][-1]["role"] != "tool" else [],
        )
    config = pool_file(tmp_path / "jisi.toml", loopback, lines={"bob": "tools = true", "dee": "tools = true"})
    with jisi.open(build_small_bank(tmp_path), config=config) as opened:
        yield opened


def test_calls_and_their_results_go_to_and_fro(pool: jisi.Jisi, loopback: Loopback) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is 2 plus 2?"}]
    answer = pool.ask(messages, tools=[ADD]).answer
    assert (answer.model, answer.text, answer.cut_off) == ("bob", "", None)
    (call,) = answer.tool_calls
    assert (call.name, call.arguments) == ("add", '{"a": 2, "b": 2}')
    messages.append({"role": "assistant", "content": None, "tool_calls": [call.to_json()]})
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "4"})
    outcome = pool.ask(messages, tools=[ADD])
    assert (outcome.answer.text, outcome.reason) == ("bob says so", "it made the tool calls whose results came")
    assert loopback.count() == 2


def test_where_a_prompt_is_to_be_kept_is_no_part_of_a_tool(pool: jisi.Jisi, loopback: Loopback) -> None:
    pool.ask("What is 2 plus 2?", tools=[{**ADD, "cache_control": {"type": "ephemeral"}}])
    assert loopback.requests[-1].body["tools"] == [ADD]


def test_a_method_that_asks_one_model_anyway_ranks_those_that_can(pool: jisi.Jisi) -> None:
    assert pool.with_changes("best-single").ask("What is 2 plus 2?", tools=[ADD]).answer.model == "bob"
    named = pool.with_changes("model:dee").ask("What is 2 plus 2?", tools=[ADD])
    assert (named.answer.model, named.reason) == ("dee", "it is the only one that may be asked")
    with pytest.raises(InputError, match="must be a name"):
        pool.ask("What?", tools=[{"type": "function", "function": {}}])


def test_a_question_without_tools_is_decided_as_ever_after_one_with_them(pool: jisi.Jisi) -> None:
    before = pool.route("What is 2 plus 2?").candidates
    pool.ask("What is 2 plus 2?", tools=[ADD])
    assert pool.route("What is 2 plus 2?").candidates == before == ("ada", "bob", "cyd")


def test_a_model_that_calls_what_it_was_not_told_of_has_not_answered(pool: jisi.Jisi, loopback: Loopback) -> None:
    loopback.script("cyd", text="cyd says so")
    outcome = pool.ask("What is 3 plus 3?")
    assert outcome.answer.text == "cyd says so"
    errors = {call.model: call.error for call in outcome.calls}
    assert errors["ada"] == "the model returned no text (finish reason: tool_calls)"


def test_who_made_a_call_is_remembered_for_so_long() -> None:
    callers = Callers()

    def called(*names: str) -> list[ToolCall]:
        return [ToolCall(name, "add", "{}") for name in names]

    callers.note("q", Answer("a", "", tool_calls=tuple(called("1", "2"))))
    callers.note("q", Answer("b", "", tool_calls=tuple(called("3"))))
    assert callers.of("q", called("1", "2")) == "a"
    callers.note("another client's", Answer("d", "", tool_calls=tuple(called("1", "2"))))
    assert callers.of("q", called("1", "2")) == "a"
    assert callers.of("q", called("1", "3")) is None, "two models made them"
    assert callers.of("q", []) is callers.of("q", called("4")) is None
    for number in range(10_000):
        callers.note("q", Answer("c", "", tool_calls=tuple(called(f"more {number}"))))
    assert callers.of("q", called("1")) is None
    assert callers.of("q", called("more 9999")) == "c"
