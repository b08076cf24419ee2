"""What a server refuses: strangers, pages in a browser, too much, and what a request may not decide."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from jisi_cli.cli.serve import _listening
from jisi_cli.configured_method import check_method
from jisi_cli.conversation import as_conversation
from jisi_cli.errors import InputError
from jisi_cli.hyperparameters import Hyperparameters, of_jisi, stated_options
from jisi_cli.serve.guard import Guard
from jisi_cli.serve.requests import ChatRequest, refused_setting
from tests.cli.commands import build_small_bank, finish, jisi, pool_file, says_one_error, start
from tests.loopback import Loopback
from tests.serve.running import KEY, PATIENCE, Running, serving

QUESTION = [{"role": "user", "content": "What is 1 plus 1?"}]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("guard"), "--key-env", "THE_KEY", "--max-cost", "1", THE_KEY=KEY) as found:
        yield found


def chat(running: Running, body: object, **headers: str) -> httpx.Response:
    return running.post("/v1/chat/completions", body, authorization=f"Bearer {KEY}", **headers)


@pytest.mark.parametrize("given", [{}, {"authorization": "Bearer wrong"}, {"authorization": KEY[:-1]}])
def test_only_who_has_the_key_is_answered(running: Running, given: dict[str, str]) -> None:
    found = running.post("/v1/chat/completions", {"messages": QUESTION}, **given)
    assert (found.status_code, found.json()["error"]["code"]) == (401, "invalid_api_key")
    assert KEY not in found.text
    assert running.get("/metrics").status_code == 401
    assert running.get("/health").status_code == 200


def test_a_page_in_a_browser_cannot_ask(running: Running) -> None:
    rebound = running.get("/health", host="evil.example")
    assert rebound.status_code == 421
    words, headers = b'{"messages": []}', {"content-type": "text/plain"}
    simple = httpx.post(f"{running.api}/chat/completions", content=words, headers=headers, timeout=PATIENCE)
    assert simple.status_code in (401, 415)
    assert "access-control-allow-origin" not in simple.headers


@pytest.mark.parametrize(
    "body",
    [
        {"api_base": "http://evil.example"},
        {"api_key": "k"},
        {"extra_body": {"api_base": "http://evil.example"}},
        {"base_url": "http://evil.example"},
        {"model": "openai/gpt-4o"},
        {"model": "../../etc/passwd"},
        {"model": "routerdc:finetune=yes"},
        {"jisi": {"api_base": "http://evil.example"}},
        {"jisi": {"bank": "/tmp/other"}},
        {"jisi": {"max_cost": "all"}},
        {"jisi": {"k": "3"}},
        {"jisi": []},
        {"jisi": {"mode": "sideways"}},
        {"temperature": "hot"},
        {"temperature": 1e308},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"n": 2},
        {"stream": "yes"},
        {"stream_options": {"include_usage": True}},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "grammar"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"$ref": "http://a/b"}}}},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}
            ]
        },
    ],
)
def test_what_a_request_may_not_decide_is_refused_and_named(running: Running, body: dict[str, object]) -> None:
    before = running.upstream.count()
    found = chat(running, {"messages": QUESTION, **body})
    assert found.status_code in (400, 404), found.text
    assert found.json()["error"]["param"], found.text
    assert running.upstream.count() == before


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"nul", b'{"messages": NaN}', b"[" * 100_000, b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_refused(running: Running, body: bytes) -> None:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    found = httpx.post(f"{running.api}/chat/completions", content=body, headers=headers, timeout=PATIENCE)
    assert (found.status_code, found.json()["error"]["type"]) == (400, "invalid_request_error")


def test_too_much_is_refused_whether_its_length_is_told_or_not(running: Running) -> None:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    large = b'{"messages": "' + b"a" * 10_000_000 + b'"}'
    told = httpx.post(f"{running.api}/chat/completions", content=large, headers=headers, timeout=PATIENCE)
    assert told.status_code == 413
    chunked = httpx.post(f"{running.api}/chat/completions", content=iter([large]), headers=headers, timeout=PATIENCE)
    assert chunked.status_code == 413
    packing = {**headers, "content-encoding": "gzip"}
    packed = httpx.post(f"{running.api}/chat/completions", content=b"{}", headers=packing, timeout=PATIENCE)
    assert packed.status_code == 415


def test_other_paths_and_ways_are_errors_in_openais_shape(running: Running) -> None:
    key = f"Bearer {KEY}"
    assert running.get("/v1/nothing", authorization=key).json()["error"]["code"] == "not_found"
    assert running.get("/v1/chat/completions", authorization=key).status_code == 405
    assert running.get("/v1/models/nobody", authorization=key).status_code == 404


def test_a_response_is_not_held_back_until_the_client_acknowledges_its_first_piece() -> None:
    with _listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP  # by which asyncio decides


def test_a_request_may_limit_what_it_costs(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        dear = running.chat("What is 1 plus 1?", jisi={"max_cost": 1e-9})
        assert (dear.status_code, dear.json()["error"]["code"]) == (429, "budget_exceeded")
        assert "raise max_cost" in dear.json()["error"]["message"] and not running.upstream.requests
        assert running.chat("What is 1 plus 1?").status_code == 200  # the next is not limited by it
        enough = running.chat("What is 1 plus 2?", jisi={"max_cost": 0.5})
        assert 0 < enough.json()["jisi"]["cost_usd"] <= 0.5
        for wrong in (-1, "much", True, 1e99):
            refused = running.chat("What is 1 plus 3?", jisi={"max_cost": wrong}).json()["error"]
            assert refused["param"] == "jisi.max_cost"


@pytest.mark.parametrize(
    ("settings", "param", "words"),
    [
        ({"mode": "sideways"}, "jisi.mode", "`jisi.mode` must be auto, route or aggregate, not 'sideways'"),
        ({"tau": 0.5}, "jisi.tau", "`jisi.tau` is a setting of jisi-cascade; leave it out with `model` jisi"),
        ({"k": -1}, "jisi.k", "k must be a whole number from 1, not -1"),
    ],
)
def test_a_wrong_setting_is_named_as_a_request_names_it(
    running: Running, settings: dict[str, object], param: str, words: str
) -> None:
    found = chat(running, {"messages": QUESTION, "jisi": settings}).json()["error"]
    assert (found["param"], found["message"]) == (param, words)


@pytest.mark.parametrize(
    ("settings", "param", "words"),
    [
        ({"tau": 0.9, "mean_calls": 3}, "jisi.mean_calls", "`jisi.mean_calls` chooses tau"),
        ({"mean_calls": 0.5}, "jisi.mean_calls", "`jisi.mean_calls` must be a number from 1"),
        ({"mode": "aggregate"}, "jisi.mode", "`jisi.mode` is JiSi's; leave it out with `model` jisi-cascade"),
        ({"t": 3}, "jisi.t", "t must be a number from 0 to 1"),
    ],
)
def test_no_option_of_the_command_line_is_named_to_a_client(settings: dict[str, Any], param: str, words: str) -> None:
    mode, others = settings.get("mode", "auto"), {name: value for name, value in settings.items() if name != "mode"}
    asked = ChatRequest("jisi-cascade", as_conversation("What is 3 plus 6?"), mode=mode, settings=others)
    with pytest.raises(InputError) as refused:
        check_method(asked.model, asked.mode, asked.settings)
        stated_options((asked.settings, "options"))
        Hyperparameters().with_changes(of_jisi(asked.settings), "options")
    found = refused_setting(refused.value, asked)
    assert (found.param, "--" in str(found)) == (param, False)
    assert str(found).startswith(words)


def test_a_day_has_a_budget_over_all_runs(tmp_path: Path) -> None:
    with serving(tmp_path, "--max-cost-per-day", "0.5") as running:
        assert running.chat("What is 1 plus 1?").status_code == 200
        spent = running.chat("What is 1 plus 2?").json()["jisi"]["cost_usd"]
        assert spent > 0
    with serving(tmp_path, "--max-cost-per-day", str(spent), bank=False) as running:  # less than was spent before
        found = running.chat("What is 1 plus 3?")
        assert (found.status_code, found.json()["error"]["code"]) == (429, "budget_exceeded")
        assert "are spent today" in found.json()["error"]["message"]
        assert "raise --max-cost-per-day" in found.json()["error"]["message"]


def test_a_budget_that_is_used_up_is_said_so(tmp_path: Path) -> None:
    with serving(tmp_path, "--max-cost", "0") as running:
        found = running.chat("What is 2 plus 2?")
        assert (found.status_code, found.json()["error"]["code"]) == (429, "budget_exceeded")


def test_more_than_there_are_places_for_is_asked_to_come_again(tmp_path: Path) -> None:
    with serving(tmp_path, "--places", "2") as running:
        running.upstream.hold_after = 0  # until all of them have come
        with ThreadPoolExecutor(8) as threads:
            asked = as_completed([threads.submit(running.chat, f"What is {n} plus 4?") for n in range(8)])
            refused = [one.result() for one in islice(asked, 6)]
            running.upstream.hold_after = None
            answered = [one.result() for one in asked]
        assert [one.status_code for one in refused] == [429] * 6
        assert {one.headers["retry-after"] for one in refused} == {"1"}
        assert [one.status_code for one in answered] == [200] * 2


@pytest.mark.parametrize(("sent", "ends"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_running_requests_end_before_the_server_does(sent: signal.Signals, ends: int, tmp_path: Path) -> None:
    with serving(tmp_path) as running, ThreadPoolExecutor(1) as threads:
        for model in running.upstream.scripts:
            running.upstream.script(model, text="late", delay=2)
        waiting = threads.submit(running.chat, "What is 3 plus 4?")
        while running.upstream.count() == 0:
            time.sleep(0.02)
        running.process.send_signal(sent)
        assert waiting.result().json()["choices"][0]["message"]["content"] == "late"
        assert running.process.finish().exit_code == ends


@pytest.mark.parametrize("begun", [False, True], ids=["nothing sent", "a stream"])
def test_a_request_that_outlasts_the_servers_patience_is_refused_in_words(begun: bool) -> None:
    sent: list[Any] = []

    async def hanging(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(600)

    async def send(message: Any) -> None:
        sent.append(message)

    async def cancelled() -> None:
        scope = {"type": "http", "path": "/v1/models", "headers": [(b"host", b"localhost")]}
        request = asyncio.create_task(Guard(hanging, key=None, host="127.0.0.1", most_bytes=1)(scope, Any, send))
        await asyncio.sleep(0)
        request.cancel()
        await request

    asyncio.run(cancelled())
    assert sent[0]["status"] == (200 if begun else 503)
    assert begun or json.loads(sent[1]["body"])["error"]["code"] == "server_ending"


def test_a_server_that_others_can_reach_wants_a_key(tmp_path: Path) -> None:
    says_one_error(jisi("serve", "--host", "0.0.0.0"), 2, "--key-env")
    says_one_error(jisi("serve", "--key-env", "NO_SUCH_KEY"), 2, "NO_SUCH_KEY is not set")


def test_a_server_from_the_command_line_says_where_it_listens_and_ends_when_it_is_told_to(
    tmp_path: Path, loopback: Loopback
) -> None:
    loopback.script("ada", text="2")
    named = ("--bank", build_small_bank(tmp_path, {"ada": 12}))
    process = start("serve", *named, "--config", pool_file(tmp_path / "jisi.toml", loopback, ["ada"]), "--port", "0")
    assert process.stderr is not None
    said = next(line.decode() for line in process.stderr if line.startswith(b"serving on "))
    url = f"{said.split()[2]}/chat/completions"
    answer = httpx.post(url, json={"messages": QUESTION}, timeout=PATIENCE).json()
    assert answer["choices"][0]["message"]["content"] == "2"
    process.send_signal(signal.SIGTERM)
    assert finish(process).exit_code == -signal.SIGTERM


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        port = running.url.rpartition(":")[2]
        other = start("serve", "--bank", tmp_path / "bank", "--config", tmp_path / "jisi.toml", "--port", port)
        _, err = other.communicate(timeout=120)
        assert other.returncode == 2
        assert b"Traceback" not in err
        assert f"port {port}" in err.decode()
