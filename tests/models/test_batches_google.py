"""What is otherwise with batches at Google: files and names at the Gemini API, buckets and tokens at Vertex AI."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.addresses import Address
from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError, NoAnswerError
from jisi_cli.models.batch import google_storage, rows
from jisi_cli.models.batch.gemini_service import GeminiService, listed, status_in
from jisi_cli.models.batch.google_storage import Folder, storage_address
from jisi_cli.models.batch.rows import Place
from jisi_cli.models.batch.terms import batch_share, require_batch
from jisi_cli.models.batch.vertex_service import VertexService
from jisi_cli.models.failure import ProviderFailure
from tests.google_desk import TOKEN, GeminiDesk, VertexDesk, service_account
from tests.loopback import Fault, Loopback
from tests.models.asking import everything_written
from tests.models.test_batches import Lab, left_alone, questions
from tests.models.test_batches_elsewhere import CLAUDE, GEMINI, KEY, at_vertex, gemini, vertex


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)


@pytest.fixture
def lab(loopback: Loopback, tmp_path: Path) -> Lab:
    loopback.script(GEMINI, text="four words of answer")
    return Lab(loopback, tmp_path, gemini(loopback))


@pytest.fixture
def desk(loopback: Loopback) -> GeminiDesk:
    return loopback.gemini_batches


def test_nothing_is_left_there_and_the_key_is_nowhere(lab: Lab, desk: GeminiDesk, tmp_path: Path) -> None:
    assert len(lab.run().answers) == 3
    assert desk.files == {}
    assert desk.deleted == ["000000000001", f"batch-{desk.batches[0].id}", desk.batches[0].id]
    assert {headers["x-goog-api-key"] for headers in desk.headers} == {KEY}
    assert KEY.encode() not in everything_written(tmp_path)
    assert KEY not in str([*lab.told, *lab.warned])


@pytest.mark.parametrize("step", ["POST uploads", "POST files", "POST batches", "GET batches/id", "GET files/content"])
def test_a_run_that_ended_at_a_step_is_gone_on_with_and_leaves_nothing(lab: Lab, desk: GeminiDesk, step: str) -> None:
    left_alone(lab, step, desk)
    assert len(lab.run().answers) == 3
    assert list(desk.asked().values()) == [1, 1, 1]
    assert desk.files == {}


def test_a_batch_is_found_by_our_name_among_many(lab: Lab, desk: GeminiDesk) -> None:
    for _ in range(25):
        desk.names["theirs"], desk.files["theirs"] = "theirs", b""
        desk._create_from({"displayName": "theirs", "inputConfig": {"fileName": "files/theirs"}})
    desk.unheard["POST batches"] = 1
    assert len(lab.run().answers) == 3
    assert list(desk.asked().values()) == [1, 1, 1]


def test_a_file_that_it_has_kept_for_two_days_and_deleted_is_sent_again(lab: Lab, desk: GeminiDesk) -> None:
    desk.refused = {"POST batches"}
    left_alone(lab, "GET files/id", desk)
    desk.refused.clear()
    desk.files.clear()
    assert len(lab.run().answers) == 3
    assert list(desk.asked().values()) == [1, 1, 1]


def test_questions_and_key_go_to_no_other_server_that_it_names(lab: Lab, desk: GeminiDesk) -> None:
    with Loopback() as other:
        desk.uploads_to = f"http://127.0.0.1:{other.port}"
        fetched = lab.run()
        assert other.gemini_batches.headers == []
    assert len(fetched.unasked) == 3
    assert "wants the requests sent to another server" in lab.warned[0]


def test_what_it_says_of_a_batch_that_failed_is_told(lab: Lab, desk: GeminiDesk) -> None:
    desk.ends = ["failed"]
    assert len(lab.run().unasked) == 3
    assert "was refused: the file is not one of ours; 3 requests not answered" in lab.warned[0]


def test_a_request_that_it_refuses_has_failed_as_a_live_call_would_have(lab: Lab) -> None:
    lab.server.script(GEMINI, text="4", faults=(Fault("status", status=400, message="too long"),))
    said = sorted(answer.error or "" for answer in lab.run().answers.values())
    assert said[:2] == ["", ""]
    assert "HTTP 400" in said[2]
    assert "too long" in said[2]


def service(lab: Lab) -> GeminiService:
    return GeminiService(Place(f"http://127.0.0.1:{lab.server.port}/v1beta", KEY, {}, "gemini", {}, GEMINI), 5.0)


@pytest.mark.parametrize(
    ("row", "status", "words"),
    [
        ({"error": {"code": 8, "message": "quota"}}, 429, None),
        ({"status": {"code": 13, "message": "internal"}}, 500, None),
        ({"error": {"code": 503, "message": "busy"}}, 503, None),
        ({"error": {"code": 99}}, None, "brought no answer"),
        ({"status": "Bad Request"}, None, "Bad Request"),
        ({}, None, "brought no answer"),
    ],
)
def test_what_failed_is_read_however_it_is_said(
    lab: Lab, row: dict[str, Any], status: int | None, words: str | None
) -> None:
    found = service(lab).result_in(json.dumps({"key": "k", **row}).encode())
    assert found is not None
    assert (found.key, found.status) == ("k", status)
    assert words is None or words in str(found.failure)


@pytest.mark.parametrize("line", [b"[]", b"{", b'{"response": {}}', b'{"key": 1, "response": {}}'])
def test_a_line_without_a_key_is_no_result(lab: Lab, line: bytes) -> None:
    assert service(lab).result_in(line) is None


def test_both_ways_in_which_google_writes_states_are_known() -> None:
    assert status_in("BATCH_STATE_SUCCEEDED", "BATCH_STATE_") == "completed"
    assert status_in("JOB_STATE_EXPIRED", "BATCH_STATE_") == "expired"
    assert status_in("JOB_STATE_RUNNING", "BATCH_STATE_") == "running"
    assert status_in(None, "BATCH_STATE_") == ""


def test_a_key_in_the_address_as_older_releases_of_litellm_write_it_goes_into_a_header() -> None:
    import httpx

    address = f"https://generativelanguage.googleapis.com/v1beta/models/{GEMINI}:generateContent?key={KEY}"
    place = rows._place("gemini", httpx.Request("POST", address), ModelEntry("a", f"gemini/{GEMINI}"))
    assert place.headers == {"x-goog-api-key": KEY}
    assert (place.key, place.query, place.model) == (KEY, {}, GEMINI)
    assert KEY not in repr(place)
    assert place.address == "https://generativelanguage.googleapis.com/v1beta"


def test_two_models_at_one_address_are_two_batches(lab: Lab, desk: GeminiDesk) -> None:
    lab.server.script("gemini-2.5-pro", text="of another")
    lab.models = (*lab.models, ModelEntry("b", "gemini/gemini-2.5-pro", api_base=lab.models[0].api_base,
                  api_key_env="LAB_KEY"))  # fmt: skip
    fetched = asyncio.run(lab.fetch([*questions(2), *questions(2, "b")]))
    assert (
        sorted(answer.text for answer in fetched.answers.values()) == ["four words of answer"] * 2 + ["of another"] * 2
    )
    assert [len(batch.rows) for batch in desk.batches] == [2, 2]


@pytest.fixture
def there(loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Vertex AI."""
    at_vertex(loopback, tmp_path, monkeypatch)
    loopback.script(GEMINI, text="four words of answer")
    return Lab(loopback, tmp_path, vertex(loopback))


@pytest.fixture
def jobs(loopback: Loopback) -> VertexDesk:
    return loopback.vertex_batches


def test_a_claude_model_of_vertex_is_asked_in_its_own_words(there: Lab, jobs: VertexDesk) -> None:
    there.server.script(CLAUDE, text="four words of answer")
    there.models = (vertex(there.server, f"{CLAUDE}@20251001"),)
    there.server.script(f"{CLAUDE}@20251001", text="four words of answer", faults=(None, Fault("status", status=429)))
    assert [answer.text for answer in there.run().answers.values()] == ["four words of answer"] * 3
    assert jobs.batches[0].metadata["model"] == f"publishers/anthropic/models/{CLAUDE}@20251001"
    assert jobs.batches[0].rows[0]["body"]["anthropic_version"] == "vertex-2023-10-16"
    assert [len(batch.rows) for batch in jobs.batches] == [3, 1]
    assert sum(row.list_cost_usd for row in there.rows()) == pytest.approx(2 * there.paid())


def test_nothing_is_left_in_the_bucket_but_what_was_there_and_the_token_is_nowhere(
    there: Lab, jobs: VertexDesk, tmp_path: Path
) -> None:
    mine = {f"a-bucket/batches/of mine/{name}": b"{}\n" for name in ("predictions.jsonl", "jisi-x/requests.jsonl")}
    jobs.files |= mine
    left_alone(there, "GET batches/id", jobs)
    assert sorted(name.rpartition("/")[2] for name in jobs.files.keys() - mine) == [
        "predictions.jsonl",
        "requests.jsonl",
    ]
    assert len(there.run().answers) == 3
    assert jobs.files == mine
    assert TOKEN.encode() not in everything_written(tmp_path)
    assert TOKEN not in str([*there.told, *there.warned])


@pytest.mark.parametrize(
    "step", ["POST objects", "POST batches", "GET batches/id", "GET objects", "GET objects/content"]
)
def test_a_run_that_ended_at_a_step_of_a_job_is_gone_on_with(there: Lab, jobs: VertexDesk, step: str) -> None:
    left_alone(there, step, jobs)
    assert len(there.run().answers) == 3
    assert list(jobs.asked().values()) == [1, 1, 1]
    assert jobs.files == {}


def test_a_job_is_collected_from_the_bucket_that_it_was_given_though_another_is_named_since(
    there: Lab, jobs: VertexDesk
) -> None:
    left_alone(there, "GET batches/id", jobs)
    there.models = (vertex(there.server, batch_store=Address("gs", "another-bucket", "of mine")),)
    assert len(there.run().answers) == 3
    assert list(jobs.asked().values()) == [1, 1, 1]
    assert jobs.files == {}


def test_a_token_that_has_run_out_is_replaced_while_a_job_is_waited_for(there: Lab, jobs: VertexDesk) -> None:
    jobs.lasts, jobs.looks = 1, 5
    assert len(there.run().answers) == 3
    assert list(jobs.asked().values()) == [1, 1, 1]
    sent = [headers["authorization"] for headers in jobs.headers if "authorization" in headers]
    assert len(set(sent)) > 5
    assert set(sent) <= {f"Bearer {TOKEN}-{number}" for number in range(1, jobs.tokens + 1)}


def test_a_token_that_an_error_repeats_is_not_told(
    there: Lab, jobs: VertexDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(method: str, path: str, kind: str, body: bytes) -> Any:
        if path == "/token":
            return handle(method, path, kind, body)
        words = f"{jobs.headers[-1]['authorization'].removeprefix('Bearer ')} is not allowed"
        return 403, json.dumps({"error": {"message": words}}).encode(), "application/json"

    handle = jobs.handle
    monkeypatch.setattr(jobs, "handle", refuse)
    assert len(there.run().unasked) == 3
    assert "is not allowed" in there.warned[0]
    assert TOKEN not in there.warned[0]


def test_headers_of_the_pool_file_go_to_the_model_and_not_to_the_bucket(there: Lab, jobs: VertexDesk) -> None:
    params = {"vertex_location": "us-central1", "extra_headers": {"X-Mine": "goes along"}}
    there.models = (vertex(there.server, params=params),)
    assert len(there.run().answers) == 3
    by_path = [(headers.get("x-mine"), headers.get("content-type")) for headers in jobs.headers]
    assert ("goes along", "application/json") in by_path
    assert (None, "application/jsonl") in by_path
    assert ("goes along", "application/jsonl") not in by_path


def test_a_job_elsewhere_than_in_a_folder_of_ours_is_neither_read_nor_deleted(there: Lab, jobs: VertexDesk) -> None:
    jobs.files["a-bucket/diary/secrets.jsonl"] = b"{}"
    left_alone(there, "GET batches/id", jobs)
    jobs.batches[0].metadata["folder"] = "gs://a-bucket/diary"
    with pytest.raises(NoAnswerError, match="'gs://a-bucket/diary' is no folder of a batch of ours"):
        there.run()
    assert jobs.requests["GET objects"] == 0
    assert "a-bucket/diary/secrets.jsonl" in jobs.files


def test_a_job_of_another_project_than_now_is_not_submitted_again_unasked(
    there: Lab, jobs: VertexDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_alone(there, "GET batches/id", jobs)
    address = there.server.api_base.removesuffix("/v1")
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("VERTEXAI_CREDENTIALS", str(service_account(tmp_path / "other", address, project="p-2")))
    with pytest.raises(InputError, match=r"submitted to 127\.0\.0\.1 with another key"):
        there.run()
    assert jobs.requests["POST batches"] == 1


def vertex_service(model: str) -> VertexService:
    async def renewed() -> dict[str, str]:
        raise AssertionError("nothing is asked")

    store = Address("gs", "abc", "d")
    place = Place("https://x/v1/projects/p/locations/l", "", {}, "vertex_ai", model=model, store=store, renewed=renewed)
    return VertexService(place, 5.0)


@pytest.mark.parametrize(
    ("status", "found", "words"),
    [
        ('Bad Request: {"error": {"code": 400, "message": "too long"}}', 400, None),
        ("Too Many Requests: try later", 429, None),
        ("Service Unavailable", 503, None),
        ({"code": 8, "message": "quota"}, 429, None),
        ("the model stumbled: badly", None, "the model stumbled: badly"),
        ("", None, "brought no answer"),
    ],
)
def test_a_rows_status_is_read_however_it_is_said(status: Any, found: int | None, words: str | None) -> None:
    row = {"request": {"labels": {"jisi-1": "a" * 32, "jisi-2": "b" * 32, "mine": "x"}}, "status": status}
    result = vertex_service("publishers/google/models/x").result_in(json.dumps(row).encode())
    assert result is not None
    assert (result.key, result.status) == ("a" * 32 + "b" * 32, found)
    assert words is None or words in str(result.failure)


@pytest.mark.parametrize("row", [{"response": {}}, {"request": "x"}, {"request": {"labels": {"jisi-1": "a"}}}])
def test_a_row_that_does_not_say_which_it_is_is_no_result(row: dict[str, Any]) -> None:
    assert vertex_service("publishers/google/models/x").result_in(json.dumps(row).encode()) is None
    assert vertex_service("publishers/anthropic/models/x").result_in(json.dumps(row).encode()) is None


def test_labels_of_the_users_own_stay_beside_ours() -> None:
    row = vertex_service("publishers/google/models/x").row("a" * 64, {"contents": [], "labels": {"team": "mine"}})
    assert row["request"]["labels"] == {"team": "mine", "jisi-1": "a" * 32, "jisi-2": "a" * 32}


@pytest.mark.parametrize(
    ("named", "address"),
    [
        ("", "https://storage.googleapis.com"),
        ("localhost:9000", "http://localhost:9000"),
        ("https://storage.example/", "https://storage.example"),
    ],
)
def test_buckets_are_where_googles_own_clients_look_for_them(
    monkeypatch: pytest.MonkeyPatch, named: str, address: str
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", named)
    assert storage_address() == address


@pytest.mark.parametrize("address", [None, "gs://b/x", "gs://bucket/jisi-1", "s3://bucket/x/jisi-" + "a" * 32])
def test_only_a_folder_of_ours_is_one(address: str | None) -> None:
    with pytest.raises(ProviderFailure):
        Folder.at(address)
    folder = Folder.of(Address("gs", "bucket", "a b/c"), "0" * 32)
    assert Folder.at(folder.requests) == folder
    assert not google_storage.are_results(folder.requests)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "address", "share"),
    [
        (f"vertex_ai/{GEMINI}", None, 0.5),
        ("vertex_ai/claude-of-tomorrow", "https://aiplatform.googleapis.com", 0.5),
        (f"vertex_ai/{GEMINI}", "https://gateway.example", None),
    ],
)
def test_a_job_costs_half_at_googles_own_address(model: str, address: str | None, share: float | None) -> None:
    assert batch_share(ModelEntry("a", model, api_base=address)) == share


def test_credentials_that_end_while_results_are_read_lose_none_of_them(
    there: Lab, jobs: VertexDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, answered = os.environ["VERTEXAI_CREDENTIALS"], jobs.handle

    def answer(method: str, path: str, kind: str, body: bytes) -> Any:
        if "alt=media" in path:
            monkeypatch.setenv("VERTEXAI_CREDENTIALS", "/there/is/none")
        return answered(method, path, kind, body)

    monkeypatch.setattr(jobs, "handle", answer)
    with pytest.raises(NoAnswerError, match=r"Unable to load the vertex credentials file.*run the same command"):
        there.run()
    monkeypatch.setattr(jobs, "handle", answered)
    monkeypatch.setenv("VERTEXAI_CREDENTIALS", credentials)
    assert [answer.text for answer in there.run().answers.values()] == ["four words of answer"] * 3
    assert list(jobs.asked().values()) == [1, 1, 1]


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_an_authorization_of_the_pool_files_own_goes_to_no_bucket(there: Lab, jobs: VertexDesk, name: str) -> None:
    params = {"vertex_location": "us-central1", "extra_headers": {name: "Bearer of-a-gateway"}}
    there.models = (vertex(there.server, params=params),)
    assert {answer.error for answer in there.run().answers.values()} == {
        "`vertex_ai/gemini-2.5-flash` cannot be asked by batch: its `headers` hold an authorization, which is for the "
        "model and must not go to the bucket"
    }
    assert "Bearer of-a-gateway" not in str(jobs.headers)


def test_a_list_of_empty_pages_without_end_is_given_up() -> None:
    async def page(which: Mapping[str, str]) -> Mapping[str, Any]:
        return {"nextPageToken": "more"}

    async def names() -> list[Any]:
        return [found async for found in listed(page, "items")]

    with pytest.raises(ProviderFailure, match="its list of items goes on without end"):
        asyncio.run(names())


def test_requests_that_arrived_without_a_word_and_are_not_asked_are_deleted(there: Lab, jobs: VertexDesk) -> None:
    jobs.unheard["POST objects"] = 4
    fetched = there.run()
    assert len(fetched.unasked) == 3
    assert jobs.requests["POST objects"] == 4
    assert jobs.files == {}


def test_without_googles_library_it_is_said_how_to_install_it(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "google"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "google", None)
    with pytest.raises(InputError, match="pip install google-auth"):
        require_batch([vertex(loopback)])
