"""Answers of a form through a real server: who is asked for it, how, and what becomes of an answer that has it not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest

from tests.loopback import Fault
from tests.serve.running import Running, serving


class Person(pydantic.BaseModel):
    """What is asked for."""

    name: str
    age: int


FITS, MISFITS = '{"name": "Ada", "age": 36}', '{"name": "Ada", "age": "thirty-six"}'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("formats")) as found:
        yield found


@pytest.fixture(autouse=True)
def scripts(running: Running) -> Iterator[None]:
    before = dict(running.upstream.scripts)
    for model in before:
        running.upstream.script(model, text=FITS)
    yield
    running.upstream.scripts.update(before)


@pytest.fixture
def client(running: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=running.api, api_key="any", max_retries=0)


def asked(question: str) -> Any:
    return [{"role": "user", "content": question}]


def test_openais_parse_returns_an_object_and_every_model_was_asked_for_it(
    running: Running, client: openai.OpenAI
) -> None:
    before = running.upstream.count()
    found = client.chat.completions.parse(model="jisi", messages=asked("Who was Ada?"), response_format=Person)
    assert found.choices[0].message.parsed == Person(name="Ada", age=36)
    sent = running.upstream.requests[before:]
    assert {request.model for request in sent} >= {"ada", "bob", "cyd"}
    for request in sent:
        form = request.body["response_format"]
        assert (form["type"], form["json_schema"]["name"]) == ("json_schema", "Person")
        assert [said["role"] for said in request.body["messages"]][-1] == "user"


def test_the_asynchronous_client_parses_too_and_a_stream_holds_the_answer_until_it_fits(running: Running) -> None:
    running.upstream.script("ada", text=MISFITS)

    async def ask() -> tuple[Any, list[str]]:
        async with openai.AsyncOpenAI(base_url=running.api, api_key="any") as client:
            question = asked("Who was Ada, and when?")
            whole = await client.chat.completions.parse(model="jisi-query", messages=question, response_format=Person)
            form: Any = {"type": "json_schema", "json_schema": {"name": "p", "schema": Person.model_json_schema()}}
            stream = await client.chat.completions.create(
                model="jisi-query", messages=question, response_format=form, stream=True
            )
            pieces = [piece.choices[0].delta.content async for piece in stream if piece.choices]
            return whole, [piece for piece in pieces if piece]

    whole, pieces = asyncio.run(ask())
    assert whole.choices[0].message.parsed == Person(name="Ada", age=36)
    assert whole.model == "bob", "ada's answer does not fit, so the next model was asked"
    assert pieces == [FITS]


def test_an_aggregators_answer_that_does_not_fit_gives_way_to_the_best_response(
    running: Running, client: openai.OpenAI
) -> None:
    def one(messages: list[dict[str, Any]]) -> str:
        return MISFITS if "candidate responses" in messages[0]["content"] else FITS

    for model in ("ada", "bob", "cyd", "dee"):
        running.upstream.script(model, text=one)
    found = client.chat.completions.parse(
        model="jisi-static", messages=asked("Who was Ada, in short?"), response_format=Person
    )
    assert found.choices[0].message.parsed == Person(name="Ada", age=36)
    assert found.model_extra is not None
    told = found.model_extra["jisi"]
    assert told["mode"] == "fallback"
    (failed,) = [call for call in told["calls"] if call["role"] == "aggregator"]
    assert "$.age: 'thirty-six' is not of type 'integer'" in failed["error"]


def test_where_no_answer_fits_the_error_says_why_and_the_next_request_asks_again(running: Running) -> None:
    for model in ("ada", "bob", "cyd", "dee"):
        running.upstream.script(model, text=MISFITS)
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": Person.model_json_schema()}}
    found = running.chat("Who was Ada, at last?", response_format=form)
    assert (found.status_code, found.json()["error"]["code"]) == (503, "no_answer")
    assert "ada: its answer does not have the form that was asked for: $.age" in found.json()["error"]["message"]
    for model in ("ada", "bob", "cyd", "dee"):
        running.upstream.script(model, text=f"```json\n{FITS}\n```")
    again = running.chat("Who was Ada, at last?", response_format=form)
    assert again.json()["choices"][0]["message"]["content"] == FITS


def test_a_model_whose_provider_takes_no_form_is_asked_in_words(running: Running) -> None:
    refusal = Fault("status", status=400, message="Unrecognized request argument supplied: response_format")
    running.upstream.script("dee", text=FITS, faults=[refusal, None, None])
    before = running.upstream.count("dee")
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": Person.model_json_schema()}}
    for number in (1, 2):
        found = running.chat(f"Who was Ada, {number}?", model="dee", response_format=form)
        assert json.loads(found.json()["choices"][0]["message"]["content"])["age"] == 36
    sent = [request.body for request in running.upstream.requests if request.model == "dee"][before:]
    assert ["response_format" in body for body in sent] == [True, False, False], "what it refuses is learned once"
    assert "It must fit this JSON schema" in sent[1]["messages"][0]["content"]


def test_any_object_will_do_for_json_mode(running: Running) -> None:
    running.upstream.script("dee", text="[1, 2]")
    found = running.chat("Numbers, as JSON?", model="dee", response_format={"type": "json_object"})
    assert "it is not a JSON object" in found.json()["error"]["message"]
    running.upstream.script("dee", text='{"numbers": [1, 2]}')
    found = running.chat("Numbers, as JSON?", model="dee", response_format={"type": "json_object"})
    assert found.json()["choices"][0]["message"]["content"] == '{"numbers": [1, 2]}'
