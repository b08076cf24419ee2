"""Clients that people use, against a real server in front of real HTTP: openai, LiteLLM, and bare requests."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from jisi_cli.models.ledger import Ledger
from jisi_cli.models.live import query_hash
from tests.cli.commands import ROOT, jisi
from tests.loopback import Fault
from tests.serve.running import Running, serving


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("serve")) as found:
        yield found


@pytest.fixture
def client(running: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=running.api, api_key="any", max_retries=0)


def asked(question: str) -> list[Any]:
    return [{"role": "user", "content": question}]


def test_openais_client_gets_an_answer_with_all_that_led_to_it(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(model="jisi", messages=asked("What is 1 plus 1?"))
    assert found.choices[0].message.content == "ada says so" == f"{found.model} says so"
    assert found.choices[0].finish_reason == "stop"
    told = found.model_extra["jisi"]
    assert told["mode"] in ("route", "aggregate")
    assert told["candidates"] == ["ada", "bob", "cyd"]
    assert {call["model"] for call in told["calls"]} >= {"ada", "bob", "cyd"}
    assert told["cost_usd"] > 0
    assert found.usage is not None and found.usage.total_tokens > 0


def test_openais_newer_api_is_refused_with_what_to_ask_instead(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"there is no /v1/responses; ask by POST /v1/chat/completions"):
        client.responses.create(model="jisi", input="What is 1 plus 1?")


def test_the_answer_is_that_of_ask_bit_for_bit(running: Running, client: openai.OpenAI) -> None:
    question = "What is 2 plus 5, and why?"
    served = client.chat.completions.create(model="jisi", messages=asked(question))
    run = jisi("ask", question, "--bank", running.home / "bank", "--config", running.home / "jisi.toml", "--json")
    told = served.model_extra["jisi"]
    assert run.json["answer"] == served.choices[0].message.content
    assert (run.json["mode"], run.json["reason"]) == (told["mode"], told["reason"])
    assert run.json["decision"]["candidates"] == told["candidates"]


def test_a_stream_has_the_same_words_and_ends_with_what_it_used(client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    pieces = list(
        client.chat.completions.create(
            model="jisi-query", messages=asked("What is 3 plus 3?"), stream=True, stream_options=options
        )
    )
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == "ada says so"
    assert len(pieces) > 2, "it came at once"
    assert pieces[0].choices[0].delta.role == "assistant"
    assert {piece.model for piece in pieces} == {"ada"}
    assert pieces[-2].choices[0].finish_reason == "stop"
    assert pieces[-1].usage is not None and pieces[-1].usage.completion_tokens > 0


def test_readmes_example_runs(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"^```python\n(import openai\n.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    exec(compile(source.replace("http://127.0.0.1:8484", running.url), "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("ada says so ")


def test_the_asynchronous_client_gets_both(running: Running) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=running.api, api_key="any") as client:
            whole = await client.chat.completions.create(model="jisi", messages=asked("What is 4 plus 4?"))
            stream = await client.chat.completions.create(
                model="jisi", messages=asked("What is 4 plus 4?"), stream=True
            )
            text = "".join([piece.choices[0].delta.content or "" async for piece in stream if piece.choices])
            return whole.choices[0].message.content or "", text

    whole, streamed = asyncio.run(ask())
    assert whole == streamed == "ada says so"


def test_litellm_reaches_it_as_any_other_endpoint(running: Running) -> None:
    import litellm

    found: Any = litellm.completion(
        model="openai/jisi", api_base=running.api, api_key="any", messages=asked("What is 5 plus 5?")
    )
    assert found.choices[0].message.content == "ada says so"


def test_a_model_of_the_pool_and_a_method_can_be_asked_by_name(running: Running, client: openai.OpenAI) -> None:
    before = running.upstream.count()
    found = client.chat.completions.create(model="dee", messages=asked("What is 6 plus 6?"))
    assert (found.model, found.choices[0].message.content) == ("dee", "dee says so")
    assert running.upstream.count() == before + 1
    voted = client.chat.completions.create(model="jisi-vote", messages=asked("What is 6 plus 6?"))
    assert voted.model_extra["jisi"]["mode"] in ("consensus", "fallback", "route")
    names = [model.id for model in client.models.list()]
    assert names[0] == "jisi" and {"jisi-cascade", "moa", "ada"} <= set(names)
    assert client.models.retrieve("ada").id == "ada"


def test_a_conversation_reaches_the_models_whole_and_is_routed_by_its_last_turn(
    running: Running, client: openai.OpenAI
) -> None:
    talk: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 7 plus 10?"},
        {"role": "assistant", "content": "17"},
        {"role": "user", "content": "and minus 3?"},
    ]
    client.chat.completions.create(model="best-single", messages=talk)
    assert running.upstream.requests[-1].body["messages"] == talk


def test_one_request_changes_settings_of_its_own(client: openai.OpenAI) -> None:
    def candidates(**extra: Any) -> list[str]:
        found = client.chat.completions.create(
            model="jisi", messages=asked("What is 8 plus 8?"), extra_body={"jisi": extra}
        )
        return list(found.model_extra["jisi"]["candidates"])

    assert candidates(k=2) == ["ada", "bob"]
    assert candidates() == ["ada", "bob", "cyd"]


def test_a_decision_is_that_of_route(running: Running) -> None:
    before = running.upstream.count()
    found = running.post("/v1/route", {"query": "What is 9 plus 9?"})
    assert found.status_code == 200
    assert found.json()["candidates"] == ["ada", "bob", "cyd"]
    assert running.upstream.count() == before


def test_figures_are_in_headers_and_metrics_too(running: Running) -> None:
    found = running.chat("What is 10 plus 10?")
    assert found.headers["x-jisi-candidates"] == "ada,bob,cyd"
    assert float(found.headers["x-jisi-cost-usd"]) > 0
    metrics = running.get("/metrics").text
    assert 'jisi_calls_total{model="ada",result="answered",role="probe"}' in metrics
    assert "jisi_running 0.0" in metrics


def test_a_stream_is_counted_when_it_has_ended(running: Running) -> None:
    def streams() -> tuple[float, float]:
        text = running.get("/metrics").text
        count, total = (
            re.search(rf"^jisi_request_seconds_{name} (\S+)", text, re.MULTILINE) for name in ("count", "sum")
        )
        assert count is not None and total is not None
        return float(count[1]), float(total[1])

    scripts = dict(running.upstream.scripts)
    try:
        running.upstream.script("ada", text="one two three four", piece_delay=0.2)
        count, total = streams()
        assert running.chat("What is 17 plus 17?", model="ada", stream=True).status_code == 200
        assert streams()[0] == count + 1
        assert streams()[1] - total > 0.5
    finally:
        running.upstream.scripts.update(scripts)


def test_a_dead_model_costs_its_answer_alone_and_a_dead_pool_says_why(running: Running) -> None:
    scripts = dict(running.upstream.scripts)
    try:
        running.upstream.script("ada", every=1, every_fault=Fault("status", status=500))
        found = running.chat("What is 11 plus 11?").json()
        assert found["choices"][0]["message"]["content"]
        assert [call["model"] for call in found["jisi"]["calls"] if call["error"]] == ["ada"]
        for model in scripts:
            running.upstream.script(model, every=1, every_fault=Fault("status", status=500))
        dead = running.chat("What is 12 plus 12?")
        assert (dead.status_code, dead.json()["error"]["code"]) == (503, "no_answer")
        assert "ada" in dead.json()["error"]["message"]
        streamed = running.chat("What is 13 plus 13?", stream=True)
        assert streamed.status_code == 503
    finally:
        running.upstream.scripts.update(scripts)


def test_two_hundred_at_once_lose_none_and_cost_what_the_ledger_says(running: Running) -> None:
    def ask(number: int) -> dict[str, Any]:
        found = running.chat(f"What is {number} plus {number * 7}, please?", model="jisi-router")
        assert found.status_code == 200, found.text
        return found.json()

    with ThreadPoolExecutor(200) as threads:
        answers = list(threads.map(ask, range(200)))
    assert all(answer["choices"][0]["message"]["content"] == "ada says so" for answer in answers)
    assert len({answer["id"] for answer in answers}) == 200
    told = sum(answer["jisi"]["cost_usd"] for answer in answers)
    assert told == pytest.approx(_booked(running.home, "please?"), rel=1e-9)


def _booked(home: Path, ending: str) -> float:
    """Return the dollars that the ledger has for the two hundred questions."""
    hashes = {query_hash(f"What is {n} plus {n * 7}, {ending}") for n in range(200)}
    ledger = Ledger(home / "data" / "ledger" / "calls.sqlite", warn=pytest.fail)
    return sum(row.cost_usd or 0.0 for row in ledger.rows() if row.query_hash in hashes)


def test_a_client_that_goes_away_cancels_what_is_out_for_it(running: Running) -> None:
    scripts = dict(running.upstream.scripts)
    try:
        for model in scripts:
            running.upstream.script(model, text="late", delay=600)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{running.api}/chat/completions",
                json={"messages": asked("What is 14 plus 14?")},
                timeout=httpx.Timeout(10, read=1),
            )
        while "jisi_running 0.0" not in running.get("/metrics").text:
            time.sleep(0.01)
    finally:
        running.upstream.scripts.update(scripts)


def test_a_pool_without_a_bank_is_served_in_its_order(tmp_path: Path) -> None:
    with serving(tmp_path, bank=False) as running:
        found = running.chat("What is 15 plus 15?").json()
        assert found["choices"][0]["message"]["content"] == "ada says so"
        assert found["jisi"]["candidates"] == ["ada", "bob", "cyd"]
        assert running.chat("What is 16 plus 16?", model="dee").json()["model"] == "dee"
        assert running.chat("What is 16 plus 16?", model="jisi-vote").status_code == 404
        # Nothing is known of the models there, which is null in JSON and not NaN.
        routed = running.post("/v1/route", {"query": "What is 15 plus 15?"}).json()
        assert routed["threshold"] is None and routed["models"][0]["coarse_score"] is None
        explained = running.chat("What is 15 plus 15?", jisi={"explain": True}).json()
        assert explained["jisi"]["decision"]["threshold"] is None
        assert "NaN" not in running.chat("What is 15 plus 15?", jisi={"explain": True}, stream=True).text


def test_tokens_that_a_provider_had_in_its_cache_are_told(running: Running, client: openai.OpenAI) -> None:
    scripts = dict(running.upstream.scripts)
    try:
        usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 64}}
        running.upstream.script("ada", usage={**usage, "total_tokens": 105})
        found = client.chat.completions.create(model="ada", messages=asked("What is 18 plus 18?"))
        assert found.usage is not None and found.usage.prompt_tokens_details is not None
        assert found.usage.prompt_tokens_details.cached_tokens == 64
    finally:
        running.upstream.scripts.update(scripts)
