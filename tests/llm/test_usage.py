"""Tokens: the provider's where they can be true, counted where not."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jisi_cli.llm.answer import Sampling
from jisi_cli.llm.usage import perplexity_of
from tests.llm.asking import ask_once, cache_in, entry, pool
from tests.loopback import Loopback

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
