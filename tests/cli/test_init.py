"""`jisi init`: a first pool from what is there, which the other commands can use at once."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.config import config_in_force, load_config
from jisi_cli.models.discovery import KEYED, find_server, first_models
from jisi_cli.models.facts import is_known
from tests.cli.commands import ROOT, jisi, says_one_error
from tests.loopback import Loopback

OLLAMA = {
    "models": [
        {"name": "llama3.2:3b", "details": {"family": "llama"}},
        {"name": "nomic-embed-text:latest", "details": {"family": "nomic-bert"}},
        {"name": "big:cloud", "remote_host": "https://ollama.com:443", "details": {"family": "x"}},
        {"name": 'evil"\n[budget]', "details": None},
        {"name": "qwen3:4b"},
    ]
}


@contextmanager
def serving(answers: Mapping[str, Any]) -> Iterator[int]:
    """Serve JSON by path on loopback; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path)).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, without keys and with no server that answers."""
    for provider in KEYED:
        for name in provider.variables:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("LLAMA_ARG_PORT", "9")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path / "empty"


def names_of(path: Path) -> list[str]:
    return [entry.name for entry in load_config(path).models]


def test_every_model_of_a_first_pool_is_in_litellms_map_where_it_has_the_provider() -> None:
    for provider in KEYED:
        found = first_models(provider)
        assert found, provider.name
        assert all(map(is_known, found)) == provider.listed, provider.name


def test_keys_become_a_pool_that_is_trusted_and_can_be_listed(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret-value")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-secret-value")
    run = jisi("init", "--yes")
    assert run.exit_code == 0, run
    text = (bare / "jisi.toml").read_text()
    assert "secret" not in text + run.stderr
    assert config_in_force().trusted
    listed = jisi("models", "--json").json["models"]
    assert [model["name"] for model in listed] == names_of(bare / "jisi.toml")
    assert {model["key"] for model in listed} == {"found"}


def test_a_key_for_openrouter_alone_makes_a_pool(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-secret-value")
    run = jisi("init", "--yes")
    assert run.exit_code == 0 and "price" in run.stderr
    assert {entry.litellm.partition("/")[0] for entry in config_in_force().models} == {"openrouter"}
    assert {model["key"] for model in jisi("models", "--json").json["models"]} == {"found"}


def test_an_existing_file_is_never_replaced(bare: Path) -> None:
    (bare / "jisi.toml").write_text("# mine\n")
    says_one_error(jisi("init", "--yes", "--providers", "openai"), 2, "jisi.toml", "--output")
    (bare / "link.toml").symlink_to(bare / "nowhere")
    says_one_error(jisi("init", "--providers", "openai", "-o", "link.toml"), 2, "link.toml")
    assert (bare / "jisi.toml").read_text() == "# mine\n"
    assert not (bare / "nowhere").exists()


def test_nothing_found_is_one_error_and_no_file(bare: Path) -> None:
    says_one_error(jisi("init", "--yes"), 2, "OPENAI_API_KEY", "--providers")
    says_one_error(jisi("init", "--providers", "ollama"), 2, "ollama")
    says_one_error(jisi("init", "--providers", "oppenai"), 2, "oppenai", "openai")
    assert not list(bare.iterdir())


def test_ollama_is_asked_for_its_models(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({"/api/tags": OLLAMA}) as port:
        monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{port}")
        assert jisi("init", "--yes").exit_code == 0
    config = config_in_force()
    assert [entry.litellm for entry in config.models] == ["openai/llama3.2:3b", "openai/qwen3:4b"]
    assert {entry.api_base for entry in config.models} == {f"http://127.0.0.1:{port}/v1"}
    assert config.trusted and not config.budget
    assert {model["key"] for model in jisi("models", "--json").json["models"]} == {"not needed"}


def test_the_models_that_init_wrote_answer(bare: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"object": "list", "data": [{"id": "/models/tiny.gguf", "owned_by": "llamacpp"}]}
    loopback.script("tiny.gguf", text="ready")
    with serving({"/v1/models": listed}) as port:
        monkeypatch.setenv("LLAMA_ARG_PORT", str(port))
        assert jisi("init", "--yes").exit_code == 0
    # The little server only lists; the one that answers takes its place in the file, which must be allowed again.
    path = bare / "jisi.toml"
    path.write_text(path.read_text().replace(f"http://127.0.0.1:{port}/v1", loopback.api_base))
    run = jisi("models", "--check", "--config", path, "--json")
    assert run.exit_code == 0, run
    assert run.json["models"][0]["check"]["answered"]


def test_only_loopback_and_only_what_says_it_is_llamacpp_is_taken(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://models.example.org:11434")
    assert find_server("ollama") is None
    for answer in (
        {"data": [{"id": "a", "owned_by": "somebody"}]},
        {"data": 3},
        [],
        {"data": [{"owned_by": "llamacpp"}]},
    ):
        with serving({"/v1/models": answer}) as port:
            monkeypatch.setenv("LLAMA_ARG_PORT", str(port))
            assert find_server("llamacpp") is None


def test_one_open_model_at_two_providers_has_two_names(bare: Path) -> None:
    assert jisi("init", "--providers", "groq,cerebras", "-o", "team.toml").exit_code == 0
    assert len(set(names_of(bare / "team.toml"))) == len(names_of(bare / "team.toml")) == 3


def at_a_terminal(folder: Path, *answers: str) -> tuple[int, str]:
    """Run `jisi init` at a terminal, typing an answer whenever it asks; return its exit code and what was shown."""
    master, slave = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "300"}
    command = [sys.executable, "-m", "jisi_cli", "init"]
    process = subprocess.Popen(command, stdin=slave, stderr=slave, stdout=subprocess.PIPE, cwd=folder, env=env)
    os.close(slave)
    shown, waiting = b"", list(answers)
    with suppress(OSError):  # how Linux tells that the other end has gone
        while chunk := os.read(master, 65536):
            shown += chunk
            if waiting and shown.endswith((b") ", b": ")):
                os.write(master, waiting.pop(0).encode() + b"\n")
    os.close(master)
    return process.wait(timeout=60), shown.decode()


def test_what_was_found_is_said_and_asked_about_while_litellm_is_imported(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules" / "litellm").mkdir(parents=True)
    (tmp_path / "modules" / "litellm" / "__init__.py").write_text("import time\nwhile True:\n    time.sleep(1)\n")
    monkeypatch.setenv("MISTRAL_API_KEY", "a-secret-value")
    master, slave = pty.openpty()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "modules"), str(ROOT)]), "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-m", "jisi_cli", "init"], stdin=slave, stderr=slave, cwd=bare, env=env)
    os.close(slave)
    shown, asked = b"", 0
    while b"LiteLLM's list" not in shown:
        shown += os.read(master, 65536)
        if shown.count(b"?") > asked and shown.endswith(b") "):
            asked += 1
            os.write(master, b"\n")
    assert b"found Mistral (MISTRAL_API_KEY)" in shown and asked == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130  # it hangs for ever where the import is waited for
    os.close(master)
    assert not list(bare.iterdir())


def test_a_person_is_asked_where_to_which_and_for_how_much(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "a-secret-value")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-secret-value")
    home = bare.parent / "home"
    monkeypatch.setenv("JISI_CONFIG_HOME", str(home))
    code, shown = at_a_terminal(bare, "3", "2", "7", "2", "much", "$0.5")
    assert code == 0, shown
    assert "secret" not in shown
    assert list(bare.iterdir()) == []
    config = config_in_force()
    assert config.path == home / "jisi.toml" and config.trusted
    assert {entry.litellm.partition("/")[0] for entry in config.models} == {"groq"}
    assert config.budget == {"max_cost": 0.5}
    assert all(entry.params == {"max_tokens": 8000} for entry in config.models)


def test_enter_takes_what_is_proposed_and_an_existing_file_stays(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "a-secret-value")
    (bare / "jisi.toml").write_text("# mine\n")
    code, shown = at_a_terminal(bare, "", "other.toml", "")
    assert code == 0, shown
    assert (bare / "jisi.toml").read_text() == "# mine\n"
    config = load_config(bare / "other.toml")
    assert len(config.models) == 2 and not config.budget
    assert "jisi models --check --config other.toml" in shown
    assert at_a_terminal(bare, "", "")[0] == 2
