"""Endpoints, over real HTTP on loopback through real LiteLLM."""

from __future__ import annotations

import pytest

from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.embed.unit_embedder import UnitEmbedder
from jisi_cli.errors import InputError, JisiError, NoAnswerError
from tests.loopback import Fault, Loopback


def endpoint(loopback: Loopback, name: str = "openai/vectors", **how: object) -> UnitEmbedder:
    api_base = how.pop("api_base", loopback.api_base)
    spec = how.pop("spec", {})
    return load_embedder(EmbedderSpec(f"litellm:{name}", **spec), api_base=api_base, **how)  # type: ignore[arg-type]


def sent(loopback: Loopback) -> list[str]:
    return [text for request in loopback.requests for text in request.body["input"]]


def test_equal_texts_are_sent_once_and_tokens_are_what_the_endpoint_says(loopback: Loopback) -> None:
    loopback.script("vectors", width=5)
    embedder = endpoint(loopback)
    assert embedder.embed(["one two", "three", "one two"]).shape == (3, 5)
    assert sorted(sent(loopback)) == ["one two", "three"]
    assert embedder.tokens == 3


def test_a_pinned_width_saves_the_call_that_would_show_it(loopback: Loopback) -> None:
    loopback.script("vectors", width=5)
    assert endpoint(loopback, spec={"dimension": 5}).spec.dimension == 5
    assert loopback.count() == 0
    assert endpoint(loopback).spec.dimension == 5
    assert loopback.count() == 1


def test_requests_go_out_at_the_same_time_up_to_the_limit(loopback: Loopback) -> None:
    loopback.script("vectors", together=3, delay=0.05)
    texts = [f"text {number}" for number in range(12)]
    vectors = endpoint(loopback, batch_size=2, concurrency=3).embed(texts)
    assert loopback.count() == 6
    assert loopback.most_at_once == 3
    assert (vectors == endpoint(loopback).embed(texts)).all()


@pytest.mark.parametrize(("truncation", "kept"), [("head", "one two three"), ("tail", " six seven eight")])
def test_the_wanted_end_of_a_long_text_is_sent_behind_the_prompt(
    loopback: Loopback, truncation: str, kept: str
) -> None:
    loopback.script("vectors")
    spec = {"max_tokens": 3, "truncation": truncation, "prompt": "query: "}
    embedder = endpoint(loopback, spec=spec)
    embedder.embed(["one two three four five six seven eight", "one two three"])
    assert sorted(sent(loopback)) == sorted([f"query: {kept}", "query: one two three"])
    assert embedder.truncated == 1


def test_the_limit_that_litellm_knows_of_a_model_applies(loopback: Loopback) -> None:
    loopback.script("text-embedding-3-small")
    embedder = endpoint(loopback, "openai/text-embedding-3-small")
    embedder.embed(["word " * 9000, "word " * 5000])
    assert embedder.truncated == 1
    assert max(map(len, sent(loopback))) < 5 * 8200


def test_a_character_that_is_cut_in_half_is_left_out(loopback: Loopback) -> None:
    loopback.script("vectors")
    for limit in range(1, 12):
        endpoint(loopback, spec={"max_tokens": limit}).embed(["你好世界🙂🙃" * 5])
    assert not any("\ufffd" in text for text in sent(loopback))


@pytest.mark.parametrize("kind", ["status", "reset"])
def test_a_passing_failure_is_tried_again(loopback: Loopback, kind: str) -> None:
    loopback.script("vectors", faults=(Fault(kind, status=429, retry_after=0),))  # type: ignore[arg-type]
    assert endpoint(loopback).embed(["one"]).shape == (1, 8)
    assert loopback.count() == 2


@pytest.mark.parametrize(
    ("fault", "error", "words", "calls"),
    [
        (Fault("status", status=400), InputError, "too long", 1),
        (Fault("status", status=401, message="bad key: {authorization}"), InputError, "key", 1),
        (Fault("status", status=403), InputError, "key", 1),
        (Fault("status", status=500, message="at {authorization}"), NoAnswerError, "HTTP 500", 3),
        (Fault("no_choices"), NoAnswerError, "something else", 1),
        (Fault("malformed"), NoAnswerError, "no vectors", 1),
    ],
)
def test_a_lasting_failure_is_one_line_without_the_key(
    loopback: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    error: type[JisiError],
    words: str,
    calls: int,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-indeed")
    loopback.script("vectors", every=1, every_fault=fault)
    with pytest.raises(error, match=words) as raised:
        endpoint(loopback, api_key_env="OPENAI_API_KEY").embed(["one"])
    assert "litellm:openai/vectors" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert loopback.count() == calls


def test_an_unknown_model_is_an_error(loopback: Loopback) -> None:
    with pytest.raises(InputError, match="no such model"):
        endpoint(loopback, "openai/nobody").embed(["one"])


def test_after_a_refusal_the_rest_is_not_sent(loopback: Loopback) -> None:
    loopback.script("vectors", every=1, every_fault=Fault("status", status=400), delay=0.1)
    with pytest.raises(InputError):
        endpoint(loopback, batch_size=1, concurrency=2).embed([f"text {number}" for number in range(40)])
    assert loopback.count() < 10


def test_an_endpoint_that_is_not_there_is_one_line(loopback: Loopback) -> None:
    with pytest.raises(NoAnswerError, match=r"no vectors \(ConnectError\)"):
        endpoint(loopback, api_base="http://127.0.0.1:9/v1").embed(["one"])


def test_the_address_is_read_from_the_environment_too(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback.script("vectors")
    monkeypatch.setenv("OPENAI_API_BASE", loopback.api_base)
    assert endpoint(loopback, api_base=None).embed(["one"]).shape == (1, 8)


def test_a_missing_key_is_named_before_anything_is_sent(loopback: Loopback) -> None:
    with pytest.raises(InputError, match="set OPENAI_API_KEY"):
        endpoint(loopback, "openai/text-embedding-3-small", api_base=None).embed(["one"])
    with pytest.raises(InputError, match="set COHERE_API_KEY"):
        endpoint(loopback, "cohere/embed-english-v3.0", api_base=None).embed(["one"])


def test_an_unknown_provider_is_an_error(loopback: Loopback) -> None:
    with pytest.raises(InputError, match="provider/model"):
        endpoint(loopback, "nobody/nothing", api_base=None).embed(["one"])


def test_an_endpoint_cannot_be_pinned_to_a_revision(loopback: Loopback) -> None:
    with pytest.raises(InputError, match="cannot be pinned"):
        endpoint(loopback, spec={"revision": "abc"})
