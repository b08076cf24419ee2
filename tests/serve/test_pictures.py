"""Pictures through a real server: who sees them, what reaches the models, and what is never fetched."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.loopback import Loopback, Script
from tests.serve.running import Running, serving

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)
OTHER = b"\x89PNG\r\n\x1a\n" + bytes(49) + b"1"


def url(content: bytes = PNG, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def asked(*parts: str, content: bytes = PNG, **more: Any) -> Any:
    words = [{"type": "text", "text": part} for part in parts]
    return [{"role": "user", "content": [*words, {"type": "image_url", "image_url": {"url": url(content), **more}}]}]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    lines = {"ada": "vision = false", "bob": "vision = true", "cyd": "vision = true"}
    with serving(tmp_path_factory.mktemp("pictures"), lines=lines) as found:
        yield found


@pytest.fixture
def client(running: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=running.api, api_key="any", max_retries=0)


def test_only_models_that_see_are_asked_and_the_aggregator_sees_too(running: Running, client: openai.OpenAI) -> None:
    before = running.upstream.count()
    question = asked("What is the capital of this land?", detail="low")
    found = client.chat.completions.create(model="jisi-static", messages=question)
    assert found.model_extra is not None
    told = found.model_extra["jisi"]
    assert (told["mode"], told["candidates"]) == ("aggregate", ["bob", "cyd"])
    sent = running.upstream.requests[before:]
    assert [request.model for request in sent].count("ada") == 0
    assert all(request.body["messages"][:-1] == [] for request in sent[:2])
    assert all(request.body["messages"][-1]["content"] == question[0]["content"] for request in sent[:2])
    text, picture = sent[2].body["messages"][-1]["content"]
    assert "Candidate responses" in text["text"]
    assert picture == question[0]["content"][1]


def test_it_streams_and_the_asynchronous_client_gets_it(running: Running) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=running.api, api_key="any") as client:
            stream = await client.chat.completions.create(
                model="jisi-query", messages=asked("What is the capital here?"), stream=True
            )
            return "".join([piece.choices[0].delta.content or "" async for piece in stream if piece.choices])

    assert asyncio.run(ask()) == "bob says so"


def test_another_picture_is_another_question_and_the_same_one_is_kept(running: Running) -> None:
    def calls(content: bytes) -> int:
        before = running.upstream.count()
        body = {"model": "jisi-query", "messages": asked("What do you see?", content=content)}
        assert running.post("/v1/chat/completions", body).status_code == 200
        return running.upstream.count() - before

    assert [calls(PNG), calls(PNG), calls(OTHER)] == [1, 0, 1]


def test_a_picture_without_words_is_asked_of_the_best_that_sees_and_says_so(running: Running) -> None:
    found = running.post("/v1/chat/completions", {"messages": asked()}).json()
    assert found["model"] == "bob"
    assert "a picture without words cannot be compared" in found["jisi"]["missing"][0]
    assert len(found["jisi"]["calls"]) == 1
    assert running.post("/v1/route", {"messages": asked()}).status_code == 400


def test_a_model_that_is_asked_by_name_answers_a_picture_without_words_itself(running: Running) -> None:
    found = running.post("/v1/chat/completions", {"model": "cyd", "messages": asked()}).json()
    assert (found["model"], found["jisi"]["missing"]) == ("cyd", [])


def test_a_follow_up_to_a_picture_still_needs_a_model_that_sees(running: Running) -> None:
    talk = [
        *asked("What is the capital of that land there?"),
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "And how many people live there, all in all?"},
    ]
    before = running.upstream.count()
    found = running.post("/v1/chat/completions", {"model": "jisi-query", "messages": talk}).json()
    assert found["model"] == "bob"
    assert running.upstream.requests[before].body["messages"] == talk


def test_a_picture_is_what_its_bytes_say(running: Running) -> None:
    body = asked("What is on it?", content=b"\xff\xd8\xff" + bytes(20))
    before = running.upstream.count()
    assert running.post("/v1/chat/completions", {"model": "bob", "messages": body}).status_code == 200
    sent = running.upstream.requests[before].body["messages"][-1]["content"][1]["image_url"]["url"]
    assert sent == url(b"\xff\xd8\xff" + bytes(20), "image/jpeg")


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        ("PROBE", "nothing is fetched"),
        ("https://example.org/a.png", "nothing is fetched"),
        ("file:///etc/passwd", "nothing is fetched"),
        ("data:image/png,abc", "nothing is fetched"),
        ("data:image/png;base64,!!!", "is not base64"),
        ("data:image/png;base64,aGVsbG8=", "is not a PNG, JPEG, GIF or WebP picture"),
        (url(b"<svg onload='x'/>", "image/svg+xml"), "is not a PNG, JPEG, GIF or WebP picture"),
        (7, "must be an object with a `url`"),
    ],
)
def test_nothing_is_fetched_and_what_is_no_picture_is_refused(running: Running, picture: Any, words: str) -> None:
    with Loopback({"*": Script()}) as elsewhere:
        if picture == "PROBE":
            picture = f"{elsewhere.api_base}/models"
        message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}}]}
        found = running.post("/v1/chat/completions", {"messages": [message]})
        assert (found.status_code, found.json()["error"]["param"]) == (400, "messages")
        assert words in found.json()["error"]["message"]
        assert "aGVsbG8" not in found.text
        assert elsewhere.count() == 0


def test_a_model_that_cannot_see_is_not_asked_by_name_and_a_pool_without_eyes_says_what_to_write(
    running: Running, tmp_path: Path
) -> None:
    body = {"model": "ada", "messages": asked("What is it?")}
    assert "known to take pictures" in running.post("/v1/chat/completions", body).json()["error"]["message"]
    with serving(tmp_path, bank=False) as blind:
        found = blind.post("/v1/chat/completions", {"messages": asked("What is it?")})
        assert found.status_code == 400
        assert "write vision = true for it in" in found.json()["error"]["message"]
