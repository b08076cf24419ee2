"""The live pool over a real server, through the real LiteLLM."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError
from jisi_cli.models.call import CUT_OFF, CallEvent
from jisi_cli.models.limits import Budget, Limits, PerMinute, question_budget
from jisi_cli.models.live import Run, query_hash
from jisi_cli.models.worst_case import worst_case_of
from jisi_cli.types import Answer, Message, Request, Sampling
from tests.loopback import Fault, Loopback
from tests.models.asking import ask, ask_once, cache_in, entry, everything_written, ledger_in, pool, user

SHORT = Sampling(max_tokens=20)


def test_an_answer_carries_its_text_tokens_and_price(loopback: Loopback) -> None:
    loopback.script("a", text="it is four")
    answer = ask_once(pool(entry(loopback)))
    assert (answer.model, answer.text, answer.error) == ("a", "it is four", None)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.tokens_source) == (5, 3, "provider")
    assert answer.cost_usd == answer.list_cost_usd == pytest.approx(11e-6)
    assert (answer.price_source, answer.cached) == ("pool", False)
    assert answer.seconds > 0


def test_a_streamed_answer_arrives_piece_by_piece_and_is_the_same(loopback: Loopback) -> None:
    loopback.script("a", text="it is four")
    pieces: list[str] = []
    answer = ask_once(pool(entry(loopback)), on_text=pieces.append)
    assert pieces == ["it ", "is ", "four"]
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("it is four", 5, 3)


def test_the_pool_entry_decides_over_system_message_and_parameters(loopback: Loopback) -> None:
    loopback.script("a")
    asked = pool(entry(loopback, system="Be brief.", params={"temperature": 0.9, "seed": 7}))
    ask_once(asked, sampling=Sampling(temperature=0.1, top_p=0.5, max_tokens=64))
    body = loopback.requests[0].body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"] == "Be brief."
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["seed"]) == (0.9, 0.5, 64, 7)


def test_two_system_messages_become_one(loopback: Loopback) -> None:
    loopback.script("a")
    messages = [Message(role="system", content="In French."), *user("Hello")]

    async def talk() -> None:
        async with pool(entry(loopback, system="Be brief.")) as asked:
            await asked.ask(Request("a", messages, "expert"))

    asyncio.run(talk())
    sent = loopback.requests[0].body["messages"]
    assert [message["content"] for message in sent] == ["Be brief.\n\nIn French.", "Hello"]


def test_a_cached_answer_costs_nothing_and_says_what_it_would_have_cost(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", text="it is four")
    first = ask_once(pool(entry(loopback), cache=cache_in(tmp_path)))
    pieces: list[str] = []
    second = ask_once(pool(entry(loopback), cache=cache_in(tmp_path)), on_text=pieces.append)
    assert loopback.count() == 1
    assert (second.text, second.cached, second.cost_usd) == ("it is four", True, 0.0)
    assert second.list_cost_usd == first.cost_usd
    assert pieces == ["it is four"]


@pytest.mark.parametrize(
    "change",
    [
        {"sample": 1},
        {"sampling": Sampling(temperature=0.7)},
        {"question": "what is 2 + 3?"},
    ],
)
def test_another_question_sample_or_temperature_is_another_answer(
    loopback: Loopback, tmp_path: Path, change: dict[str, object]
) -> None:
    loopback.script("a", text="answer {number}")
    ask_once(pool(entry(loopback), cache=cache_in(tmp_path)))
    other = ask_once(pool(entry(loopback), cache=cache_in(tmp_path)), **change)
    assert (other.text, other.cached) == ("answer 2", False)


def test_without_the_cache_a_question_is_asked_again_and_the_new_answer_is_stored(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("a", text="answer {number}")
    cache = cache_in(tmp_path)
    ask_once(pool(entry(loopback), cache=cache))
    assert ask_once(pool(entry(loopback), cache=cache, use_cache=False)).text == "answer 2"
    assert ask_once(pool(entry(loopback), cache=cache)).text == "answer 2"


def test_what_must_not_be_stored_is_in_no_file(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", text="the word is xylophone")
    loopback.script("b", faults=[Fault("status", status=400, message="I dislike marimba")])
    question = "which instrument, if not a marimba?"
    asked = pool(
        entry(loopback),
        entry(loopback, "b"),
        cache=cache_in(tmp_path),
        ledger=ledger_in(tmp_path),
        store=False,
    )

    async def both() -> None:
        async with asked:
            await ask(asked, question)
            await asked.ask(Request("b", user(question), "probe"))

    asyncio.run(both())
    written = everything_written(tmp_path)
    assert b"xylophone" not in written
    assert b"marimba" not in written
    assert query_hash(question).encode() not in written
    rows = list(ledger_in(tmp_path).rows())
    assert [(row.model, row.completion_tokens) for row in rows] == [("a", 4), ("b", None)]


def test_a_call_is_booked_once_with_what_it_took(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", text="it is four", faults=[Fault("status", status=503)])
    run = Run(id="r1", command="ask")
    asked = pool(entry(loopback), cache=cache_in(tmp_path), ledger=ledger_in(tmp_path), run=run)

    async def twice() -> None:
        async with asked:
            await ask(asked, "2 + 2", dataset="sums")
            await ask(asked, "2 + 2", role="expert")

    asyncio.run(twice())
    paid, cached = ledger_in(tmp_path).rows()
    assert (paid.run, paid.command, paid.role, paid.model, paid.litellm) == (
        "r1",
        "ask",
        "probe",
        "a",
        "openai/a",
    )
    assert (paid.prompt_tokens, paid.completion_tokens, paid.attempts, paid.cached) == (3, 3, 2, False)
    assert (paid.dataset, paid.query_hash, paid.error) == ("sums", query_hash("2 + 2"), None)
    assert (cached.role, cached.cost_usd, cached.attempts, cached.cached) == ("expert", 0.0, 0, True)
    assert (cached.dataset, cached.list_cost_usd) == (None, paid.cost_usd)


def test_the_same_question_asked_at_once_is_one_call(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", text="it is four", delay=0.2)
    asked = pool(entry(loopback), ledger=ledger_in(tmp_path))

    async def crowd() -> list[float | None]:
        async with asked:
            answers = await asyncio.gather(*(ask(asked) for _ in range(5)))
        assert {answer.text for answer in answers} == {"it is four"}
        return sorted(answer.cost_usd or 0.0 for answer in answers)

    assert asyncio.run(crowd()) == [0.0, 0.0, 0.0, 0.0, pytest.approx(11e-6)]
    assert loopback.count() == 1
    assert sorted(row.attempts for row in ledger_in(tmp_path).rows()) == [0, 0, 0, 0, 1]


def test_a_call_goes_on_for_those_who_wait_when_the_one_who_began_it_goes_away(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("a", text="answer {number}")
    loopback.hold_after = 0
    run = Budget(1.0)
    asked = pool(entry(loopback), ledger=ledger_in(tmp_path), budget=run)
    own = Budget(0.5, "max_cost", above=run)

    async def limited() -> Answer:
        question_budget.set(own)
        return await ask(asked, sampling=SHORT)

    async def race() -> Answer:
        async with asked:
            first = asyncio.create_task(limited())
            while loopback.count() == 0:
                await asyncio.sleep(0.01)
            second = asyncio.create_task(ask(asked, sampling=SHORT))
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            loopback.hold_after = None
            return await second

    answer = asyncio.run(race())
    assert (answer.text, answer.cached, answer.cost_usd) == ("answer 1", True, 0.0)
    assert loopback.count() == 1
    # The question that began the call pays for it, within its own limit.
    paid, waited = ledger_in(tmp_path).rows()
    assert (paid.attempts, waited.attempts, waited.cost_usd) == (1, 0, 0.0)
    assert own.spent_usd == run.spent_usd == paid.cost_usd == pytest.approx(9e-6)


def test_who_goes_away_from_a_stream_hears_no_more_of_it_though_others_wait(loopback: Loopback) -> None:
    loopback.script("a", text="it is four", piece_delay=0.05)
    asked = pool(entry(loopback))
    others: list[str] = []

    async def race() -> str:
        async with asked:

            def hear(piece: str) -> None:
                assert not first.done(), "its event loop may have been closed"
                first.cancel()

            first = asyncio.create_task(ask(asked, on_text=hear))
            second = asyncio.create_task(ask(asked, on_text=others.append))
            with pytest.raises(asyncio.CancelledError):
                await first
            return (await second).text

    assert asyncio.run(race()) == "it is four"
    assert (loopback.count(), others) == (1, ["it is four"])


def test_a_call_that_is_cut_off_is_booked_and_not_kept(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", faults=[Fault("hang")])
    cache, ledger = cache_in(tmp_path), ledger_in(tmp_path)
    asked = pool(entry(loopback), cache=cache, ledger=ledger, limits=Limits(concurrency=1))

    async def cut_off() -> str:
        async with asked:
            questions = ("what is 2 + 2?", "never sent")
            calls = [asyncio.create_task(ask(asked, question, sampling=SHORT)) for question in questions]
            while loopback.count() == 0:
                await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            for call in calls:
                with pytest.raises(asyncio.CancelledError):
                    await call
            # Of the one that waited for its turn the provider knows nothing.
            (row,) = ledger.rows()
            assert (row.error, row.attempts, row.query_hash) == (CUT_OFF, 1, query_hash("what is 2 + 2?"))
            assert (row.cost_usd, row.prompt_tokens, row.completion_tokens, row.cached) == (None, None, None, False)
            # Though nothing limited this run, the limit of a day may count it later.
            assert row.most_cost_usd == await worst_case_of(entry(loopback), user(questions[0]), {"max_tokens": 20})
            return (await ask(asked)).text

    assert asyncio.run(cut_off()) == "an answer"
    assert loopback.count() == 2


def test_a_call_that_is_cut_off_between_two_attempts_says_what_the_first_met(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("a", faults=[Fault("status", status=503, retry_after=60, message="busy")])
    ledger, waiting = ledger_in(tmp_path), asyncio.Event()
    told = lambda event: waiting.set() if event.kind == "retry" else None  # noqa: E731
    asked = pool(entry(loopback), ledger=ledger, on_event=told)

    async def cut_off() -> None:
        async with asked:
            call = asyncio.create_task(ask(asked))
            await waiting.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(cut_off())
    (row,) = ledger.rows()
    # A refusal costs nothing, and that is known.
    assert (row.error, row.attempts, row.cost_usd) == (f"HTTP 503: busy; {CUT_OFF}", 1, 0.0)


def test_no_more_calls_are_out_than_the_limits_allow(loopback: Loopback) -> None:
    async def most(expected: int, limits: Limits, **fields: int) -> int:
        loopback.most_at_once = 0
        for model in ("a", "b"):
            # The delay gives one too many the time to come.
            loopback.script(model, together=expected, delay=0.05)
        async with pool(entry(loopback, **fields), entry(loopback, "b"), limits=limits) as asked:
            questions = [(model, f"question {n}") for n in range(8) for model in asked.models]
            await asyncio.gather(*(asked.ask(Request(m, user(q), "probe")) for m, q in questions))
        return loopback.most_at_once

    assert asyncio.run(most(3, Limits(concurrency=3))) == 3
    assert asyncio.run(most(4, Limits(concurrency=16, per_model=2))) == 4
    assert asyncio.run(most(3, Limits(concurrency=16, per_model=2), concurrency=1)) == 3


@pytest.mark.parametrize("rate", [PerMinute(requests=300), PerMinute(tokens=1800)], ids=["requests", "tokens"])
def test_calls_to_a_model_follow_each_other_as_slowly_as_its_rate_per_minute(
    loopback: Loopback, rate: PerMinute
) -> None:
    loopback.script("a", text="four words of answer")

    async def three_questions() -> float:
        async with pool(entry(loopback), limits=Limits(concurrency=1, per_minute={"a": rate})) as asked:
            began = time.time()
            await asyncio.gather(*(asked.ask(Request("a", user(f"is it {n}?"), "probe")) for n in range(3)))
        return began

    # How late a request comes in says nothing about when it was sent, so all are compared with the beginning.
    began = asyncio.run(three_questions())
    # 300 requests a minute are one in 0.2 s; 1800 tokens a minute are seven (a question, an answer) in 0.23 s.
    _, second, third = (request.time for request in loopback.requests)
    assert second - began >= 0.19
    assert third - began >= 0.39


@pytest.mark.parametrize("rate", [PerMinute(requests=1), PerMinute(tokens=1)], ids=["requests", "tokens"])
def test_a_model_that_must_wait_holds_up_no_other(loopback: Loopback, rate: PerMinute) -> None:
    loopback.script("a")
    loopback.script("b")

    async def ask_both() -> None:
        limits = Limits(concurrency=1, per_minute={"a": rate})
        async with pool(entry(loopback), entry(loopback, "b"), limits=limits) as asked:
            await asked.ask(Request("a", user("is it 0?"), "probe"))
            waiting = asyncio.create_task(asked.ask(Request("a", user("is it 1?"), "probe")))
            await asyncio.gather(*(asked.ask(Request("b", user(f"is it {n}?"), "probe")) for n in range(3)))
            assert not waiting.done()
            waiting.cancel()

    asyncio.run(ask_both())
    assert (loopback.count("a"), loopback.count("b")) == (1, 3)


def test_a_live_view_is_told_of_starts_and_retries(loopback: Loopback) -> None:
    loopback.script("a", faults=[Fault("status", status=503, message="busy")])
    events: list[CallEvent] = []
    ask_once(pool(entry(loopback), on_event=events.append))
    assert [(event.kind, event.attempt, event.reason) for event in events] == [
        ("started", 0, None),
        ("retry", 1, "HTTP 503: busy"),
    ]


def test_a_parameter_the_model_does_not_know_is_dropped_without_a_second_request(loopback: Loopback) -> None:
    loopback.script("gpt-5")
    answer = ask_once(pool(entry(loopback, "gpt-5")), sampling=Sampling(temperature=0.2))
    assert answer.ok
    assert loopback.count() == 1
    assert "temperature" not in loopback.requests[0].body
    dead = ModelEntry("gpt-5", "openai/gpt-5", api_base="http://no-such-host.invalid/v1")
    error = ask_once(pool(dead, max_retries=0)).error
    assert error is not None
    assert error.startswith("connection failed: ")
    assert "temperature" not in error


def test_a_model_that_is_not_in_the_pool_is_an_error_that_names_those_that_are(loopback: Loopback) -> None:
    asked = pool(entry(loopback))
    assert asked.can_answer(Request("a", user("?"), "probe"))
    assert not asked.can_answer(Request("b", user("?"), "probe"))
    with pytest.raises(InputError, match="no model `b`; its models are: a"):
        asyncio.run(asked.ask(Request("b", user("?"), "probe")))


@pytest.mark.parametrize(
    ("params", "name"), [({"num_retries": 5}, "num_retries"), ({"extra_body": {"n": 4}}, "n")], ids=["argument", "body"]
)
def test_the_pool_file_cannot_set_what_the_accounts_depend_on(params: dict[str, object], name: str) -> None:
    with pytest.raises(InputError, match=f"cannot set `{name}`"):
        pool(ModelEntry("a", "openai/a", params=params))
