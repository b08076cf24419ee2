"""The most that a call can cost: reserved before it goes out, and the end of a run when a call costs more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.config import ModelEntry, Price
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.models.limits import Budget
from jisi_cli.models.parameters import check_costs
from jisi_cli.models.usage import has_own_tokenizer, most_text_tokens
from jisi_cli.models.worst_case import worst_case_of
from jisi_cli.types import Answer, Sampling
from tests.loopback import Loopback
from tests.models.asking import ask, ask_once, cache_in, entry, ledger_in, pool, user

CENT_A_TOKEN = Price(10_000, 10_000)
PER_TOKEN = 0.01

DIGITS = "".join(str(number) for number in range(400))
THAI = "ภาษาไทยเป็นภาษาที่มีระดับเสียงของคำแน่นอน " * 10
EXPANDING = "\ufdfa" * 50
"""One character of three bytes that many tokenizers write out as eighteen."""


def tokens_reserved(params: dict[str, Any], litellm: str = "openai/a", price: Price | None = CENT_A_TOKEN) -> float:
    """Return the worst case of a short question, in tokens of one cent."""
    asked = ModelEntry("a", litellm, api_base="http://127.0.0.1:1/v1", price=price, params=params)
    worst = asyncio.run(worst_case_of(asked, user("hi"), params))
    assert worst is not None
    return worst / PER_TOKEN


PLAIN = tokens_reserved({"max_tokens": 100})


@pytest.mark.parametrize("text", [DIGITS, THAI, EXPANDING, "a" * 500, "\n" * 500], ids=lambda text: text[:4])
def test_a_prompt_is_reserved_at_no_less_than_a_tokenizer_of_bytes_can_find_in_it(text: str) -> None:
    mine = ModelEntry("a", "openai/gpt-4o", api_base="http://127.0.0.1:1/v1")
    assert most_text_tokens(mine, text) >= len(text.encode())
    assert most_text_tokens(replace(mine, litellm="anthropic/claude-sonnet-4-5", api_base=None), text) >= len(text)


def test_openais_models_at_openais_address_are_counted_with_their_own_tokenizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(variable, raising=False)
    theirs = ModelEntry("a", "openai/gpt-4o")
    assert 100 < most_text_tokens(theirs, "word " * 100) < 120
    assert has_own_tokenizer(replace(theirs, api_base="https://api.openai.com/v1"))
    for other in (
        replace(theirs, api_base="http://127.0.0.1:1/v1"),
        replace(theirs, api_base="https://api.openai.com.example/v1"),
        replace(theirs, litellm="openai/gpt-oss-20b"),
        replace(theirs, litellm="openrouter/openai/gpt-4o"),
        replace(theirs, litellm="azure/gpt-4o"),
        replace(theirs, litellm="gemini/gemini-2.5-pro"),
    ):
        assert not has_own_tokenizer(other)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert not has_own_tokenizer(theirs)


@pytest.mark.parametrize("text", [DIGITS, THAI], ids=["digits", "Thai"])
def test_a_model_that_takes_a_token_for_every_byte_stays_within_the_limit(loopback: Loopback, text: str) -> None:
    size = len(text.encode())
    loopback.script("a", usage={"prompt_tokens": size, "completion_tokens": 5, "total_tokens": size + 5})
    budget = Budget(2.5 * PER_TOKEN * size)
    asked = pool(entry(loopback, price=CENT_A_TOKEN), budget=budget)

    async def spend() -> list[Answer | BaseException]:
        async with asked:
            calls = [ask(asked, f"{number}{text}", sampling=Sampling(max_tokens=5)) for number in range(8)]
            return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(spend())
    assert sum(isinstance(result, Answer) for result in results) == 2
    assert budget.spent_usd <= budget.limit_usd and budget.overrun is None


@pytest.mark.parametrize(
    ("params", "tokens"),
    [
        ({"extra_body": {"max_tokens": 5000}}, 4900),
        ({"extra_body": {"max_completion_tokens": 5000}}, 4900),
        ({"extra_body": {"max_output_tokens": 5000}}, 4900),
        ({"extra_body": {"generationConfig": {"maxOutputTokens": 5000}}}, 4900),
        ({"extra_body": {"options": {"num_predict": 5000}}}, 4900),
        ({"max_new_tokens": 5000}, 4900),
        ({"extra_body": {"max_tokens": 5}}, 0),
        ({"best_of": 3}, 200),
        ({"extra_body": {"best_of": 3}}, 200),
        ({"extra_body": {"num_generations": 3}}, 200),
        ({"extra_body": {"generationConfig": {"candidateCount": 3}}}, 200),
        ({"extra_body": {"candidate_count": 1}}, 0),
        ({"thinking": {"type": "enabled", "budget_tokens": 1000}}, 1000),
        ({"extra_body": {"reasoning": {"max_tokens": 1000}}}, 1000),
        ({"extra_body": {"thinking_budget": 1000}}, 1000),
        ({"extra_body": {"chat_template_kwargs": {"thinking_budget": 1000}}}, 1000),
        ({"extra_body": {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1000}}}}, 1000),
        ({"extra_body": {"thinking_budget": 1000, "best_of": 2}}, 1100 * 2 - 100),
        ({"prediction": {"type": "content", "content": "x" * 1000}}, 1000),
        ({"extra_body": {"prediction": {"type": "content", "content": "x" * 1000}}}, 1000),
        ({"tools": [{"type": "function", "function": {"name": "f", "description": "x" * 1000}}]}, 1000),
        ({"extra_body": {"documents": [{"text": "x" * 1000}]}}, 1000),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"x": "x" * 1000}}}}, 1000),
        ({"service_tier": "priority"}, PLAIN),
        ({"extra_body": {"service_tier": "priority"}}, PLAIN),
        ({"service_tier": "flex"}, 0),
    ],
    ids=str,
)
def test_a_parameter_that_costs_is_reserved_wherever_it_stands(params: dict[str, Any], tokens: float) -> None:
    reserved = tokens_reserved({"max_tokens": 100, **params})
    assert reserved >= PLAIN + tokens - 1e-6
    # Not much more than that: the words of the parameters themselves, and of a provider around tools.
    room = len(str(params)) * 3 + (1000 if "tools" in params else 0)
    assert reserved <= PLAIN + tokens + room


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0.7, "top_p": 0.9, "seed": 7, "logprobs": True, "top_logprobs": 20, "presence_penalty": 1},
        {"reasoning_effort": "high", "stop": ["\n"], "user": "me", "metadata": {"models": "mine"}},
        {"extra_body": {"top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1, "guided_choice": ["A", "B"]}},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
        {"extra_body": {"provider": {"order": ["x"], "allow_fallbacks": False, "max_price": {"prompt": 1}}}},
        {"extra_body": {"plugins": [], "web_search": False, "models": None, "tools": []}},
        {"extra_body": {"search_parameters": {"mode": "off"}, "thinking": {"type": "disabled"}}},
        {"modalities": ["text"], "service_tier": "default"},
        {"extra_headers": {"models": "mine"}, "response_format": {"type": "json_schema", "n": 3, "models": ["x"]}},
        {"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"n": {}, "models": {}}}}]},
    ],
    ids=str,
)
def test_parameters_that_cost_nothing_are_let_through(params: dict[str, Any]) -> None:
    check_costs([ModelEntry("a", "openai/a", params=params)])


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"extra_body": {"plugins": [{"id": "web"}]}}, "extra_body.plugins"),
        ({"extra_body": {"models": ["x/dear"]}}, "extra_body.models"),
        ({"extra_body": {"route": "fallback"}}, "extra_body.route"),
        ({"extra_body": {"enable_search": True}}, "extra_body.enable_search"),
        ({"extra_body": {"search_parameters": {"mode": "auto"}}}, "extra_body.search_parameters"),
        ({"extra_body": {"tools": [{"type": "web_search"}]}}, "extra_body.tools"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"tools": [{"googleSearch": {}}]}, "tools"),
        ({"tools": [{"function_declarations": [], "google_search": {}}]}, "tools"),
        ({"extra_body": {"modalities": ["text", "audio"], "audio": {"voice": "x"}}}, "extra_body.modalities"),
        ({"extra_body": {"generationConfig": {"responseModalities": ["IMAGE"]}}}, "responseModalities"),
        ({"extra_body": {"cachedContent": "cachedContents/7"}}, "extra_body.cachedContent"),
        ({"extra_body": {"previous_response_id": "x"}}, "extra_body.previous_response_id"),
        ({"extra_body": {"mcp_servers": [{"url": "x"}]}}, "extra_body.mcp_servers"),
        ({"extra_body": {"data_sources": [{"type": "azure_search"}]}}, "extra_body.data_sources"),
        ({"service_tier": "ultrafast"}, "service_tier = 'ultrafast'"),
        ({"extra_body": {"speed": "fast"}}, "extra_body.speed"),
        ({"extra_body": {"best_of": "many"}}, "extra_body.best_of"),
        ({"additional_drop_params": ["max_tokens"]}, "additional_drop_params"),
        ({"context_window_fallback_dict": {"a": "b"}}, "context_window_fallback_dict"),
    ],
    ids=str,
)
def test_a_parameter_that_makes_the_worst_case_unknowable_is_refused_by_name_before_anything_is_sent(
    loopback: Loopback, params: dict[str, Any], named: str
) -> None:
    loopback.script("a")
    asked = entry(loopback, params={"max_tokens": 10, **params})
    with pytest.raises(InputError, match="--max-cost cannot hold for model `a`") as refused:
        pool(asked, budget=Budget(100.0))
    assert named in str(refused.value) and "leave --max-cost out" in str(refused.value)
    pool(asked)  # Without a limit it is the user's own affair.


@pytest.mark.parametrize("model", ["openrouter/x/y:online", "perplexity/sonar-deep-research", "gemini/deep-research-x"])
def test_models_that_search_as_often_as_they_like_are_refused_under_a_limit(model: str) -> None:
    with pytest.raises(InputError, match="--max-cost cannot hold for model `a`"):
        check_costs([ModelEntry("a", model)])


def test_a_limit_in_extra_body_that_is_none_leaves_the_models_own() -> None:
    with pytest.raises(BudgetError, match="how long an answer"):
        tokens_reserved({"max_tokens": 100, "extra_body": {"max_tokens": -1}})


def test_the_dearest_way_to_read_a_prompt_is_reserved() -> None:
    plain = tokens_reserved({"max_tokens": 100}, price=Price(10_000, 10_000, cached_input=1_000))
    assert plain == pytest.approx(PLAIN)
    written = tokens_reserved({"max_tokens": 100}, price=Price(10_000, 10_000, cache_write=20_000))
    assert written == pytest.approx(PLAIN + (PLAIN - 100))
    listed = ModelEntry("a", "anthropic/claude-sonnet-4-5", params={"max_tokens": 100})
    worst = asyncio.run(worst_case_of(listed, user("x" * 10_000), listed.params))
    hourly = {"max_tokens": 100, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    dearest = asyncio.run(worst_case_of(listed, user("x" * 10_000), hourly))
    assert worst is not None and dearest is not None
    # 3.75 dollars a million to write, 6 for an hour; 3 to read.
    assert 0.0375 < worst - 0.0015 < 0.038
    assert 0.06 < dearest - 0.0015 < 0.061


def test_a_tier_is_reserved_at_its_price_where_that_is_known_and_else_refused() -> None:
    listed = ModelEntry("a", "openai/gpt-4o", params={"max_tokens": 1000})
    usual = asyncio.run(worst_case_of(listed, user("hi"), listed.params))
    dear = asyncio.run(worst_case_of(listed, user("hi"), {**listed.params, "service_tier": "priority"}))
    assert usual is not None and dear is not None
    assert dear == pytest.approx(1.7 * usual, rel=0.01)
    unknown = replace(listed, litellm="deepseek/deepseek-chat")
    with pytest.raises(InputError, match=r"service_tier = priority.*`price`"):
        asyncio.run(worst_case_of(unknown, user("hi"), {"max_tokens": 10, "service_tier": "priority"}))


def test_a_model_that_searches_once_for_every_answer_is_reserved_with_the_fee() -> None:
    sonar = ModelEntry("a", "perplexity/sonar", params={"max_tokens": 10})
    worst = asyncio.run(worst_case_of(sonar, user("hi"), sonar.params))
    assert worst is not None and 0.012 < worst < 0.0125


USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("usage", "price", "dollars"),
    [
        ({**USAGE, "cost": 7.5}, Price(1, 2), 7.5),
        ({**USAGE, "completion_tokens": 5000, "total_tokens": 5005}, CENT_A_TOKEN, 50.05),
        ({**USAGE, "prompt_tokens": 5000, "total_tokens": 5003}, CENT_A_TOKEN, 50.03),
        ({**USAGE, "total_tokens": 5000}, CENT_A_TOKEN, 50.0),
        ({**USAGE, "cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 7}}, Price(1, 2), 7.0),
    ],
    ids=["cost", "response", "prompt", "total", "own key"],
)
def test_a_call_that_costs_more_than_its_worst_case_is_kept_and_is_the_last(
    loopback: Loopback, tmp_path: Path, usage: dict[str, Any], price: Price, dollars: float, streamed: bool
) -> None:
    loopback.script("a", "an answer", usage=usage)
    budget = Budget(1000.0)
    asked = pool(
        entry(loopback, price=price), budget=budget, cache=cache_in(tmp_path), ledger=ledger_in(tmp_path), warn=str
    )
    how: dict[str, Any] = {"sampling": Sampling(max_tokens=20), "on_text": (lambda _: None) if streamed else None}

    async def three_times() -> list[Answer]:
        async with asked:
            first = await ask(asked, "one", **how)
            with pytest.raises(BudgetError, match=r"`a` cost \$\d+\.\d+ by what was reported, and \$0\."):
                await ask(asked, "two", **how)
            return [first, await ask(asked, "one", **how)]

    first, again = asyncio.run(three_times())
    assert (first.text, first.cost_usd) == ("an answer", pytest.approx(dollars))
    assert (again.text, again.cached) == ("an answer", True)
    assert loopback.count() == 1
    assert [row.cost_usd for row in ledger_in(tmp_path).rows()] == [pytest.approx(dollars), 0.0]
    assert budget.spent_usd == pytest.approx(dollars)
    with pytest.raises(BudgetError, match="every answer is kept"):
        budget.check()


def test_calls_that_are_out_when_one_costs_too_much_are_kept_and_those_that_wait_are_not_made(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("a", "an answer", usage={**USAGE, "cost": 5.0}, delay=0.1)
    budget = Budget(10.0)
    # Two fit at one time; three wait for their money.
    asked = pool(
        entry(loopback, price=Price(0, 200_000)), budget=budget, cache=cache_in(tmp_path), ledger=ledger_in(tmp_path)
    )

    async def five() -> list[Answer | BaseException]:
        async with asked:
            calls = [ask(asked, f"{number}", sampling=Sampling(max_tokens=20)) for number in range(5)]
            return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(five())
    assert sorted(type(result).__name__ for result in results) == ["Answer"] * 2 + ["BudgetError"] * 3
    assert loopback.count() == 2
    assert [row.cost_usd for row in ledger_in(tmp_path).rows()] == [5.0, 5.0]


@pytest.mark.parametrize("cost", [float("inf"), 1e308, -1, "seven", True, 10**400], ids=str)
def test_a_cost_that_cannot_be_ends_nothing(loopback: Loopback, cost: object) -> None:
    loopback.script("a", usage={**USAGE, "cost": cost})
    budget = Budget(1.0)
    answer = ask_once(pool(entry(loopback), budget=budget), sampling=Sampling(max_tokens=20))
    assert (answer.ok, budget.overrun) == (True, None)
    assert budget.spent_usd == pytest.approx(11e-6)


def test_the_budget_counts_the_larger_of_what_is_said_and_the_bill_what_is_said(loopback: Loopback) -> None:
    warned: list[str] = []
    loopback.script("a", usage={**USAGE, "cost": 0})
    budget = Budget(1.0)
    asked = pool(entry(loopback, price=CENT_A_TOKEN), budget=budget, warn=warned.append)
    answer = ask_once(asked, sampling=Sampling(max_tokens=20))
    assert (answer.cost_usd, answer.price_source) == (0.0, "provider")
    assert budget.spent_usd == pytest.approx(8 * PER_TOKEN)
    assert len(warned) == 1 and "says that a call cost $0, but its tokens cost $0.0800" in warned[0]


def test_an_answer_without_a_usage_counts_as_many_tokens_as_it_can_have_but_no_more_than_its_worst_case(
    loopback: Loopback,
) -> None:
    loopback.script("a", "1234567890", usage=None)
    budget = Budget(100.0)
    asked = pool(entry(loopback, price=Price(0, 10_000)), budget=budget)

    async def twice() -> None:
        async with asked:
            await ask(asked, "one", sampling=Sampling(max_tokens=100))
            assert budget.spent_usd == pytest.approx(10 * PER_TOKEN)
            await ask(asked, "two", sampling=Sampling(max_tokens=6))

    asyncio.run(twice())
    assert budget.spent_usd == pytest.approx((10 + 6) * PER_TOKEN)
    assert budget.overrun is None


def test_a_long_answer_that_is_reported_as_a_few_tokens_counts_as_what_it_is(loopback: Loopback) -> None:
    warned: list[str] = []
    loopback.script("a", "word " * 300, usage=USAGE)
    budget = Budget(100.0)
    asked = pool(entry(loopback, price=Price(0, 10_000)), budget=budget, warn=warned.append)
    answer = ask_once(asked, sampling=Sampling(max_tokens=1000))
    assert (answer.completion_tokens, answer.cost_usd) == (3, pytest.approx(3 * PER_TOKEN))
    assert 290 * PER_TOKEN < budget.spent_usd < 310 * PER_TOKEN
    assert len(warned) == 1 and "reports 3 tokens for an answer of about 30" in warned[0]
