"""From tokens to dollars, and who named the price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.config import ModelEntry, Price
from jisi_cli.models.pricing import price_of_call
from jisi_cli.models.worst_case import max_output_tokens, worst_case

POOLED = ModelEntry("a", "openai/gpt-4o", price=Price(input=3, output=15))
PUBLIC = ModelEntry("a", "openai/gpt-4o")
NOBODYS = ModelEntry("a", "openai/nobody-knows-this")
LOCAL = ModelEntry("a", "local:gpt-4o")


def test_the_providers_own_figure_goes_first() -> None:
    assert price_of_call(POOLED, 1000, 1000, provider_cost=0.5) == (0.5, "provider")
    assert price_of_call(POOLED, None, None, provider_cost=0.0) == (0.0, "provider")


def test_the_pool_files_price_is_in_dollars_per_million_tokens() -> None:
    assert price_of_call(POOLED, 1_000_000, 0) == (3.0, "pool")
    assert price_of_call(POOLED, 0, 1_000_000) == (15.0, "pool")
    free = ModelEntry("a", "openai/a", price=Price(0, 0))
    assert price_of_call(free, 10, 10) == (0.0, "pool")


@pytest.mark.slow
def test_litellms_map_prices_what_the_pool_file_does_not() -> None:
    usd, source = price_of_call(PUBLIC, 1000, 1000)
    assert source == "litellm"
    assert usd is not None
    assert 0.001 < usd < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("entry", [NOBODYS, LOCAL])
def test_a_price_nobody_knows_is_unknown_and_not_zero(entry: ModelEntry) -> None:
    assert price_of_call(entry, 1000, 1000) == (None, None)
    assert worst_case(entry, 1000, 1000) is None


def test_tokens_nobody_counted_have_no_price() -> None:
    assert price_of_call(POOLED, None, 10) == (None, None)
    assert price_of_call(POOLED, 10, None) == (None, None)


def test_the_worst_case_is_the_longest_answer() -> None:
    assert worst_case(POOLED, 1000, 2000) == pytest.approx(0.033)


@given(prompt=st.integers(0, 10**6), longest=st.integers(0, 10**5), share=st.floats(0, 1))
def test_no_answer_costs_more_than_the_worst_case(prompt: int, longest: int, share: float) -> None:
    usd, _ = price_of_call(POOLED, prompt, int(longest * share))
    bound = worst_case(POOLED, prompt, longest)
    assert usd is not None
    assert bound is not None
    assert usd <= bound


@pytest.mark.slow
def test_the_longest_answer_is_what_litellms_map_says() -> None:
    assert max_output_tokens(PUBLIC) == 16_384
    assert max_output_tokens(NOBODYS) is None
    assert max_output_tokens(LOCAL) is None
