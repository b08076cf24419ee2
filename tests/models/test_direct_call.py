"""A call made without LiteLLM: the same request, the same answer, the same failures."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jisi_cli.config import ModelEntry
from jisi_cli.models import direct_call
from jisi_cli.models.direct_call import goes_directly
from jisi_cli.models.litellm_client import load_litellm
from jisi_cli.types import Answer, Request, Sampling
from tests.cli.commands import ROOT
from tests.loopback import Fault, Loopback
from tests.loopback import Request as Received
from tests.models.asking import ask, ask_once, entry, pool, user

_WRITTEN_OUT = ("accept", "authorization", "content-type", "user-agent", "host")
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@pytest.fixture(autouse=True)
def litellm_is_the_programs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no call be made directly unless a test says so."""
    load_litellm()
    monkeypatch.setattr(direct_call, "is_the_programs_own", lambda: True)


@pytest.fixture(params=["httpx", "aiohttp"], autouse=True)
def connections(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let direct calls use either kind of connections."""
    monkeypatch.setattr("jisi_cli.models.connections.is_loaded", lambda: request.param == "aiohttp")


def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every call that can be made directly be made so."""
    monkeypatch.setattr(direct_call, "is_the_programs_own", lambda: False)


def sent(request: Received) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Return what of a request a server may act on."""
    headers = {name: value for name, value in request.headers.items() if name in _WRITTEN_OUT}
    return request.path, request.body, headers


def asked(server: Loopback, streamed: bool, sampling: Sampling, **fields: Any) -> tuple[Answer, str]:
    """Ask once; return the answer without its seconds, and what was streamed of it."""
    pieces: list[str] = []
    options = {"on_text": pieces.append} if streamed else {}
    answer = ask_once(pool(entry(server, **fields), max_retries=1, timeout=300.0), sampling=sampling, **options)
    return replace(answer, seconds=0.0), "".join(pieces)


PARAMETERS: dict[str, tuple[Sampling, dict[str, Any]]] = {
    "none": (Sampling(), {}),
    "the paper's": (Sampling(temperature=0.2, top_p=1.0, max_tokens=100), {}),
    "others": (Sampling(temperature=0.0, top_p=0.9), {"seed": 7, "stop": ["\n", "END"], "presence_penalty": 0.5}),
    "of the pool file": (Sampling(temperature=0.2), {"temperature": 1, "max_tokens": 5, "frequency_penalty": -1}),
}


@STREAMED
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_request_is_litellms_own_and_leaves_once(
    name: str, streamed: bool, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling, params = PARAMETERS[name]
    loopback.script("a", text="über 4\n<think>not</think> “so”")
    usual = asked(loopback, streamed, sampling, params=params, system='Ein Ärger: \u2028 \\ "q"')
    forced(monkeypatch)
    direct = asked(loopback, streamed, sampling, params=params, system='Ein Ärger: \u2028 \\ "q"')
    assert direct == usual
    first, second = loopback.requests
    assert sent(second) == sent(first)
    assert "x-stainless-lang" in first.headers and "x-stainless-lang" not in second.headers  # it was a direct call


FAULTS = {
    "busy": (Fault("status", status=429, retry_after=0.01), None),
    "broken": (Fault("status", status=500, message="the disk is full"), Fault("status", status=503)),
    "a refused key": (Fault("status", status=401, message="wrong key {authorization}"),),
    "a refused parameter": (Fault("status", status=400, message="Unsupported parameter: 'temperature'"), None),
    "cut off": (Fault("reset"), None),
    "no JSON": (Fault("malformed"), None),
    "an error in a good answer": (Fault("error_body", message="overloaded"), None),
    "no choices": (Fault("no_choices"), None),
    "nothing": (Fault("empty"), None),
}


@STREAMED
@pytest.mark.parametrize("name", FAULTS)
def test_failures_are_the_same(name: str, streamed: bool, loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for is_direct in (False, True):
        loopback.script("a", text="4", faults=FAULTS[name])
        if is_direct:
            forced(monkeypatch)
        outcomes.append((asked(loopback, streamed, Sampling(temperature=0.2)), loopback.count()))
    (usual, requests), (direct, in_all) = outcomes
    assert direct == usual
    assert in_all == 2 * requests


@STREAMED
def test_a_server_that_never_answers_is_given_up_in_time(
    streamed: bool, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.script("a", faults=[Fault("hang")])
    forced(monkeypatch)
    options = {"on_text": lambda piece: None} if streamed else {}
    answer = ask_once(pool(entry(loopback), max_retries=0, timeout=0.5), **options)
    assert answer.error == "no answer within 0.5 s"
    assert answer.cost_usd is None  # it may have worked, and be paid for


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = ModelEntry("a", "openai/a", api_base="http://127.0.0.1:9/v1")
    forced(monkeypatch)
    answer = ask_once(pool(dead, max_retries=0))
    assert answer.error is not None and answer.error.startswith("connection failed: ")
    assert answer.cost_usd == 0.0


def test_a_server_that_takes_no_connection_keeps_no_other_answer_back(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.script("a", text="4")
    forced(monkeypatch)
    monkeypatch.setattr(direct_call, "_PATIENCE", 0.1, raising=False)

    async def never(*_: object) -> None:
        await asyncio.sleep(600)

    sends = httpx.AsyncHTTPTransport.handle_async_request

    async def connects(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return await (never() if request.url.port == 9 else sends(self, request))  # type: ignore[return-value]

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", connects)
    dead = ModelEntry("dead", "openai/dead", api_base="http://127.0.0.1:9/v1")

    async def both() -> Answer:
        async with pool(dead, entry(loopback), max_retries=0, timeout=600.0) as models:
            hanging = asyncio.create_task(ask(models))
            await asyncio.sleep(0.05)
            async with asyncio.timeout(120):
                answer = await models.ask(Request("a", user("what is 2 + 2?"), "probe"))
            hanging.cancel()
            await asyncio.wait([hanging])
            return answer

    assert asyncio.run(both()).ok


def test_a_call_that_is_cancelled_leaves_no_request_behind(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    loopback.script("a", faults=[Fault("hang")])
    forced(monkeypatch)

    async def cancelled() -> None:
        async with pool(entry(loopback)) as models:
            call = asyncio.create_task(ask(models))
            while not loopback.count():
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(cancelled())
    # LiteLLM makes a coroutine on another thread; a cancel that comes before it is awaited leaves it to Python.
    left = [str(warning.message) for warning in recwarn if "never" in str(warning.message)]
    assert not [words for words in left if "OpenAIChatCompletion" not in words]


@pytest.mark.parametrize(
    ("model", "api_base", "parameters", "environment"),
    [
        ("a", None, {}, {}),
        ("openai/a", None, {}, {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1?version=1"}),
        ("ollama/a", "http://127.0.0.1:1", {}, {}),
        ("openai/o3-mini", "http://127.0.0.1:1/v1", {}, {}),
        ("openai/gpt-5-mini", "http://127.0.0.1:1/v1", {}, {}),
        ("openai/azure/gpt-5", "http://127.0.0.1:1/v1", {}, {}),
        ("openai/team-gpt-5-mini", "http://127.0.0.1:1/v1", {}, {}),
        ("openai/my_o3-mini", "http://127.0.0.1:1/v1", {}, {}),
        ("openai/a", "http://127.0.0.1:1/v1//", {}, {}),
        ("openai/a", "http://127.0.0.1:1/v1?version=1", {}, {}),
        ("openai/a", "http://127.0.0.1:1/v1#part", {}, {}),
        ("openai/a", "http://me:secret@127.0.0.1:1/v1", {}, {}),
        ("openai/a", "http://127.0.0.1:1/v1", {"top_k": 3}, {}),
        ("openai/a", "http://127.0.0.1:1/v1", {"extra_headers": {"x": "y"}}, {}),
        ("openai/a", "http://127.0.0.1:1/v1", {}, {"https_proxy": "http://127.0.0.1:2"}),
        ("openai/a", "http://127.0.0.1:1/v1", {}, {"SSL_VERIFY": "False"}),
        ("openai/a", "http://127.0.0.1:1/v1", {}, {"OPENAI_ORG_ID": "org-1"}),
        ("openai/a", "http://127.0.0.1:1/v1", {}, {"USE_LITELLM_PROXY": "True"}),
    ],
)
def test_what_litellm_may_change_waits_for_it(
    model: str,
    api_base: str | None,
    parameters: dict[str, Any],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forced(monkeypatch)
    assert goes_directly("openai/a", "http://127.0.0.1:1/v1", {"temperature": 0.2})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not goes_directly(model, api_base, parameters)


def test_what_was_shown_of_an_odd_stream_is_not_shown_again(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.script("a", text="The answer is 4, as everybody knows.", faults=[Fault("truncated")])
    forced(monkeypatch)
    pieces: list[str] = []
    answer = ask_once(pool(entry(loopback), max_retries=0), on_text=pieces.append)
    assert not answer.ok
    shown = "".join(pieces)
    assert shown and "The answer is 4, as everybody knows.".startswith(shown)


@pytest.fixture
def without_litellm(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which the import of LiteLLM never ends."""
    package = tmp_path / "modules" / "litellm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import time\nwhile True:\n    time.sleep(1)\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT)])}


def test_the_request_is_out_while_litellm_is_imported_and_ctrl_c_waits_for_neither(
    loopback: Loopback, without_litellm: dict[str, str]
) -> None:
    loopback.script("a")
    script = (
        "import sys\n"
        "from jisi_cli.cli.interrupts import heed_interrupts, leave_imports\n"
        "heed_interrupts()\n"
        "from jisi_cli.background import run_calls\n"
        "from jisi_cli.config import ModelEntry\n"
        "from tests.models.asking import ask, pool\n"
        "async def once():\n"
        f"    async with pool(ModelEntry('a', 'openai/a', api_base={loopback.api_base!r})) as models:\n"
        "        await ask(models)\n"
        "try:\n"
        "    run_calls(once())\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
        "finally:\n"
        "    leave_imports()\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", script], env=without_litellm, cwd=ROOT, text=True, **pipes)
    while not loopback.count():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)  # tenths of a second, where the machine is not busy
    assert (process.returncode, out) == (130, "")
    assert err in ("", "interrupted\n")


@STREAMED
def test_a_plain_answer_comes_and_is_priced_though_litellm_never_does(
    streamed: bool, loopback: Loopback, without_litellm: dict[str, str]
) -> None:
    loopback.script("a", text="It is 4.")
    script = (
        "from jisi_cli.config import ModelEntry, Price\n"
        "from jisi_cli.models.pricing import Counts, Rates, keep_rates\n"
        "from tests.models.asking import ask_once, pool\n"
        "keep_rates('openai/a', Rates(1e-6, 2e-6, 1e-6, 2e-6).price)\n"
        "for price in (Price(1, 2), None):\n"
        f"    entry = ModelEntry('a', 'openai/a', api_base={loopback.api_base!r}, price=price)\n"
        "    pieces = []\n"
        f"    answer = ask_once(pool(entry), **({{'on_text': pieces.append}} if {streamed} else {{}}))\n"
        "    print(answer.text, ''.join(pieces), answer.cost_usd, answer.price_source, answer.finish_reason, sep='|')\n"
        "import os, sys\nsys.stdout.flush()\nos._exit(0)\n"  # of itself it would wait for the import
    )
    run = subprocess.run([sys.executable, "-c", script], env=without_litellm, cwd=ROOT, text=True, capture_output=True)
    shown = "It is 4." if streamed else ""
    lines = [line.split("|") for line in run.stdout.splitlines()]
    assert [(line[0], line[1], line[3], line[4]) for line in lines] == [
        ("It is 4.", shown, "pool", "stop"),
        ("It is 4.", shown, "litellm", "stop"),
    ], run.stderr
    assert float(lines[0][2]) == pytest.approx(float(lines[1][2]))


def test_the_seconds_are_those_of_the_call(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback.script("a")
    forced(monkeypatch)

    async def late() -> None:
        await asyncio.sleep(0.5)

    monkeypatch.setattr("jisi_cli.models.retry.needs_litellm_to_price", lambda *_: True)
    monkeypatch.setattr("jisi_cli.models.retry.litellm_loaded", late)
    began = time.monotonic()
    seconds = ask_once(pool(entry(loopback))).seconds
    assert 0 < seconds <= time.monotonic() - began - 0.5
