"""Recorded answers through the pool's seam."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.models.replay import RecordedAnswer, ReplayPool
from jisi_cli.types import Answer, Message, Pool, Request
from tests.models.asking import user

VECTOR = np.array([0.6, 0.8])
RECORDED = {
    ("2 + 2?", "a"): RecordedAnswer("four", 4, 1, 0.25, vector=VECTOR),
    ("2 + 2?", "b"): RecordedAnswer("4"),
    ("3 + 3?", "b"): RecordedAnswer("", error="HTTP 500: out of order"),
    ("4 + 4?", "b"): RecordedAnswer(" "),
}


def replay(model: str, messages: list[Message], **options: Any) -> Answer:
    return asyncio.run(ReplayPool(RECORDED).ask(Request(model, messages, **{"role": "probe"} | options)))


def test_a_recorded_answer_comes_back_with_all_that_was_recorded() -> None:
    pieces: list[str] = []
    answer = replay("a", user("2 + 2?"), on_text=pieces.append)
    assert (answer.model, answer.text, answer.error, pieces) == ("a", "four", None, ["four"])
    assert (answer.prompt_tokens, answer.completion_tokens, answer.tokens_source) == (4, 1, "recorded")
    assert (answer.cost_usd, answer.list_cost_usd, answer.price_source) == (0.25, 0.25, "recorded")
    assert answer.vector is VECTOR


def test_what_was_not_recorded_of_an_answer_stays_unknown() -> None:
    answer = replay("b", user("2 + 2?"))
    assert answer.ok
    assert (answer.prompt_tokens, answer.completion_tokens, answer.tokens_source) == (None, None, None)
    assert (answer.cost_usd, answer.price_source, answer.vector) == (None, None, None)


@pytest.mark.parametrize(
    ("messages", "options"),
    [
        (user("2+2?"), {}),
        (user("2 + 2?"), {"sample": 1}),
        ([Message(role="system", content="Be brief."), *user("2 + 2?")], {}),
        ([*user("2 + 2?"), *user("2 + 2?")], {}),
        ([], {}),
    ],
    ids=["another question", "another sample", "a system message", "a longer talk", "nothing"],
)
def test_a_call_that_was_not_recorded_is_never_approximated(messages: list[Message], options: dict[str, Any]) -> None:
    answer = replay("a", messages, **options)
    assert (answer.text, answer.error) == ("", ReplayPool.NOT_RECORDED)
    assert answer.cost_usd is None


def test_a_recorded_failure_is_a_failure_again() -> None:
    assert replay("b", user("3 + 3?")).error == "HTTP 500: out of order"
    assert replay("b", user("4 + 4?")).error == "the model returned no text"


def test_a_replay_knows_what_it_can_answer() -> None:
    recorded: Pool = ReplayPool(RECORDED)
    assert list(recorded.models) == ["a", "b"]
    assert recorded.can_answer(Request("a", user("2 + 2?"), "probe"))
    assert not recorded.can_answer(Request("a", user("3 + 3?"), "probe"))
    assert not recorded.can_answer(Request("b", user("3 + 3?"), "probe"))
    assert not recorded.can_answer(Request("b", user("4 + 4?"), "probe"))
    assert not recorded.can_answer(Request("c", user("2 + 2?"), "probe"))


def test_a_model_of_which_nothing_is_recorded_is_an_error() -> None:
    with pytest.raises(InputError, match="no answers of a model `c` are recorded; recorded are: a, b"):
        replay("c", user("2 + 2?"))
