"""Tools through a real server: who is asked, what of a call comes through, and who goes on with the results."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.loopback import Fault, Raw, completion
from tests.serve.running import Running, serving

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}
ASKED: Any = [{"role": "user", "content": "What is the weather in Lyon, and in Nice?"}]
TOWNS = ['{"town": "Lyon"}', '{"town": "Nice"}']


def calls(body: dict[str, Any]) -> Sequence[tuple[str, str]]:
    """Call the tool for both towns, unless its results are there."""
    return [] if body["messages"][-1]["role"] == "tool" else [("weather", town) for town in TOWNS]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    lines = {"ada": "tools = false", "bob": "tools = true", "cyd": "tools = true"}
    with serving(tmp_path_factory.mktemp("tools"), lines=lines) as found:
        yield found


@pytest.fixture(autouse=True)
def scripts(running: Running) -> Iterator[None]:
    before = dict(running.upstream.scripts)
    for model in ("bob", "cyd", "dee"):
        running.upstream.script(model, text=f"{model} says so", calls=calls)
    yield
    running.upstream.scripts.update(before)


@pytest.fixture
def client(running: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=running.api, api_key="any", max_retries=0)


def test_the_best_model_that_can_call_tools_is_asked_alone_and_its_calls_come_through(
    running: Running, client: openai.OpenAI
) -> None:
    before = running.upstream.count()
    found = client.chat.completions.create(
        model="jisi", messages=ASKED, tools=[WEATHER], tool_choice="auto", parallel_tool_calls=False
    )
    assert (found.model, found.choices[0].finish_reason) == ("bob", "tool_calls")
    made: Any = found.choices[0].message.tool_calls
    assert [(call.type, call.function.name, call.function.arguments) for call in made] == [
        ("function", "weather", town) for town in TOWNS
    ]
    assert found.choices[0].message.content is None
    (sent,) = running.upstream.requests[before:]
    assert (sent.body["tools"], sent.body["tool_choice"]) == ([WEATHER], "auto")
    assert sent.body["parallel_tool_calls"] is False
    assert found.model_extra is not None
    assert found.model_extra["jisi"]["reason"] == "it ranks first of the models that can call tools"


def test_a_stream_sends_the_calls_in_pieces_that_a_client_puts_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="jisi", messages=ASKED, tools=[WEATHER]) as stream:
        kinds = {event.type for event in stream}
        found = stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds
    made: Any = found.choices[0].message.tool_calls
    assert [call.function.arguments for call in made] == TOWNS
    assert len({call.id for call in made}) == 2
    assert found.choices[0].finish_reason == "tool_calls"


def test_the_asynchronous_client_gets_them_too(running: Running) -> None:
    async def ask() -> Any:
        async with openai.AsyncOpenAI(base_url=running.api, api_key="any") as client:
            found = await client.chat.completions.create(model="jisi", messages=ASKED, tools=[WEATHER], stream=True)
            return [piece async for piece in found if piece.choices]

    pieces = asyncio.run(ask())
    assert pieces[0].choices[0].delta.role == "assistant"
    assert [call.index for piece in pieces for call in piece.choices[0].delta.tool_calls or ()] == [0, 1]


def test_the_model_that_made_the_calls_goes_on_with_their_results(running: Running, client: openai.OpenAI) -> None:
    running.upstream.script("bob", every=1, every_fault=Fault("status", status=500))
    question = [{"role": "user", "content": "What is the weather in Lyon now?"}]
    first = client.chat.completions.create(model="jisi", messages=question, tools=[WEATHER])
    assert first.model == "cyd", "bob failed, and the next one that can was asked"
    running.upstream.script("bob", calls=calls)
    message: Any = first.choices[0].message
    talk: Any = [
        *question,
        message.model_dump(exclude_none=True),
        *({"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls),
    ]
    before = running.upstream.count()
    second = client.chat.completions.create(model="jisi", messages=talk, tools=[WEATHER])
    assert (second.model, second.choices[0].message.content) == ("cyd", "cyd says so")
    assert second.choices[0].finish_reason == "stop"
    (sent,) = running.upstream.requests[before:]
    assert [said["role"] for said in sent.body["messages"]] == ["user", "assistant", "tool", "tool"]
    assert sent.body["messages"][1]["tool_calls"] == [call.model_dump() for call in message.tool_calls]
    assert sent.body["messages"][3] == {"role": "tool", "tool_call_id": message.tool_calls[1].id, "content": "sunny"}


def test_results_of_calls_that_nobody_remembers_are_routed_anew(running: Running) -> None:
    call = {"id": "call_of_another_day", "type": "function", "function": {"name": "weather", "arguments": TOWNS[0]}}
    talk = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_of_another_day", "content": [{"type": "text", "text": "sunny"}]},
    ]
    found = running.post("/v1/chat/completions", {"messages": talk}).json()
    assert (found["model"], found["choices"][0]["message"]["content"]) == ("bob", "bob says so")
    assert len(found["jisi"]["calls"]) == 1


def test_the_same_question_with_other_tools_is_another_question(running: Running) -> None:
    def ask(**more: object) -> tuple[int, bool]:
        before = running.upstream.count()
        found = running.chat("What is the weather in Metz?", **more).json()
        return running.upstream.count() - before, bool(found["choices"][0]["message"].get("tool_calls"))

    other = json.loads(json.dumps(WEATHER).replace("town", "city"))
    assert ask(tools=[WEATHER]) == (1, True)
    assert ask(tools=[WEATHER]) == (0, True)
    assert ask(tools=[other]) == (1, True)
    assert ask(tools=[WEATHER], tool_choice="required") == (1, True)


def test_a_model_asked_by_name_calls_tools_unless_the_pool_file_says_that_it_cannot(running: Running) -> None:
    found = running.chat("What is the weather in Brest?", model="dee", tools=[WEATHER]).json()
    assert found["choices"][0]["message"]["tool_calls"]
    refused = running.chat("What is the weather in Brest?", model="ada", tools=[WEATHER])
    assert refused.status_code == 400
    assert "no model that may be asked (ada) is known to call tools" in refused.json()["error"]["message"]


def test_a_pool_in_which_none_can_says_what_to_write(tmp_path: Path) -> None:
    with serving(tmp_path, bank=False) as running:
        found = running.chat("What is the weather?", tools=[WEATHER])
        assert found.status_code == 400
        assert "write tools = true for it in" in found.json()["error"]["message"]
        assert running.chat("What is the weather?").status_code == 200


def test_without_a_bank_the_first_of_the_pool_that_can_is_asked(tmp_path: Path) -> None:
    with serving(tmp_path, bank=False, lines={"cyd": "tools = true"}) as running:
        running.upstream.script("cyd", calls=calls)
        found = running.chat("What is the weather?", tools=[WEATHER]).json()
        assert (found["model"], len(found["jisi"]["calls"])) == ("cyd", 1)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tools": "all"}, "`tools` must be a list"),
        ({"tools": [{"type": "web_search"}]}, "tools[0] must be"),
        ({"tools": [{**WEATHER, "cache": 1}]}, "tools[0] must be"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a", "url": "x"}}]}, "tools[0].function.url"),
        ({"tools": [WEATHER] * 129}, "at most 128"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "b"}}}, "`tool_choice`"),
        ({"tools": [WEATHER], "tool_choice": ["auto"]}, "`tool_choice`"),
        ({"tool_choice": "required"}, "needs `tools`"),
        ({"tools": [WEATHER], "parallel_tool_calls": "no"}, "`parallel_tool_calls`"),
        ({"functions": [{}]}, "`functions` is not supported"),
    ],
)
def test_tools_of_another_shape_are_refused_and_named(running: Running, more: dict[str, Any], words: str) -> None:
    found = running.chat("What is the weather?", **more)
    assert found.status_code == 400
    assert words in found.json()["error"]["message"]


def test_calls_that_were_cut_off_say_so(running: Running) -> None:
    def cut_off(body: dict[str, Any]) -> Raw:
        call = {"id": "x", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Ly'}}
        return Raw(completion(None, "length", tool_calls=[call]))

    running.upstream.script("dee", raw=cut_off)
    (choice,) = running.chat("What is the weather in Lille?", model="dee", tools=[WEATHER]).json()["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"town": "Ly'
