"""Tools, forms and pictures with providers that have shapes of their own, through LiteLLM's adapters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jisi_cli.answer_format import format_of
from jisi_cli.config import ModelEntry, Price
from jisi_cli.conversation import read_conversation, read_tools
from jisi_cli.messages import Message, Wanted
from jisi_cli.types import Answer
from tests.loopback import Loopback, Raw
from tests.models.asking import pool, user

STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
CLAUDE = "claude-sonnet-4-5"
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
        },
    }
]
PICTURE = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "planted-0123456789")


def claude(server: Loopback, messages: list[Message], streamed: bool, wanted: Wanted) -> Answer:
    entry = ModelEntry(
        "a",
        f"anthropic/{CLAUDE}",
        api_base=server.api_base.removesuffix("/v1"),
        api_key_env="ANTHROPIC_API_KEY",
        price=Price(1, 2),
    )
    import asyncio

    from jisi_cli.types import Request

    async def once() -> Answer:
        async with pool(entry, max_retries=0) as asked:
            return await asked.ask(
                Request("a", messages, "expert", wanted=wanted, on_text=(lambda _: None) if streamed else None)
            )

    return asyncio.run(once())


def message(*blocks: dict[str, Any], streamed: bool) -> Raw:
    """Return what Anthropic answers: the same content as a whole, or as the events of a stream."""
    usage = {"input_tokens": 10, "output_tokens": 5}
    reason = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "usage": usage}
    if not streamed:
        return Raw({**head, "content": list(blocks), "stop_reason": reason})
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {**head, "content": [], "stop_reason": None}}]
    for index, block in enumerate(blocks):
        empty = {**block, "input": {}} if block["type"] == "tool_use" else {"type": "text", "text": ""}
        written = json.dumps(block["input"]) if block["type"] == "tool_use" else block["text"]
        name, field = ("input_json_delta", "partial_json") if block["type"] == "tool_use" else ("text_delta", "text")
        half = len(written) // 2
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [
            {"type": "content_block_delta", "index": index, "delta": {"type": name, field: part}}
            for part in (written[:half], written[half:])
        ]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}})
    events.append({"type": "message_stop"})
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
    return Raw(body, kind="text/event-stream")


@STREAMED
def test_claude_calls_tools_and_gets_their_results(loopback: Loopback, streamed: bool) -> None:
    called = [{"type": "tool_use", "id": f"toolu_{town}", "name": "weather", "input": {"town": town}} for town in "LN"]
    text = {"type": "text", "text": "Let me see."}
    loopback.script(CLAUDE, raw=lambda body: message(text, *called, streamed=streamed))
    answer = claude(loopback, user("The weather in L and N?"), streamed, read_tools(TOOLS, "required"))
    assert answer.error is None
    assert answer.text == "Let me see."
    assert [(call.id, call.name, json.loads(call.arguments)) for call in answer.tool_calls] == [
        ("toolu_L", "weather", {"town": "L"}),
        ("toolu_N", "weather", {"town": "N"}),
    ]
    sent = loopback.requests[-1].body
    assert [tool["name"] for tool in sent["tools"]] == ["weather"]
    assert sent["tool_choice"]["type"] == "any"

    loopback.script(CLAUDE, raw=lambda body: message({"type": "text", "text": "Sunny."}, streamed=streamed))
    talk = read_conversation(
        [
            {"role": "user", "content": "The weather in L and N?"},
            {"role": "assistant", "content": None, "tool_calls": [call.to_json() for call in answer.tool_calls]},
            *({"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in answer.tool_calls),
        ]
    )
    assert claude(loopback, list(talk.turn), streamed, read_tools(TOOLS)).text == "Sunny."
    results = loopback.requests[-1].body["messages"][-1]["content"]
    assert [(part["type"], part["tool_use_id"]) for part in results] == [
        ("tool_result", "toolu_L"),
        ("tool_result", "toolu_N"),
    ]


@STREAMED
def test_claude_answers_in_a_form_and_sees_a_picture(loopback: Loopback, streamed: bool) -> None:
    def answer_to(body: dict[str, Any]) -> Raw:
        """Answer by the tool that LiteLLM made of the form, where it made one."""
        made = [tool["name"] for tool in body.get("tools") or ()]
        if made:
            return message({"type": "tool_use", "id": "t", "name": made[0], "input": {"n": 4}}, streamed=streamed)
        return message({"type": "text", "text": '{"n": 4}'}, streamed=streamed)

    loopback.script(CLAUDE, raw=answer_to)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    content: Any = [{"type": "text", "text": "How many?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    asked = read_conversation([{"role": "user", "content": content}])
    answer = claude(loopback, list(asked.turn), streamed, Wanted(format=format_of(schema)))
    assert answer.error is None
    assert json.loads(answer.text) == {"n": 4}
    assert not answer.tool_calls
    sent = json.dumps(loopback.requests[-1].body)
    assert '"integer"' in sent, "the schema reaches the model"
    (picture,) = [part for part in loopback.requests[-1].body["messages"][0]["content"] if part["type"] == "image"]
    assert picture["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
