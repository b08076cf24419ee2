"""Batches at Azure, at Anthropic and at the Gemini API: as at OpenAI, whatever is otherwise there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.addresses import Address
from jisi_cli.config import ModelEntry
from jisi_cli.errors import NoAnswerError
from jisi_cli.models.batch.journal import BatchJournal
from jisi_cli.models.batch.terms import batch_share
from jisi_cli.models.limits import Budget
from jisi_cli.types import Sampling
from tests.batch_desk import BatchDesk
from tests.google_desk import TOKEN, service_account
from tests.loopback import Fault, Loopback
from tests.models.asking import ask_once, pool
from tests.models.test_batches import HALF, Lab, left_alone, questions

KEY = "a-key-of-the-lab"
CLAUDE = "claude-haiku-4-5"
GEMINI = "gemini-2.5-flash"


def azure(server: Loopback, **fields: Any) -> ModelEntry:
    address = f"http://127.0.0.1:{server.port}"
    return ModelEntry("a", "azure/a", **{"api_base": address, "api_key_env": "LAB_KEY", "price": HALF, **fields})


def anthropic(server: Loopback, **fields: Any) -> ModelEntry:
    address = f"http://127.0.0.1:{server.port}"
    return ModelEntry(
        "a", f"anthropic/{CLAUDE}", **{"api_base": address, "api_key_env": "LAB_KEY", "price": HALF, **fields}
    )


def vertex(server: Loopback, model: str = GEMINI, **fields: Any) -> ModelEntry:
    store = Address("gs", "a-bucket", "batches/of mine")
    params = {"vertex_location": "us-central1"}
    return ModelEntry("a", f"vertex_ai/{model}", **{"price": HALF, "batch_store": store, "params": params, **fields})


def gemini(server: Loopback, **fields: Any) -> ModelEntry:
    address = f"http://127.0.0.1:{server.port}/v1beta"
    return ModelEntry(
        "a", f"gemini/{GEMINI}", **{"api_base": address, "api_key_env": "LAB_KEY", "price": HALF, **fields}
    )


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)


@pytest.fixture
def at_azure(loopback: Loopback, tmp_path: Path) -> Lab:
    loopback.script("a", text="four words of answer")
    return Lab(loopback, tmp_path, azure(loopback))


@pytest.fixture
def at_anthropic(loopback: Loopback, tmp_path: Path) -> Lab:
    loopback.script(CLAUDE, text="four words of answer")
    return Lab(loopback, tmp_path, anthropic(loopback))


@pytest.fixture
def at_gemini(loopback: Loopback, tmp_path: Path) -> Lab:
    loopback.script(GEMINI, text="four words of answer")
    return Lab(loopback, tmp_path, gemini(loopback))


def at_vertex(server: Loopback, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the environment lead Vertex AI, its buckets and its tokens to a server."""
    pytest.importorskip("google.auth")
    address = server.api_base.removesuffix("/v1")
    for name in ("VERTEXAI_API_BASE", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(name, address)
    monkeypatch.setenv("VERTEXAI_CREDENTIALS", str(service_account(folder, address)))


@pytest.fixture(params=["azure", "anthropic", "gemini", "vertex_ai"])
def lab(request: pytest.FixtureRequest, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    if request.param == "vertex_ai":
        at_vertex(loopback, tmp_path, monkeypatch)
    for model in ("a", CLAUDE, GEMINI):
        loopback.script(model, text="four words of answer")
    make = {"azure": azure, "anthropic": anthropic, "gemini": gemini, "vertex_ai": vertex}[request.param]
    return Lab(loopback, tmp_path, make(loopback))


def desk(lab: Lab) -> BatchDesk:
    server = lab.server
    desks = {"azure": server.batches, "anthropic": server.message_batches, "gemini": server.gemini_batches}
    desks["vertex_ai"] = server.vertex_batches
    return desks[lab.models[0].litellm.partition("/")[0]]


def test_each_request_is_submitted_once_answered_and_billed_at_half_price(lab: Lab) -> None:
    fetched = lab.run()
    assert [answer.text for answer in fetched.answers.values()] == ["four words of answer"] * 3
    assert list(desk(lab).asked().values()) == [1, 1, 1]
    assert lab.server.count() == 0, "no call was made live"
    assert lab.paid() > 0
    assert sum(row.list_cost_usd for row in lab.rows()) == pytest.approx(2 * lab.paid())
    assert lab.warned == []
    assert lab.run().answers == {}, "they are kept under the keys of live calls"
    assert ask_once(lab.pool(), "question 1", role="expert", sampling=Sampling(max_tokens=20)).cached


@pytest.mark.parametrize("params", [{}, {"stop": ["x"]}])
def test_a_row_is_the_request_that_the_live_path_sends(lab: Lab, params: dict[str, Any]) -> None:
    lab.models = (replace(lab.models[0], params={**lab.models[0].params, **params}, system="Be short."),)
    lab.run(2)
    ask_once(pool(*lab.models), "question 1", role="expert", sampling=Sampling(max_tokens=20))
    (live,) = lab.server.requests
    # Those of Vertex AI say which request it is, of which it has nothing else to tell.
    body = {name: value for name, value in desk(lab).batches[0].rows[1]["body"].items() if name != "labels"}
    assert body == live.body


def test_the_key_goes_where_live_calls_send_it_and_in_the_same_header(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_ORG_ID", "AZURE_OPENAI_AD_TOKEN"):
        monkeypatch.setenv(name, "a-secret-of-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: a-secret-of-mine")
    assert len(lab.run().answers) == 3
    ask_once(pool(*lab.models), "another question", role="expert", sampling=Sampling(max_tokens=20))
    (live,) = lab.server.requests
    secret = TOKEN if lab.models[0].litellm.startswith("vertex_ai") else KEY
    told = {name: value for name, value in live.headers.items() if secret in value}
    assert len(told) == 1
    asked = [headers for headers in desk(lab).headers if not headers["user-agent"].startswith("python-requests")]
    assert len(asked) >= 4
    for headers in asked:
        assert {name: value for name, value in headers.items() if secret in value} == told
        assert [name for name, value in headers.items() if "a-secret-of-mine" in value] == []


def test_rows_that_failed_are_submitted_again_alone(lab: Lab) -> None:
    faults = (None, Fault("status", status=500), Fault("status", status=429))
    for model in ("a", CLAUDE, GEMINI):
        lab.server.script(model, text="4", faults=faults)
    fetched = lab.run()
    assert all(answer.ok for answer in fetched.answers.values())
    assert [len(batch.rows) for batch in desk(lab).batches] == [3, 2]
    assert [row.attempts for row in lab.rows()] == [1, 2, 2]


def test_what_an_expired_batch_has_finished_is_kept_and_the_rest_submitted_again(lab: Lab) -> None:
    # The Gemini API has no results of a batch that expired.
    desk(lab).ends, desk(lab).finished, kept = ["expired"], 1, 0 if lab.models[0].litellm.startswith("gemini") else 1
    assert all(answer.ok for answer in lab.run().answers.values())
    assert [len(batch.rows) for batch in desk(lab).batches] == [3, 3 - kept]
    again = f"(expired): {kept} of 3 requests answered, {3 - kept} to be submitted again"
    assert any(again in line for line in lab.told)
    assert sum(row.list_cost_usd for row in lab.rows()) == pytest.approx(2 * lab.paid())


def test_what_was_cancelled_is_neither_asked_again_nor_recorded_as_failed(lab: Lab) -> None:
    desk(lab).ends, desk(lab).finished = ["cancelled"], 1
    fetched = lab.run()
    assert (len(fetched.answers), len(fetched.unasked)) == (1, 2)
    assert len(lab.rows()) == 1
    assert "was cancelled" in lab.warned[0]
    assert len(lab.run().answers) == 2, "a later run asks what is left"


def test_a_batch_whose_name_did_not_arrive_is_found_again(lab: Lab) -> None:
    desk(lab).unheard["POST batches"] = 1
    assert len(lab.run().answers) == 3
    assert list(desk(lab).asked().values()) == [1, 1, 1]
    assert len(lab.rows()) == 3


def test_a_parameter_that_a_model_refuses_is_left_out_of_the_next_batch(lab: Lab) -> None:
    def has(body: dict[str, Any]) -> bool:
        return "temperature" in body or "temperature" in body.get("generationConfig", ())

    def answer(body: dict[str, Any]) -> Any:
        from tests.loopback import Raw

        words = "Unsupported parameter: 'temperature' is not supported with this model."
        return Raw({"error": {"message": words, "param": "temperature"}}, 400) if has(body) else None

    for model in ("a", CLAUDE, GEMINI):
        lab.server.script(model, text="4", raw=answer)
    assert all(answer.ok for answer in lab.run().answers.values())
    first, second = ([has(row["body"]) for row in batch.rows] for batch in desk(lab).batches)
    assert (first, second) == ([True] * 3, [False] * 3)


def test_a_provider_that_has_no_time_is_asked_again_and_one_that_refuses_is_not(lab: Lab) -> None:
    desk(lab).busy.update({"POST batches": 1, "GET batches/id": 1, "GET batches/content": 1, "GET files/content": 1})
    assert len(lab.run().answers) == 3
    assert list(desk(lab).asked().values()) == [1, 1, 1]
    desk(lab).refused = {"POST batches"}
    desk(lab).requests.clear()
    assert len(lab.run(4).unasked) == 1
    assert "HTTP 403: not yours" in lab.warned[-1]
    assert desk(lab).requests["POST batches"] == 1


def test_a_batch_that_the_provider_has_no_more_ends_a_run(lab: Lab) -> None:
    left_alone(lab, "GET batches/id", desk(lab))
    desk(lab).hidden = {desk(lab).batches[0].id}
    fetched = lab.run()
    assert (len(fetched.answers), len(fetched.unasked)) == (0, 3)
    assert "is gone, and with it the results" in lab.warned[-1]


def test_azures_later_addresses_have_their_own_key_header_and_rows(at_azure: Lab) -> None:
    v1 = f"http://127.0.0.1:{at_azure.server.port}/openai/v1/"
    at_azure.models = (azure(at_azure.server, api_base=v1, params={"api_version": "preview"}),)
    assert len(at_azure.run().answers) == 3
    assert {headers.get("authorization") for headers in at_azure.server.batches.headers} == {f"Bearer {KEY}"}
    assert {row["url"] for row in at_azure.server.batches.batches[0].rows} == {"/v1/chat/completions"}


def test_azure_is_waited_for_until_it_has_read_the_file(at_azure: Lab) -> None:
    at_azure.server.batches.reading = 3
    assert len(at_azure.run().answers) == 3
    assert at_azure.server.batches.requests["GET files/id"] == 3
    assert at_azure.server.batches.requests["POST batches"] == 1


def strangers(lab: Lab, count: int, requests: int = 3, looks: int = 0) -> None:
    """Create batches of somebody else, with as many requests as ours, which end after so many looks."""
    desk, rows = lab.server.message_batches, [{"custom_id": f"theirs {n}", "params": {}} for n in range(requests)]
    usual, desk.looks = desk.looks, looks
    for _ in range(count):
        desk._create_of(rows)
    desk.looks = usual


def interrupt(lab: Lab, monkeypatch: pytest.MonkeyPatch, *, is_created: bool = True) -> None:
    """End a run when the line breaks while a batch is created, and stays broken."""
    desk, handle = lab.server.message_batches, lab.server.message_batches.handle

    def deaf(method: str, path: str, kind: str, body: bytes) -> Any:
        if method == "POST" and is_created and not desk.requests["POST batches"]:
            handle(method, path, kind, body)
        desk.requests["POST batches"] += method == "POST" and not is_created
        return None if desk.requests["POST batches"] else handle(method, path, kind, body)

    monkeypatch.setattr(desk, "handle", deaf)
    with pytest.raises(NoAnswerError, match="submits nothing twice"):
        lab.run(retries=0)
    monkeypatch.setattr(desk, "handle", handle)


def test_a_batch_is_found_at_anthropic_among_others_of_as_many_requests(
    at_anthropic: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, desk = at_anthropic, at_anthropic.server.message_batches
    strangers(lab, 3)
    interrupt(lab, monkeypatch)
    strangers(lab, 1)
    strangers(lab, 1, looks=3)
    strangers(lab, 11, requests=4)
    assert len(lab.run().answers) == 3
    assert desk.requests["POST batches"] == 1
    assert len(lab.rows()) == 3


def test_what_anthropic_never_had_is_submitted_when_all_that_it_might_be_has_ended(
    at_anthropic: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, desk, budget = at_anthropic, at_anthropic.server.message_batches, Budget(10.0)
    interrupt(lab, monkeypatch, is_created=False)
    strangers(lab, 2, looks=2)
    assert len(lab.run(budget=budget).answers) == 3
    assert any("as far as can be known before it ends" in line for line in lab.told)
    assert any("is not the batch that was interrupted" in line for line in lab.told)
    assert desk.requests["POST batches"] == 2
    assert budget.spent_usd == pytest.approx(lab.paid())
    assert desk.deleted == ["msgbatch_3"], "ours, and nobody else's"


def test_what_one_run_has_found_to_be_ours_another_does_not_submit_again(
    at_anthropic: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, desk = at_anthropic, at_anthropic.server.message_batches
    desk.looks = 4
    interrupt(lab, monkeypatch)

    async def both() -> None:
        runs = [asyncio.create_task(lab.fetch(some)) for some in (questions(3)[:2], questions(3)[1:])]
        while sum("as far as can be known" in line for line in lab.told) < len(runs):
            await asyncio.sleep(0.01)
        desk.held.clear()
        await asyncio.gather(*runs)

    desk.held = {"GET batches/id"}
    asyncio.run(both())
    assert desk.requests["POST batches"] == 1
    assert [row.error for row in lab.rows()] == [None] * 3


def test_results_at_anthropic_are_fetched_beside_the_batch_wherever_it_says_that_they_are(at_anthropic: Lab) -> None:
    assert len(at_anthropic.run().answers) == 3
    assert at_anthropic.server.message_batches.requests["GET batches/content"] == 1


def test_money_for_a_batch_that_may_be_there_is_counted_at_its_most(
    at_anthropic: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = at_anthropic
    interrupt(lab, monkeypatch)
    journal = BatchJournal(lab.folder / "batches")
    assert journal.promised_usd(datetime.now(UTC) - timedelta(hours=1)) > 3 * 20 * 0.001


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "address", "share"),
    [
        (f"anthropic/{CLAUDE}", None, 0.5),
        (CLAUDE, None, 0.5),
        ("anthropic/claude-of-tomorrow", None, 0.5),
        (f"anthropic/{CLAUDE}", "https://gateway.example", None),
        ("azure/my-deployment", "https://mine.openai.azure.com", 0.5),
        ("azure/gpt-4o", "https://mine.openai.azure.com", 0.5),
        ("azure/gpt-4o", "https://gateway.example", None),
        (f"gemini/{GEMINI}", None, 0.5),
        ("gemini/gemini-of-tomorrow", "https://generativelanguage.googleapis.com/v1beta", 0.5),
        (f"gemini/{GEMINI}", "https://gateway.example", None),
    ],
)
def test_what_a_batch_costs_is_known_at_the_providers_own_address(
    model: str, address: str | None, share: float | None
) -> None:
    assert batch_share(ModelEntry("a", model, api_base=address)) == share


def test_an_address_of_the_environment_is_not_taken_for_anthropics_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_BASE", "https://gateway.example")
    assert batch_share(ModelEntry("a", f"anthropic/{CLAUDE}")) is None


def test_two_runs_share_one_batch(lab: Lab) -> None:
    async def both() -> Any:
        return await asyncio.gather(lab.fetch(questions(4)), lab.fetch(questions(6)))

    one, other = asyncio.run(both())
    assert set(desk(lab).asked().values()) == {1}
    assert len(one.answers.keys() | other.answers.keys()) == 6
    assert len(lab.rows()) == 6
