"""The loopback server itself, where the other tests do not show what it does."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.faults.scene import serving
from tests.loopback import Fault, Loopback, Script


def post(url: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def test_it_lists_its_models() -> None:
    with (
        Loopback({"a": Script(), "b": Script()}) as server,
        urllib.request.urlopen(f"{server.api_base}/models", timeout=60) as response,
    ):
        assert [model["id"] for model in json.load(response)["data"]] == ["a", "b"]


def test_its_embeddings_are_unit_vectors_that_depend_on_the_text_alone() -> None:
    with Loopback({"e": Script(width=16)}) as server:
        url = f"{server.api_base}/embeddings"
        one, same = post(url, {"model": "e", "input": ["x", "x"]})["data"]
        (other,) = post(url, {"model": "e", "input": "y"})["data"]
    assert len(one["embedding"]) == 16
    assert abs(sum(value * value for value in one["embedding"]) - 1) < 1e-9
    assert one["embedding"] == same["embedding"] != other["embedding"]


def test_an_answer_may_be_a_function_of_the_messages() -> None:
    with Loopback() as server:
        server.script("a", lambda messages: f"{len(messages)} messages")
        messages = [{"role": "user", "content": "?"}] * 3
        answer = post(f"{server.api_base}/chat/completions", {"model": "a", "messages": messages})
    assert answer["choices"][0]["message"]["content"] == "3 messages"
    assert (server.count("a"), server.count("b"), server.count()) == (1, 0, 1)


def test_every_nth_call_may_fail() -> None:
    script = Script(every=3, every_fault=Fault("empty"))
    with Loopback({"a": script}) as server:
        url = f"{server.api_base}/chat/completions"
        bodies = [post(url, {"model": "a", "messages": [{"content": "?"}]}) for _ in range(6)]
    texts = [body["choices"][0]["message"]["content"] for body in bodies]
    assert texts == ["an answer", "an answer", "", "an answer", "an answer", ""]


@pytest.mark.slow
def test_as_a_process_it_keeps_a_journal_of_what_came_and_what_was_answered(tmp_path: Path) -> None:
    models = {"a": {"text": "{model} answers", "faults": [{"kind": "status", "status": 503}]}}
    with serving(tmp_path, models) as server:
        url = f"{server.api_base}/chat/completions"
        try:
            post(url, {"model": "a", "messages": [{"content": "?"}]})
        except urllib.error.HTTPError as error:
            assert error.code == 503
        answer = post(url, {"model": "a", "messages": [{"content": "?"}]})
        # The line is written when the answer has been sent, which is a moment before it arrives.
        while server.count("answered") == 0:
            time.sleep(0.01)
    assert answer["choices"][0]["message"]["content"] == "a answers"
    assert [line["model"] for line in server.lines("received")] == ["a", "a"]
    assert server.count("answered") == 1
