"""Tokens: the provider's where they can be true, counted where not."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jisi_cli.config import Price
from jisi_cli.models.usage import perplexity_of, reported_cost
from jisi_cli.types import Answer, Sampling
from tests.loopback import Loopback, Raw, completion, events
from tests.models.asking import ask, ask_once, cache_in, entry, ledger_in, pool

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
ODD = {
    "none": None,
    "negative": {"prompt_tokens": -5, "completion_tokens": -3, "total_tokens": -8},
    "fractions": {"prompt_tokens": 5.5, "completion_tokens": 3.2, "total_tokens": 8.7},
    "words": {"prompt_tokens": "five", "completion_tokens": "three", "total_tokens": "eight"},
    "nulls": {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None},
    "zeros": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    "huge": {"prompt_tokens": 10**15, "completion_tokens": 10**15, "total_tokens": 2 * 10**15},
    "huge in all": {
        "prompt_tokens": 5,
        "completion_tokens": 10**8,
        "completion_tokens_details": {"reasoning_tokens": 9},
        "total_tokens": 10**8 + 14,
    },
    "empty": {},
    "incomplete": {"prompt_tokens": 5},
    "a list": [5, 3, 8],
    "a word": "none",
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("usage", ODD.values(), ids=ODD)
def test_usage_that_cannot_be_true_is_counted_and_the_answer_is_asked_once(
    loopback: Loopback, usage: Any, streamed: bool
) -> None:
    loopback.script("a", text="it is four", usage=usage)
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert (answer.text, answer.error, answer.tokens_source) == ("it is four", None, "counted")
    # LiteLLM's tokenizer: three words, one token each; the prompt's seven and the frame of a chat.
    assert answer.completion_tokens == 3
    assert answer.prompt_tokens is not None
    assert 7 < answer.prompt_tokens < 20
    assert loopback.count() == 1


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("usage", "completion"),
    [
        (USAGE, 3),
        ({**USAGE, "completion_tokens_details": {"reasoning_tokens": 2}}, 3),
        ({**USAGE, "completion_tokens_details": {"reasoning_tokens": 90}, "total_tokens": 98}, 93),
        ({**USAGE, "completion_tokens_details": {"reasoning_tokens": 10**30}, "total_tokens": 10**30 + 8}, 3),
    ],
    ids=["plain", "reasoning within", "reasoning beside", "reasoning beyond"],
)
def test_reasoning_is_part_of_the_completion(
    loopback: Loopback, usage: dict[str, Any], completion: int, streamed: bool
) -> None:
    loopback.script("a", text="it is four", usage=usage)
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert (answer.prompt_tokens, answer.completion_tokens) == (5, completion)
    assert answer.tokens_source == "provider"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_the_cost_a_provider_reports_goes_before_any_price(loopback: Loopback, streamed: bool) -> None:
    loopback.script("a", usage={**USAGE, "cost": 0.25})
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert (answer.cost_usd, answer.list_cost_usd, answer.price_source) == (0.25, 0.25, "provider")


@pytest.mark.parametrize("count", ["many", 2.5, [], -1])
@pytest.mark.parametrize("detail", ["completion_tokens_details", "prompt_tokens_details"])
def test_details_of_a_usage_that_cannot_be_true_cost_no_answer(loopback: Loopback, detail: str, count: Any) -> None:
    part = {"reasoning_tokens": count, "cached_tokens": count, "accepted_prediction_tokens": None}
    loopback.script("a", text="it is four", usage={**USAGE, detail: part})
    answer = ask_once(pool(entry(loopback)))
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("it is four", 5, 3)
    assert (answer.tokens_source, loopback.count()) == ("provider", 1)


@pytest.mark.parametrize("cost", [-1, "much", True, None, pytest.param(10**400, id="huge")])
def test_a_reported_cost_that_is_no_amount_is_passed_over(loopback: Loopback, cost: object) -> None:
    loopback.script("a", usage={**USAGE, "cost": cost})
    answer = ask_once(pool(entry(loopback)))
    assert (answer.cost_usd, answer.price_source) == (pytest.approx(11e-6), "pool")


def test_a_model_nobody_prices_has_an_unknown_cost(loopback: Loopback) -> None:
    loopback.script("a", usage=USAGE)
    answer = ask_once(pool(entry(loopback, price=None)))
    assert (answer.cost_usd, answer.list_cost_usd, answer.price_source) == (None, None, None)
    assert answer.ok


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_reasoning_that_came_without_a_usage_is_counted_as_part_of_the_response(
    loopback: Loopback, streamed: bool
) -> None:
    thoughts = "two and two are four because one and one are two " * 20
    loopback.script("a", "it is four", usage=None, reasoning=thoughts)
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert (answer.text, answer.tokens_source) == ("it is four", "counted")
    assert answer.completion_tokens is not None and 200 < answer.completion_tokens < 300


def test_a_usage_that_comes_before_the_end_of_a_stream_is_no_count_of_the_answer(loopback: Loopback) -> None:
    warned: list[str] = []
    text = "one two three four five six seven eight nine ten"
    loopback.script("a", text, usage=USAGE, usage_when="first")
    asked = pool(entry(loopback), warn=warned.append)
    answer = ask_once(asked, on_text=lambda _: None)
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == (text, 5, 10)
    assert answer.tokens_source == "counted"
    assert warned == ["a reports its usage before its answer ends; the rest is counted"]


def test_a_usage_that_grows_with_every_piece_of_a_stream_counts_once(loopback: Loopback) -> None:
    loopback.script("a", "one two three four five six seven", usage=USAGE, usage_when="every")
    answer = ask_once(pool(entry(loopback)), on_text=lambda _: None)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.tokens_source) == (5, 7, "provider")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("reported", "dollars"),
    [
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.25}}, 0.25),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.25}}, 0.26),
        ({"cost": 0, "cost_details": {"upstream_inference_cost": 0.25}}, 0.25),
        ({"cost": 0.25, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.24}}, 0.25),
        ({"cost": 0.25, "cost_details": {"upstream_inference_cost": None}}, 0.25),
        ({"cost": 0.25, "cost_details": {"upstream_inference_cost": "much"}}, 0.25),
        ({"cost": 0.25, "is_byok": True, "cost_details": {"upstream_inference_cost": -1}}, 0.25),
    ],
)
def test_of_a_call_with_a_key_of_ones_own_both_parts_are_paid(
    loopback: Loopback, reported: dict[str, Any], dollars: float, streamed: bool
) -> None:
    loopback.script("a", usage={**USAGE, **reported})
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert (answer.cost_usd, answer.price_source) == (pytest.approx(dollars), "provider")


def test_a_cost_that_is_an_object_is_read() -> None:
    assert reported_cost(SimpleNamespace(cost={"total_cost": 0.012, "request_cost": 0.01})) == 0.012


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_tokens_that_only_the_total_counts_are_paid_as_response_and_said_once(
    loopback: Loopback, streamed: bool
) -> None:
    warned: list[str] = []
    loopback.script("a", usage={"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 500})
    asked = pool(entry(loopback), warn=warned.append)

    async def twice() -> list[int | None]:
        async with asked:
            answers = [await ask(asked, f"{n}", on_text=(lambda _: None) if streamed else None) for n in range(2)]
            return [answer.completion_tokens for answer in answers]

    assert asyncio.run(twice()) == [495, 495]
    assert len(warned) == 1 and "492 tokens in all beyond" in warned[0]


CACHED = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("model", "usage", "tier", "dollars"),
    [
        ("gpt-4o", {**CACHED, "prompt_tokens_details": {"cached_tokens": 900}}, None, 0.001475),
        ("gpt-4.1", {**CACHED, "prompt_tokens_details": {"cached_tokens": 1000}}, None, 0.00058),
        ("gpt-5-mini", CACHED, "flex", 0.000135),
        ("gpt-5-mini", CACHED, "priority", 0.000486),
        ("gpt-5-mini", CACHED, "default", 0.00027),
        ("gpt-4o", {**CACHED, "prompt_tokens_details": {"cached_tokens": -900}}, None, 0.0026),
    ],
)
def test_cached_tokens_and_tiers_have_the_prices_of_litellms_map(
    loopback: Loopback,
    tmp_path: Path,
    model: str,
    usage: dict[str, Any],
    tier: str | None,
    dollars: float,
    streamed: bool,
) -> None:
    loopback.script(model, usage=usage, tier=tier)
    on_text = (lambda _: None) if streamed else None
    for cached in (False, True):
        asked = pool(entry(loopback, model, price=None), cache=cache_in(tmp_path))
        answer = ask_once(asked, on_text=on_text)
        assert (answer.cached, answer.price_source) == (cached, "litellm")
        assert answer.list_cost_usd == pytest.approx(dollars)
    assert answer.cost_usd == 0


@pytest.mark.parametrize(
    ("price", "dollars"),
    [
        (Price(10, 20), 10.2e-3),
        (Price(10, 20, cached_input=1), 2.1e-3),
        (Price(10, 20, cached_input=1, cache_write=12), 2.28e-3),
    ],
)
def test_the_pool_file_has_a_place_for_prices_of_cached_tokens(
    loopback: Loopback, price: Price, dollars: float
) -> None:
    # 900 read from the cache, 90 written to it, 10 neither.
    usage = {**CACHED, "prompt_tokens_details": {"cached_tokens": 900}, "cache_creation_input_tokens": 90}
    loopback.script("a", usage=usage)
    assert ask_once(pool(entry(loopback, price=price))).cost_usd == pytest.approx(dollars)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20, "cache_read_input_tokens": 900},
        {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 920, "cache_read_input_tokens": 900},
        {"prompt_tokens": 910, "completion_tokens": 10, "total_tokens": 920, "cache_read_input_tokens": 900},
    ],
    ids=["beside the prompt", "in the total", "within the prompt"],
)
def test_cached_tokens_are_part_of_the_prompt_wherever_a_provider_counts_them(
    loopback: Loopback, usage: dict[str, Any]
) -> None:
    loopback.script("a", usage=usage)
    answer = ask_once(pool(entry(loopback, price=Price(10, 0, cached_input=1))))
    assert (answer.prompt_tokens, answer.completion_tokens) == (910, 10)
    assert answer.cost_usd == pytest.approx(1e-3)


def test_an_answer_without_such_details_is_stored_as_ever(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", usage=USAGE)
    disk = cache_in(tmp_path)
    ask_once(pool(entry(loopback), cache=disk))
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as rows:
        ((stored,),) = rows.execute("SELECT value FROM Cache WHERE key NOT LIKE '%format%'")
    assert set(json.loads(zlib.decompress(stored))) == {
        *("text", "prompt_tokens", "completion_tokens", "tokens_source"),
        *("provider_cost", "finish_reason", "perplexity"),
    }


def logprobs(*values: object) -> SimpleNamespace:
    return SimpleNamespace(content=[SimpleNamespace(logprob=value) for value in values])


def test_perplexity_is_that_of_all_tokens_or_unknown() -> None:
    assert perplexity_of(logprobs(-0.5, -1.5, -1.0)) == pytest.approx(math.e)
    assert perplexity_of(logprobs(0, -0.0)) == 1.0
    # A provider's word for "not likely enough to be counted".
    assert perplexity_of(logprobs(-9999.0)) == pytest.approx(math.exp(100))
    for nothing in (
        None,
        "sure",
        logprobs(),
        logprobs(-0.1, None),
        logprobs(0.2),
        logprobs(float("nan")),
        logprobs(True),
    ):
        assert perplexity_of(nothing) is None


def test_perplexity_is_kept_with_a_cached_answer(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", "yes it is", logprobs=lambda text: [-1.0] * 3)
    disk = cache_in(tmp_path)
    for _ in range(2):
        answer = ask_once(pool(entry(loopback), cache=disk), sampling=Sampling(logprobs=True))
        assert answer.perplexity == pytest.approx(math.e)
    assert loopback.count() == 1 and answer.cached
    # Who did not ask for it has another answer, and none of this.
    assert ask_once(pool(entry(loopback), cache=disk)).perplexity is None


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_what_failed_attempts_report_is_booked(loopback: Loopback, tmp_path: Path, streamed: bool) -> None:
    failed = Raw(events("4", finish_reason="error"), events=True) if streamed else Raw(completion("4", "error"))
    loopback.script("a", raw=lambda body: failed)
    asked = pool(entry(loopback), max_retries=2, ledger=ledger_in(tmp_path))
    answer = ask_once(asked, on_text=(lambda _: None) if streamed else None)
    assert answer.error == "the provider failed in the middle of the answer"
    # Three times 10 tokens at one and 5 at two dollars a million.
    (row,) = ledger_in(tmp_path).rows()
    assert (answer.cost_usd, row.cost_usd) == (pytest.approx(60e-6), pytest.approx(60e-6))


def test_what_a_failed_attempt_reports_before_a_good_one_is_booked(loopback: Loopback) -> None:
    replies = iter([completion("4", "error"), completion("42")])
    loopback.script("a", raw=lambda body: Raw(next(replies)))
    answer = ask_once(pool(entry(loopback)))
    assert (answer.text, answer.cost_usd) == ("42", pytest.approx(40e-6))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"prompt_tokens": "10", "completion_tokens": "5", "total_tokens": "15"}, 20e-6),
        ({"prompt_tokens": 10.0, "completion_tokens": 5.0, "total_tokens": 15.0}, 20e-6),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": "0.00002"}, 20e-6),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": "0.00004"}, 40e-6),
    ],
    ids=["texts", "whole floats", "cost as text", "another cost as text"],
)
def test_figures_written_as_text_or_as_floats_are_read(
    loopback: Loopback, usage: dict[str, Any], usd: float, streamed: bool
) -> None:
    loopback.script("a", usage=usage)
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert (answer.prompt_tokens, answer.tokens_source, answer.cost_usd) == (10, "provider", pytest.approx(usd))


def test_figures_that_cannot_be_true_are_no_bill_and_are_said_once(loopback: Loopback) -> None:
    loopback.script("a", usage={"prompt_tokens": 10**12, "completion_tokens": 10**12, "total_tokens": 2 * 10**12})
    said: list[str] = []
    asked = pool(entry(loopback), warn=said.append)

    async def twice() -> list[Answer]:
        async with asked:
            return [await ask(asked, question) for question in ("one?", "two?")]

    assert [answer.tokens_source for answer in asyncio.run(twice())] == ["counted", "counted"]
    assert said == [
        "a reports prompt_tokens = 1,000,000,000,000, which cannot be true; "
        "the tokens of its answers are counted instead"
    ]
