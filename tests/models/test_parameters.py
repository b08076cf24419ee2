"""What models refuse of a call's parameters is left out once, if it was jisi's own choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jisi_cli.models.call import CallEvent
from jisi_cli.models.parameters import names_refused
from jisi_cli.types import Answer, Sampling
from tests.loopback import Loopback, Raw
from tests.models.asking import ask, ask_once, entry, pool

STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


def refusing(name: str, words: str, status: int = 400, **fields: Any) -> Callable[[dict[str, Any]], Raw | None]:
    """A server that refuses every request which has a parameter."""
    error = {"error": {"message": words, "type": "invalid_request_error", **fields}}
    return lambda body: Raw(error, status) if name in body else None


def answer_of(loopback: Loopback, *, streamed: bool = False, params: dict[str, Any] | None = None) -> Answer:
    asked = pool(entry(loopback, params=params or {}), max_retries=0)
    return ask_once(asked, on_text=(lambda _: None) if streamed else None)


def sent(loopback: Loopback, name: str) -> list[Any]:
    return [request.body.get(name) for request in loopback.requests]


@STREAMED
def test_nobody_is_told_a_top_p_that_nobody_asked_for(loopback: Loopback, streamed: bool) -> None:
    loopback.script("a")
    assert answer_of(loopback, streamed=streamed).ok
    assert sent(loopback, "top_p") == [None]
    assert sent(loopback, "temperature") == [0.2]


def test_a_top_p_of_the_pool_file_is_sent(loopback: Loopback) -> None:
    loopback.script("a")
    assert answer_of(loopback, params={"top_p": 1.0}).ok
    assert sent(loopback, "top_p") == [1.0]


TEMPERATURE = {
    "OpenAI": "Unsupported value: 'temperature' does not support 0.2 with this model. "
    "Only the default (1) value is supported.",
    "OpenAI, o1": "Unsupported parameter: 'temperature' is not supported with this model.",
    "Anthropic, thinking": "`temperature` may only be set to 1 when thinking is enabled: invalid value.",
    "Anthropic, both": "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
    "Anthropic, newest": "`temperature` is deprecated for this model.",
    "Pydantic": "Extra inputs are not permitted: temperature",
    "FastAPI": "extra fields not permitted (temperature)",
    "Google": 'Unknown name "temperature": Cannot find field.',
    "Go": 'json: unknown field "temperature"',
    "Python": "create() got an unexpected keyword argument 'temperature'",
    "Azure": "Unrecognized request argument supplied: temperature",
    "plain": "temperature not allowed",
    "proxy": "model does not support parameters: ['temperature']",
}


@STREAMED
@pytest.mark.parametrize("words", TEMPERATURE.values(), ids=TEMPERATURE)
def test_a_temperature_that_is_refused_is_left_out_and_the_call_made_again(
    loopback: Loopback, words: str, streamed: bool
) -> None:
    loopback.script("a", text="it is four", raw=refusing("temperature", words))
    answer = answer_of(loopback, streamed=streamed)
    assert (answer.text, answer.error, answer.cost_usd) == ("it is four", None, pytest.approx(11e-6))
    assert sent(loopback, "temperature") == [0.2, None]


@pytest.mark.parametrize("status", [400, 404, 422, 500, 501])
def test_a_parameter_named_in_a_field_of_its_own_is_understood_whatever_the_words(
    loopback: Loopback, status: int
) -> None:
    loopback.script("a", raw=refusing("temperature", "no", status, param="temperature"))
    assert answer_of(loopback).ok


def test_a_refusal_is_remembered_and_told(loopback: Loopback) -> None:
    loopback.script("a", raw=refusing("temperature", TEMPERATURE["OpenAI"]))
    told: list[CallEvent] = []

    async def twice() -> None:
        async with pool(entry(loopback), on_event=told.append) as asked:
            assert (await ask(asked, "one")).ok
            assert (await ask(asked, "two")).ok

    import asyncio

    asyncio.run(twice())
    assert sent(loopback, "temperature") == [0.2, None, None]
    adapted = [event.reason for event in told if event.kind == "adapted"]
    assert adapted == ["it refuses `temperature`; asking without it"]


def test_of_two_that_exclude_each_other_the_pool_files_stays(loopback: Loopback) -> None:
    words = TEMPERATURE["Anthropic, both"]
    both = Raw({"type": "error", "error": {"type": "invalid_request_error", "message": words}}, 400)
    loopback.script("a", raw=lambda body: both if {"temperature", "top_p"} <= body.keys() else None)
    assert answer_of(loopback, params={"top_p": 0.9}).ok
    assert sent(loopback, "top_p") == [0.9, 0.9]
    assert sent(loopback, "temperature") == [0.2, None]


def test_a_parameter_of_the_pool_file_is_never_left_out_and_the_error_says_what_to_do(loopback: Loopback) -> None:
    loopback.script("a", raw=refusing("temperature", TEMPERATURE["OpenAI, o1"]))
    answer = answer_of(loopback, params={"temperature": 0.9})
    assert answer.error == (
        "HTTP 400: Unsupported parameter: 'temperature' is not supported with this model."
        "; remove `temperature` from `params` of `a` in the pool file"
    )
    assert sent(loopback, "temperature") == [0.9]


MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)


def test_the_longest_answer_is_given_another_name_but_never_left_out(loopback: Loopback) -> None:
    loopback.script("a", raw=refusing("max_tokens", MAX_TOKENS))
    assert answer_of(loopback, params={"max_tokens": 500}).ok
    assert sent(loopback, "max_tokens") == [500, None]
    assert sent(loopback, "max_completion_tokens") == [None, 500]


def test_a_server_that_refuses_both_names_of_the_longest_answer_fails_after_two_requests(loopback: Loopback) -> None:
    refusal = Raw({"error": {"message": "Extra inputs are not permitted: max_tokens, max_completion_tokens"}}, 400)
    loopback.script("a", raw=lambda body: refusal if {"max_tokens", "max_completion_tokens"} & body.keys() else None)
    asked = pool(entry(loopback), max_retries=0)
    answer = ask_once(asked, sampling=Sampling(max_tokens=9))
    assert answer.error is not None and answer.error.startswith("HTTP 400: Extra inputs")
    assert loopback.count() == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (422, "Extra inputs are not permitted: stream_options.include_usage"),
        (400, "Unrecognized request argument supplied: stream_options"),
        (400, 'Invalid JSON payload received. Unknown name "stream_options": Cannot find field.'),
    ],
)
def test_a_server_without_stream_options_is_streamed_without_them(loopback: Loopback, status: int, words: str) -> None:
    loopback.script("a", text="it is four", raw=refusing("stream_options", words, status))
    answer = answer_of(loopback, streamed=True)
    assert (answer.text, answer.tokens_source) == ("it is four", "counted")
    assert sent(loopback, "stream") == [True, True]


@pytest.mark.parametrize(
    "words",
    [
        "Your organization must be verified to stream this model.",
        "'stream' is not supported with this model",
        "Streaming is not supported",
    ],
)
def test_a_server_that_refuses_to_stream_is_asked_for_the_whole(loopback: Loopback, words: str) -> None:
    loopback.script("a", text="<think>40?</think>it is four", raw=refusing("stream", words, param="stream"))
    pieces: list[str] = []
    answer = ask_once(pool(entry(loopback), max_retries=0), on_text=pieces.append)
    assert (answer.text, pieces) == ("it is four", ["it is four"])
    assert sent(loopback, "stream") == [True, None]
    assert sent(loopback, "stream_options") == [{"include_usage": True}, None]


def test_log_probabilities_that_are_refused_are_done_without(loopback: Loopback) -> None:
    loopback.script("a", raw=refusing("logprobs", "'logprobs' is not supported with this model"))
    answer = ask_once(pool(entry(loopback), max_retries=0), sampling=Sampling(logprobs=True))
    assert (answer.text, answer.perplexity) == ("an answer", None)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("max_tokens is too large: 99999. This model supports at most 4096 completion tokens", False),
        ("This model's maximum context length is 4096 tokens; max_tokens must not exceed it", False),
        ("The model is overloaded, try another temperature", False),
        ("Unrecognized request argument supplied: max_tokens", True),
    ],
)
def test_what_is_no_refusal_of_a_parameter_changes_nothing(words: str, named: bool) -> None:
    assert (not names_refused(words).isdisjoint({"max_tokens", "temperature"})) == named


def test_other_failures_are_not_taken_for_refusals(loopback: Loopback) -> None:
    loopback.script("a", raw=refusing("temperature", "invalid key; temperature 0.2", 401))
    error = answer_of(loopback).error
    assert error is not None and error.startswith("HTTP 401: invalid key; temperature 0.2")
    assert loopback.count() == 1
