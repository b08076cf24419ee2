"""The comparison of the paper's Table 2, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from jisi_cli.costs.bills import Charge
from jisi_cli.costs.savings import Reference, Saving, compare, own_tokens
from jisi_cli.types import CallRecord


def charge(work: str | None, role: str, tokens: tuple[int, int] | None = (10, 20), **fields: object) -> Charge:
    """A call of the question `work` at a dollar."""
    prompt, completion = tokens or (None, None)
    known = {"cost_usd": 1.0, "list_cost_usd": 1.0, "question": None if work is None else f"hash of {work}"}
    base = Charge(run=work or "r", command="ask", role="probe", model="ada", work=work, **known)  # type: ignore[arg-type]
    return replace(base, role=role, prompt_tokens=prompt, completion_tokens=completion, **fields)  # type: ignore[arg-type]


def reference(recorded: Mapping[str, CallRecord] | None = None, *, priced: bool = True) -> Reference:
    """A model at 0.1 dollars a token of the prompt and 1 dollar a token of the response."""

    def price(prompt: int, completion: int) -> float | None:
        return 0.1 * prompt + completion if priced else None

    return Reference("big", price, recorded or {})


AGGREGATED = [
    charge("q", "probe", (10, 20)),
    charge("q", "probe", (12, 40)),
    charge("q", "aggregator", (100, 8)),
]


def test_a_question_costs_all_its_calls_and_the_reference_one_answer_of_the_same_length() -> None:
    total = compare(AGGREGATED, reference()).total
    # Eleven tokens of the bare question, eight of the aggregator's answer.
    assert total == Saving(
        questions=1,
        recorded_questions=0,
        own_token_questions=1,
        left_out={},
        cost_usd=3.0,
        reference_cost_usd=pytest.approx(1.1 + 8),
    )
    assert total.saving == pytest.approx(1 - 3 / 9.1)


def test_recorded_tokens_of_the_reference_come_before_those_of_the_work() -> None:
    recorded = {"hash of q": CallRecord("big", prompt_tokens=50, completion_tokens=5, cost_usd=777.0)}
    total = compare(AGGREGATED, reference(recorded)).total
    assert (total.recorded_questions, total.own_token_questions) == (1, 0)
    assert total.reference_cost_usd == pytest.approx(10)
    # Where nobody knows a price, the dollars that were recorded count.
    assert compare(AGGREGATED, reference(recorded, priced=False)).total.reference_cost_usd == 777.0


def test_tokens_that_were_not_recorded_leave_the_recorded_dollars() -> None:
    recorded = {"hash of q": CallRecord("big", completion_tokens=5, cost_usd=6.0)}
    assert compare(AGGREGATED, reference(recorded)).total.reference_cost_usd == 6.0


def test_the_call_that_is_marked_as_the_answer_gives_its_length() -> None:
    calls = [charge("q", "probe", (10, 20)), charge("q", "probe", (10, 40), is_answer=True)]
    assert own_tokens(calls) == (10, 40)


def test_where_nobody_knows_who_answered_the_mean_response_counts() -> None:
    assert own_tokens([charge("q", "probe", (10, 20)), charge("q", "expert", (10, 41))]) == (10, 30)


def test_the_embedder_and_the_judge_cost_but_give_no_length() -> None:
    calls = [charge("q", "probe", (10, 20)), charge("q", "embedding", (7, 0)), charge("q", "judge", (900, 3))]
    assert own_tokens(calls) == (10, 20)
    assert compare(calls, reference()).total.cost_usd == 3.0


def test_a_failure_costs_what_was_paid_for_it() -> None:
    paid = charge("q", "probe", None, error="HTTP 500", list_cost_usd=None, cost_usd=0.25)
    assert compare([paid, charge("q", "probe")], reference()).total.cost_usd == 1.25


def test_a_cached_call_counts_at_its_list_price() -> None:
    cached = [charge("q", "probe", cached=True, cost_usd=0.0)]
    assert compare(cached, reference()).total.cost_usd == 1.0


@pytest.mark.parametrize(
    ("calls", "priced", "reason"),
    [
        ([charge("q", "probe", error="HTTP 500")], True, "no model answered"),
        ([charge("q", "probe", error="HTTP 500"), charge("q", "embedding", (7, 0))], True, "no model answered"),
        ([charge("q", "probe", list_cost_usd=None)], True, "the cost of a call is unknown"),
        ([charge("q", "probe"), charge("q", "embedding", list_cost_usd=None)], True, "the cost of a call is unknown"),
        (
            [charge("q", "probe", error="HTTP 500", cost_usd=None), charge("q", "probe")],
            True,
            "the cost of a call is unknown",
        ),
        ([charge("q", "probe", None)], True, "the tokens of the answer are unknown"),
        ([charge("q", "probe")], False, "no price is known for big"),
    ],
)
def test_a_question_that_cannot_be_compared_is_left_out_and_says_why(
    calls: list[Charge], priced: bool, reason: str
) -> None:
    total = compare(calls, reference(priced=priced)).total
    assert (total.questions, total.left_out) == (0, {reason: 1})
    assert total.saving is None


def test_calls_that_answer_no_question_are_counted_by_command() -> None:
    others = [charge(None, "expert", command="bank build"), charge(None, "probe", command="eval")]
    found = compare([*others, *AGGREGATED], reference())
    assert found.other_calls == {"bank build": 1, "eval": 1}
    assert found.total.questions == 1


def test_groups_are_by_what_all_calls_of_a_question_share() -> None:
    first = [replace(call, dataset="sums") for call in AGGREGATED]
    second = [replace(call, dataset="facts", work="p", question=None) for call in AGGREGATED[:1]]
    found = compare([*first, *second], reference(), ["dataset"])
    assert {key: saving.cost_usd for key, saving in found.groups.items()} == {("sums",): 3.0, ("facts",): 1.0}
    # The calls of one question differ in model, so that a model has no saving of its own.
    by_model = compare([*first, *second], reference(), ["dataset", "model"])
    assert (by_model.by, by_model.groups) == ((), {})
    assert by_model.total == found.total
