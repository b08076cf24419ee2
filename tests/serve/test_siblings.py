"""The pool for programs that start it themselves: `llm`, and agents over the Model Context Protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version as llm_version
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

from jisi_cli.models.ledger import Ledger
from tests.cli.commands import MODELS, ROOT, build_small_bank, jisi, pool_file, says_one_error, start
from tests.loopback import Fault, Loopback, Script

QUESTION = "What is 4 plus 7, and why?"


class Place:
    """A folder with a bank, a pool file for a server at work, and homes for jisi and llm."""

    def __init__(self, folder: Path, upstream: Loopback) -> None:
        self.folder, self.upstream = folder, upstream
        self.options = ("--bank", str(build_small_bank(folder)), "--config", pool_file(folder / "jisi.toml", upstream))
        homes = {f"JISI_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "DATA", "CONFIG")}
        own = {"LLM_USER_PATH": str(folder / "llm"), "LLM_LOAD_PLUGINS": "jisi", "PYTHONPATH": str(ROOT)}
        self.env = {**os.environ, **homes, **own}

    def dollars(self) -> float:
        ledger = Ledger(self.folder / "data" / "ledger" / "calls.sqlite", warn=pytest.fail)
        return sum(entry.cost_usd or 0.0 for entry in ledger.rows())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Loopback({model: Script(text=f"{model} says so") for model in MODELS}) as upstream:
        yield Place(tmp_path, upstream)


# `llm`


@pytest.fixture(autouse=True)
def nothing_is_open() -> Iterator[None]:
    """Close what a test has opened in this process, as its end would."""
    from jisi_cli.serve import llm_plugin

    yield
    for pool in llm_plugin._open.values():
        pool.close()
    llm_plugin._open.clear()


def run_llm(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = [
        part
        for name, value in zip(place.options[::2], place.options[1::2], strict=True)
        for part in ("-o", name.removeprefix("--"), str(value))
    ]
    command = [sys.executable, "-m", "llm", *arguments, *options]
    return subprocess.run(command, env=place.env, text=True, capture_output=True, timeout=300, stdin=subprocess.DEVNULL)


def said_of(place: Place, answer: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jisi_cli", "feedback", answer, "good"]
    return subprocess.run(command, env=place.env, text=True, capture_output=True, timeout=300, cwd=ROOT)


def logged(place: Place) -> list[Any]:
    run = subprocess.run(
        [sys.executable, "-m", "llm", "logs", "--json"], env=place.env, text=True, capture_output=True, check=True
    )
    return json.loads(run.stdout)


def test_llm_asks_the_pool_and_logs_who_answered_and_what_it_cost(place: Place) -> None:
    run = run_llm(place, "-m", "jisi", QUESTION)
    assert (run.returncode, run.stdout) == (0, "ada says so\n"), run.stderr
    (line,) = logged(place)
    assert (line["model"], line["resolved_model"]) == ("jisi", "ada")
    assert line["response_json"]["candidates"] == ["ada", "bob", "cyd"]
    assert line["response_json"]["cost_usd"] == pytest.approx(place.dollars()) and place.dollars() > 0
    assert line["input_tokens"] > 0 and line["output_tokens"] > 0
    assert [said_of(place, answer).returncode for answer in ("last", line["response_json"]["id"])] == [0, 0]


def test_threads_of_a_program_that_uses_llm_share_one_pool_and_so_one_budget(place: Place) -> None:
    from jisi_cli.serve import llm_plugin

    options = llm_plugin.PoolOptions(**{"bank": place.options[1], "config": str(place.options[3]), "max_cost": 0.5})
    prompt: Any = SimpleNamespace(options=options)
    together = Barrier(8)

    def opened(_: int) -> object:
        together.wait()
        return llm_plugin._pool(prompt)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(map(id, threads.map(opened, range(8))))) == 1


def test_llm_continues_a_conversation_and_every_model_hears_all_of_it(place: Place) -> None:
    run_llm(place, "-m", "jisi", "-s", "Be brief.", QUESTION)
    asked = len(place.upstream.requests)
    run = run_llm(place, "-c", "--no-stream", "And what is 5 plus 9 in words, please, my friend?")
    assert run.stdout == "ada says so\n", run.stderr
    said = place.upstream.requests[asked].body["messages"]
    assert [message["role"] for message in said] == ["system", "user", "assistant", "user"]
    assert [message["content"] for message in said[:2]] == ["Be brief.", QUESTION]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", "method", "no-such-method"), "no-such-method"),
        (("-o", "max_cost", "0"), "--max-cost"),
        (("-a", str(ROOT / "README.md")), "attachment"),
    ],
)
def test_what_llm_cannot_have_is_one_line(place: Place, options: tuple[str, ...], words: str) -> None:
    run = run_llm(place, "-m", "jisi", QUESTION, *options)
    assert run.returncode == 1
    assert run.stderr.startswith("Error: ") and words in run.stderr and "Traceback" not in run.stderr
    assert not place.upstream.requests


def test_a_pool_that_cannot_answer_is_an_error_of_llm(place: Place) -> None:
    for model in MODELS:
        place.upstream.script(model, faults=[Fault("status", status=400)] * 9)
    run = run_llm(place, "-m", "jisi", QUESTION)
    assert run.returncode == 1 and run.stderr.startswith("Error: ") and "Traceback" not in run.stderr


def test_llms_python_api_asks_it_with_and_without_an_event_loop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from jisi_cli.serve import llm_plugin

    for name in ("JISI_CACHE_HOME", "JISI_DATA_HOME", "JISI_CONFIG_HOME"):
        monkeypatch.setenv(name, place.env[name])
    options = {"bank": place.options[1], "config": str(place.options[3])}
    assert llm_plugin.Pool().prompt(QUESTION, **options).text() == "ada says so"

    async def both() -> tuple[str, str]:
        model = llm_plugin.AsyncPool()
        whole = await model.prompt(QUESTION, stream=False, **options).text()
        pieces = [piece async for piece in model.prompt("What is 6 plus 9, and why?", **options)]
        return whole, "".join(pieces)

    assert asyncio.run(both()) == ("ada says so", "ada says so")
    assert len(llm_plugin._open) == 1  # the same pool for all of them


@pytest.fixture
def able(place: Place) -> Place:
    """The same, with models that are said to see and to call tools."""
    pool = place.folder / "jisi.toml"
    pool.write_text(pool.read_text().replace("[[models]]", "[[models]]\ntools = true\nvision = true"))
    return place


def test_llm_gets_an_answer_in_the_form_of_a_schema(able: Place) -> None:
    for model in MODELS:
        able.upstream.script(model, '{"age": 3}')
    run = run_llm(able, "-m", "jisi", "--schema", "age int", QUESTION)
    assert (run.returncode, run.stdout) == (0, '{"age": 3}\n'), run.stderr
    assert able.upstream.requests[0].body["response_format"]["type"] == "json_schema"


def test_llm_shows_a_picture_to_models_that_see(able: Place) -> None:
    picture = ROOT / "tests" / "screenshots" / "phone.png"
    run = run_llm(able, "-m", "jisi", QUESTION, "-a", str(picture))
    assert (run.returncode, run.stdout) == (0, "ada says so\n"), run.stderr
    text, image = able.upstream.requests[0].body["messages"][-1]["content"]
    assert text == {"type": "text", "text": QUESTION}
    assert image["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def test_llm_runs_the_tools_that_a_model_calls_and_the_same_model_goes_on(able: Place) -> None:
    def calls(body: dict[str, Any]) -> list[tuple[str, str]]:
        return [] if body["messages"][-1]["role"] == "tool" else [("llm_version", "{}")]

    for model in MODELS:
        able.upstream.script(model, f"{model} says so", calls=calls)
    run = run_llm(able, "-m", "jisi", "-T", "llm_version", "Which version of llm is installed here?")
    assert (run.returncode, run.stdout.strip()) == (0, "ada says so"), run.stderr
    first, second = able.upstream.requests
    assert (first.model, second.model) == ("ada", "ada")
    assert first.body["tools"][0]["function"]["name"] == "llm_version"
    *_, made, result = second.body["messages"]
    assert made["tool_calls"][0]["function"]["name"] == "llm_version"
    assert (result["role"], result["tool_call_id"]) == ("tool", made["tool_calls"][0]["id"])
    assert result["content"] == llm_version("llm")


def test_llm_without_a_use_for_jisi_imports_nothing_of_it(place: Place) -> None:
    code = (
        "import sys, llm; from llm.plugins import load_plugins; load_plugins();"
        "print(llm.get_model('jisi'), sorted(name for name in sys.modules if name.startswith('jisi_cli.')))"
    )
    run = subprocess.run([sys.executable, "-c", code], env=place.env, text=True, capture_output=True, check=True)
    assert run.stdout == "Pool: jisi ['jisi_cli.serve', 'jisi_cli.serve.llm_plugin']\n"


# Agents.


def with_agent(place: Place, work: Callable[[ClientSession], Awaitable[None]], *options: str) -> None:
    """Let an agent start `jisi mcp` and work with it."""
    arguments = ["-m", "jisi_cli", "mcp", *map(str, place.options), *options]
    parameters = StdioServerParameters(command=sys.executable, args=arguments, env=place.env, cwd=ROOT)

    async def run() -> None:
        async with stdio_client(parameters) as (reader, writer), ClientSession(reader, writer) as session:
            await session.initialize()
            await work(session)

    asyncio.run(run())


def test_an_agent_finds_three_tools_and_asks_the_pool(place: Place) -> None:
    async def work(session: ClientSession) -> None:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert sorted(tools) == ["ask", "cost", "route"]
        assert "Ask several language models" in (tools["ask"].description or "")
        free = await session.call_tool("route", {"question": QUESTION})
        assert free.structured_content["candidates"] == ["ada", "bob", "cyd"]
        assert not place.upstream.requests
        answer = await session.call_tool("ask", {"question": QUESTION, "system": "Be brief."})
        assert answer.structured_content["answer"] == "ada says so"
        said = said_of(place, answer.structured_content["id"])
        assert (said.returncode, said.stderr.startswith("1 waiting")) == (0, True)
        assert answer.structured_content["cost_usd"] == pytest.approx(place.dollars())
        bill = await session.call_tool("cost", {"by": "command"})
        assert [group["command"] for group in bill.structured_content["groups"]] == ["mcp"]
        assert bill.structured_content["total"]["cost_usd"] == pytest.approx(place.dollars())

    with_agent(place, work)
    assert place.upstream.requests[0].body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_an_agent_reads_what_went_wrong(place: Place) -> None:
    async def work(session: ClientSession) -> None:
        for tool, arguments, words in (
            ("ask", {"question": "  "}, "empty"),
            ("ask", {"question": QUESTION}, "raise --max-cost"),
            ("cost", {"since": "nonsense"}, "takes a day"),
            ("cost", {"by": "nonsense"}, "nonsense"),
        ):
            found = await session.call_tool(tool, arguments)
            assert found.is_error and words in found.content[0].text, found
        assert (await session.call_tool("route", {"question": QUESTION})).is_error is False

    with_agent(place, work, "--max-cost", "0.00000001")
    assert not place.upstream.requests


def test_many_questions_of_an_agent_at_once_are_all_answered_and_booked(place: Place) -> None:
    async def work(session: ClientSession) -> None:
        calls = (session.call_tool("ask", {"question": f"What is {n} plus 1, and why?"}) for n in range(20))
        answers = await asyncio.gather(*calls)
        assert [found.structured_content["answer"] for found in answers] == ["ada says so"] * 20
        costs = (found.structured_content["cost_usd"] for found in answers)
        assert sum(costs) == pytest.approx(place.dollars())

    with_agent(place, work)


@pytest.mark.parametrize(
    ("installed", "words"), [("1.28.0", "mcp 1.28.0 is too old"), (None, "`jisi mcp` needs the extra `mcp`")]
)
def test_an_old_or_missing_package_is_one_line(
    installed: str | None, words: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if installed is not None:  # found before the one that is there
        (tmp_path / f"mcp-{installed}.dist-info").mkdir()
        (tmp_path / f"mcp-{installed}.dist-info" / "METADATA").write_text(f"Name: mcp\nVersion: {installed}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
    else:
        monkeypatch.setattr(sys, "path", [str(ROOT)])
    says_one_error(jisi("mcp", *place.options), 2, words, 'pip install "jisi[mcp]"')


def test_an_agent_that_ends_and_ctrl_c_end_the_process_quietly(place: Place) -> None:
    ended = start("mcp", *place.options, env=place.env, stdin=subprocess.PIPE)
    out, err = ended.communicate(b"", timeout=120)
    assert (ended.returncode, out) == (0, b"") and b"Traceback" not in err
    process = start("mcp", *place.options, env=place.env, stdin=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
    process.stdin.flush()
    assert b'"id":1' in process.stdout.readline().replace(b" ", b"")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and b"Traceback" not in err


def test_questions_that_are_not_to_be_kept_are_not(place: Place) -> None:
    async def work(session: ClientSession) -> None:
        await session.call_tool("ask", {"question": QUESTION})

    with_agent(place, work, "--no-store")
    with sqlite3.connect(place.folder / "data" / "ledger" / "calls.sqlite") as rows:
        assert "plus" not in "".join(rows.iterdump())
