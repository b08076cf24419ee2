"""Sums over charges, by hand: what is unknown stays unknown, and nothing cached is paid."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.costs.bills import DIMENSIONS, Charge, Dimension, Totals, add_up, summarise

ASK = Charge(
    run="r1",
    command="ask",
    role="probe",
    model="ada",
    time="2026-01-31T23:59:59.999+00:00",
    dataset="sums",
    prompt_tokens=10,
    completion_tokens=20,
    cost_usd=0.5,
    list_cost_usd=0.5,
    price_source="pool",
)
CACHED = replace(ASK, cached=True, cost_usd=0.0)
UNPRICED = replace(ASK, model="bob", cost_usd=None, list_cost_usd=None, price_source=None)
CACHED_UNPRICED = replace(UNPRICED, cached=True, cost_usd=0.0)
REFUSED = replace(
    ASK,
    error="HTTP 500",
    prompt_tokens=None,
    completion_tokens=None,
    cost_usd=0.0,
    list_cost_usd=None,
    price_source=None,
)
TIMED_OUT = replace(REFUSED, cost_usd=None)
EMPTY = replace(ASK, error="HTTP 500", cost_usd=0.25, list_cost_usd=0.25)
UNCOUNTED = replace(ASK, prompt_tokens=None, completion_tokens=None)


def test_nothing_adds_up_to_nothing_that_is_known() -> None:
    assert add_up([]) == Totals(0, 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0.0, 0.0, 0, {}, 0.0)


def test_every_sum_of_a_mixed_bill() -> None:
    everything = [ASK, CACHED, UNPRICED, CACHED_UNPRICED, REFUSED, TIMED_OUT, EMPTY, UNCOUNTED]
    assert add_up(everything) == Totals(
        calls=8,
        cached_calls=2,
        failed_calls=3,
        prompt_tokens=50,  # ASK, CACHED, UNPRICED, CACHED_UNPRICED and EMPTY were counted
        completion_tokens=100,
        uncounted_calls=1,
        cost_usd=None,
        known_cost_usd=1.25,  # ASK and UNCOUNTED at 0.5, EMPTY at 0.25
        most_cost_usd=None,
        unknown_price_calls=1,
        unknown_failure_calls=1,
        list_cost_usd=None,
        cached_list_cost_usd=0.5,
        cached_unknown_price_calls=1,
        price_sources={"pool": 4},
    )


def test_an_unpriced_answer_and_a_failure_of_unknown_cost_make_the_sum_unknown() -> None:
    assert add_up([ASK, TIMED_OUT]).cost_usd is None
    assert add_up([ASK, TIMED_OUT]).known_cost_usd == 0.5
    assert add_up([ASK, REFUSED]).cost_usd == 0.5
    assert add_up([ASK, UNPRICED]).cost_usd is None
    assert add_up([ASK, CACHED_UNPRICED]).cost_usd == 0.5
    assert add_up([ASK, CACHED_UNPRICED]).list_cost_usd is None


def test_an_answer_after_an_attempt_of_unknown_cost_is_known_but_for_that_attempt() -> None:
    totals = add_up([replace(ASK, cost_usd=None)])
    assert (totals.cost_usd, totals.known_cost_usd) == (None, 0.5)
    assert (totals.unknown_price_calls, totals.unknown_failure_calls) == (0, 1)


def test_days_are_those_of_utc() -> None:
    assert ASK.day == "2026-01-31"
    assert replace(ASK, time=None).day is None


def test_the_dearest_group_comes_first_and_days_and_runs_in_the_order_of_time() -> None:
    later = replace(ASK, model="bob", run="r0", time="2026-02-01T00:00:00+00:00", cost_usd=9.0)
    cheap = replace(ASK, model="cyd", run="r2", time="2026-01-30T00:00:00+00:00", cost_usd=0.125)
    charges = [ASK, cheap, later]
    assert [group.key for group in summarise(charges, ["model"]).groups] == [("bob",), ("ada",), ("cyd",)]
    assert [group.key for group in summarise(charges, ["run"]).groups] == [("r1",), ("r2",), ("r0",)]
    days = [("2026-01-30",), ("2026-01-31",), ("2026-02-01",)]
    assert [group.key for group in summarise(charges, ["day"]).groups] == days


def test_what_the_cache_saved_counts_for_the_order_as_if_it_were_paid() -> None:
    dear = replace(CACHED, model="bob", list_cost_usd=7.0)
    assert [group.key for group in summarise([ASK, dear], ["model"]).groups] == [("bob",), ("ada",)]


def test_two_dimensions_group_within_each_other() -> None:
    rest = [replace(ASK, dataset="facts", cost_usd=0.125), replace(ASK, model="bob", cost_usd=0.25), UNPRICED]
    groups = summarise([ASK, *rest], ["dataset", "model"]).groups
    assert [group.key for group in groups] == [("sums", "ada"), ("sums", "bob"), ("facts", "ada")]
    assert [group.totals.known_cost_usd for group in groups] == [0.5, 0.25, 0.125]
    assert groups[1].totals.unknown_price_calls == 1


def test_a_charge_without_a_data_set_is_a_group_of_its_own() -> None:
    groups = summarise([ASK, replace(ASK, dataset=None, cost_usd=2.0)], ["dataset"]).groups
    assert [group.key for group in groups] == [(None,), ("sums",)]


@given(
    charges=st.lists(
        st.sampled_from([ASK, CACHED, UNPRICED, CACHED_UNPRICED, REFUSED, TIMED_OUT, EMPTY, UNCOUNTED]), max_size=30
    ),
    by=st.lists(st.sampled_from(DIMENSIONS), unique=True, max_size=3),
)
def test_groups_together_are_the_total(charges: list[Charge], by: list[Dimension]) -> None:
    summary = summarise(charges, by)
    for name in ("calls", "cached_calls", "failed_calls", "prompt_tokens", "completion_tokens", "unknown_price_calls"):
        assert sum(getattr(group.totals, name) for group in summary.groups) == getattr(summary.total, name)
    parts = [group.totals.known_cost_usd for group in summary.groups]
    assert sum(parts) == pytest.approx(summary.total.known_cost_usd)
    assert (summary.total.cost_usd is None) == any(group.totals.cost_usd is None for group in summary.groups)
