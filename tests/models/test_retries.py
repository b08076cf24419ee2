"""Which failures are tried again, how often, and when: counted by the server."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.models.failure import is_transient, parse_retry_after
from jisi_cli.models.limits import Limits
from jisi_cli.models.retry import RetryPolicy
from jisi_cli.types import Request
from tests.loopback import Fault, Loopback, Raw
from tests.models.asking import ask_once, entry, pool, user

TRANSIENT = [
    Fault("status", status=408),
    Fault("status", status=429),
    Fault("status", status=500),
    Fault("status", status=502),
    Fault("status", status=503),
    Fault("status", status=529),
    Fault("reset"),
    Fault("truncated"),
    Fault("error_body", status=502),
]


def named(fault: Fault) -> str:
    return f"{fault.kind}-{fault.status}" if fault.kind == "status" else fault.kind


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", TRANSIENT, ids=named)
def test_a_transient_failure_is_tried_again_until_it_goes_well(
    loopback: Loopback, fault: Fault, streamed: bool
) -> None:
    loopback.script("a", text="it is four", faults=[fault, fault])
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert (answer.text, answer.error) == ("it is four", None)
    assert loopback.count() == 3


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("reply", "error", "most"),
    [
        (Raw(b"<html><title>Sign in</title></html>", kind="text/html"), "the answer is a web page: Sign in", 2),
        (Raw(b"", kind="application/json"), "the answer is not JSON that can be read", 2),
        (Raw({"choices": []}), "the answer has no choices", 2),
        (Raw(None), "the answer is JSON, but no answer of a model", 1),
        (Raw([]), "the answer is JSON, but no answer of a model", 1),
        (Raw({"error": "no such deployment"}), "no such deployment", 1),
        (
            Raw({"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}}),
            "Rate limit exceeded:",
            1,
        ),
    ],
    ids=["a page", "nothing", "no choices", "null", "a list", "an error", "a spent quota"],
)
def test_what_no_waiting_turns_into_an_answer_is_tried_again_once_at_most(
    loopback: Loopback, reply: Raw, error: str, most: int, streamed: bool
) -> None:
    loopback.script("a", raw=lambda body: reply)
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert answer.error is not None and answer.error.startswith(error)
    assert loopback.count() <= most


@pytest.mark.parametrize("retries", [0, 2])
def test_a_failure_that_lasts_is_tried_as_often_as_allowed_and_no_more(loopback: Loopback, retries: int) -> None:
    loopback.script("a", faults=[Fault("status", status=500, message="out of order")] * 9)
    answer = ask_once(pool(entry(loopback), max_retries=retries))
    assert answer.error == "HTTP 500: out of order"
    assert loopback.count() == retries + 1


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_request_or_key_that_is_refused_is_not_tried_again(loopback: Loopback, status: int, streamed: bool) -> None:
    loopback.script("a", faults=[Fault("status", status=status, message="I refuse")])
    answer = ask_once(pool(entry(loopback)), on_text=(lambda _: None) if streamed else None)
    assert answer.error is not None and answer.error.startswith(f"HTTP {status}: I refuse")
    assert answer.cost_usd == 0.0
    assert loopback.count() == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (429, "You exceeded your current quota (insufficient_quota)"),
        (429, "Rate limit exceeded: free-models-per-day. Add 10 credits"),
        (400, "Your request was rejected as a result of our safety system. content_policy_violation"),
    ],
)
def test_a_spent_quota_or_a_content_policy_is_not_tried_again(loopback: Loopback, status: int, message: str) -> None:
    loopback.script("a", faults=[Fault("status", status=status, message=message)])
    assert ask_once(pool(entry(loopback))).error == f"HTTP {status}: {message}"
    assert loopback.count() == 1


def test_a_hanging_server_is_left_after_the_time_limit_and_tried_again(loopback: Loopback) -> None:
    loopback.script("a", text="it is four", faults=[Fault("hang")])
    loopback.script("b")
    asked = pool(entry(loopback, "b"), entry(loopback, "a"), timeout=3.0)

    async def warm_then_ask() -> str:
        async with asked:
            # LiteLLM's first call takes seconds of its own.
            await asked.ask(Request("b", user("?"), "probe"))
            return (await asked.ask(Request("a", user("?"), "probe"))).text

    assert asyncio.run(warm_then_ask()) == "it is four"
    # On a slow machine the second attempt may take too long as well.
    assert loopback.count("a") >= 2


def test_a_server_that_keeps_hanging_is_said_to_have_given_no_answer_in_time(loopback: Loopback) -> None:
    loopback.script("a", faults=[Fault("hang")])
    answer = ask_once(pool(entry(loopback), timeout=0.5, max_retries=0))
    assert answer.error == "no answer within 0.5 s"
    assert answer.cost_usd is None


def test_a_stream_that_begins_again_says_so_before_its_first_piece(loopback: Loopback) -> None:
    loopback.script("a", text="it is four", faults=[Fault("truncated")])
    seen: list[str] = []
    asked = pool(entry(loopback), on_event=lambda event: seen.append(event.kind))
    answer = ask_once(asked, on_text=seen.append)
    assert seen == ["started", "it ", "retry", "it ", "is ", "four"]
    assert answer.text == "it is four"


def test_a_slow_first_token_is_waited_for(loopback: Loopback) -> None:
    loopback.script("a", text="it is four", faults=[Fault("slow", seconds=0.5)])
    assert ask_once(pool(entry(loopback)), on_text=lambda _: None).text == "it is four"
    assert loopback.count() == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_says_when_to_come_back_is_not_asked_before(loopback: Loopback, form: str) -> None:
    loopback.script("b")

    async def two_requests() -> tuple[float, float]:
        async with pool(entry(loopback), entry(loopback, "b")) as asked:
            await asked.ask(Request("b", user("?"), "probe"))
            # A date has whole seconds, so it is written as late as possible.
            soon = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
            wait = 1 if form == "seconds" else format_datetime(soon, usegmt=True)
            loopback.script("a", faults=[Fault("status", status=429, retry_after=wait)])
            await asked.ask(Request("a", user("?"), "probe"))
        first, second = (request.time for request in loopback.requests if request.model == "a")
        return second, first + 1 if form == "seconds" else soon.timestamp()

    asked_again, allowed = asyncio.run(two_requests())
    assert asked_again >= allowed - 0.1


def test_other_calls_to_a_model_that_said_later_wait_too(loopback: Loopback) -> None:
    loopback.script("a", faults=[Fault("status", status=429, retry_after=1)])

    async def three_questions() -> list[float]:
        async with pool(entry(loopback), limits=Limits(concurrency=1)) as asked:
            await asyncio.gather(*(asked.ask(Request("a", user(f"{n}?"), "probe")) for n in range(3)))
        return [request.time for request in loopback.requests]

    first, *rest = asyncio.run(three_questions())
    assert len(rest) == 3
    assert min(rest) - first >= 0.9


@given(retry=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_wait_of_our_own_choice_stays_below_the_doubling_bound_and_the_cap(retry: int, seed: int) -> None:
    policy = RetryPolicy(base=0.5, cap=30.0)
    wait = policy.delay(retry, None, random.Random(seed))
    assert 0 <= wait <= min(30.0, 0.5 * 2 ** (retry - 1))


@given(asked=st.floats(0, 1e9), retry=st.integers(1, 10))
def test_a_wait_the_provider_asks_for_is_kept_up_to_the_cap(asked: float, retry: int) -> None:
    policy = RetryPolicy(retry_after_cap=120.0)
    wait = policy.delay(retry, asked, random.Random(0))
    assert min(asked, 120.0) <= wait <= min(asked, 120.0) + 1.0


def test_a_wait_is_bounded_however_often_it_was_tried() -> None:
    policy = RetryPolicy(max_retries=5000, cap=30)
    assert 0 <= policy.delay(5000, None, random.Random(0)) <= 30


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert parse_retry_after("7", now) == 7
    assert parse_retry_after("0.5", now) == 0.5
    assert parse_retry_after("Thu, 01 Jan 2026 12:00:30 GMT", now) == 30
    assert parse_retry_after("Thu, 01 Jan 2026 11:00:00 GMT", now) == 0
    assert parse_retry_after("-3", now) == 0


@pytest.mark.parametrize("value", [None, "", "soon", "nan", "1 Jan 99999999999 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_none(value: str | None) -> None:
    assert parse_retry_after(value, datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_only_busy_or_broken_servers_are_transient() -> None:
    assert all(is_transient(status) for status in (408, 425, 429, 500, 502, 503, 504, 529))
    assert not any(is_transient(status) for status in (400, 401, 402, 403, 404, 405, 413, 422))
