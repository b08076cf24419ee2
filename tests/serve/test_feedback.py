"""Feedback over HTTP: a completion's id leads to its answer, and a bank takes in what was said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jisi_cli.bank.bank import Bank
from tests.cli.commands import finish, start
from tests.serve.running import PATIENCE, Running, serving

QUESTION = "What is 3 plus 6, and why is it that much?"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("feedback")) as found:
        yield found


def said(running: Running, **body: object) -> httpx.Response:
    return running.post("/v1/feedback", body)


def test_what_clients_say_becomes_rows_of_a_bank(running: Running) -> None:
    whole = running.chat(QUESTION, jisi={"mode": "route"}).json()
    assert said(running, id=whole["id"], score="good", note="just so").json() == {
        "object": "feedback",
        "id": whole["id"],
        "score": 1.0,
        "reference": None,
    }
    streamed = running.chat("Another question: what is 4 plus 6, please?", stream=True, jisi={"mode": "route"})
    name = json.loads(streamed.text.partition("data: ")[2].partition("\n")[0])["id"]
    assert said(running, id=name, score=0.25).status_code == 200
    home = {f"JISI_{kind}_HOME": str(running.home / kind.lower()) for kind in ("CACHE", "DATA", "CONFIG")}
    run = finish(start("bank", "build", "--append", "--feedback", "-o", running.home / "bank", env=home))
    assert run.exit_code == 0, run
    bank = Bank(running.home / "bank")
    rows = {question.query: row for row, question in enumerate(bank.questions)}
    scores = bank.answers("ada").scores
    assert (scores[rows[QUESTION]], scores[rows["Another question: what is 4 plus 6, please?"]]) == (1.0, 0.25)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"id": "chatcmpl-nowhere", "score": "good"}, 404, "id"),
        ({"id": "last", "score": "good"}, 400, "id"),
        ({"id": ["x"], "score": "good"}, 400, "id"),
        ({"score": "good"}, 400, "id"),
        ({"id": "\ud800", "score": "good"}, 404, "id"),
        ({"id": "x"}, 400, "score"),
        ({"id": "x", "score": "fine"}, 400, "score"),
        ({"id": "x", "score": 2}, 400, "score"),
        ({"id": "x", "score": True}, 400, "score"),
        ({"id": "x", "score": 1, "reference": "9"}, 400, "score"),
        ({"id": "x", "reference": ["9"]}, 400, "reference"),
        ({"id": "x", "score": 1, "path": "/etc/passwd"}, 400, "path"),
    ],
)
def test_what_says_nothing_of_an_answer_is_refused_and_named(
    running: Running, body: dict[str, object], status: int, param: str
) -> None:
    content = json.dumps(body)  # half a character as `\\ud800`
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{running.url}/v1/feedback", content=content, headers=headers, timeout=PATIENCE)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)


def test_without_store_nothing_is_remembered(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-store") as running:
        name = running.chat(QUESTION).json()["id"]
        response = said(running, id=name, score="good")
        assert (response.status_code, "--no-store" in response.json()["error"]["message"]) == (404, True)
        assert not (tmp_path / "data" / "history").exists()


def test_an_inbox_that_is_damaged_is_the_servers_fault_and_its_place_is_not_told(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "history"
    folder.mkdir(parents=True)
    (folder / "feedback.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 1000)
    with serving(tmp_path) as running:
        name = running.chat(QUESTION).json()["id"]
        response = said(running, id=name, score="good")
        assert (response.status_code, str(tmp_path) in response.text) == (500, False)
        assert "cannot be kept" in response.json()["error"]["message"]
        assert running.chat(f"{QUESTION} Again.").status_code == 200
