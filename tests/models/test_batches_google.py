"""What is otherwise with batches at Google: files and names at the Gemini API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.config import ModelEntry
from jisi_cli.models.batch import rows
from jisi_cli.models.batch.gemini_service import GeminiService, status_in
from jisi_cli.models.batch.rows import Place
from tests.google_desk import GeminiDesk
from tests.loopback import Fault, Loopback
from tests.models.asking import everything_written
from tests.models.test_batches import Lab, left_alone, questions
from tests.models.test_batches_elsewhere import GEMINI, KEY, gemini


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
