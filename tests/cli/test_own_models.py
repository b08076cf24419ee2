"""Models of one's own: each key to its own server, headers, and what a pool file says a model can do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import jisi, says_one_error, write_lines
from tests.loopback import Loopback

QUESTION = {"query": "What is 2 + 2?", "gt": "4", "grader": "numeric"}
HASHING = ("--embedder", "hashing:32")
SECRETS = {
    "LAB_A_KEY": "sk-lab-a-0123456789",
    "LAB_B_KEY": "sk-lab-b-0123456789",
    "OPENAI_API_KEY": "sk-openai-01234567",
}


@pytest.fixture
def second() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def entry(name: str, server: Loopback, *lines: str) -> str:
    base = f'[[models]]\nname = "{name}"\nlitellm = "openai/{name}"\napi_base = "{server.api_base}"\n'
    return base + "".join(f"{line}\n" for line in lines)


def asked(tmp_path: Path, *entries: str) -> Path:
    """Ask the models of a pool file one question; return the file."""
    pool, source = tmp_path / "jisi.toml", write_lines(tmp_path / "q.jsonl", [QUESTION])
    pool.write_text("[budget]\nmax_retries = 0\n" + "\n".join(entries), encoding="utf-8")
    run = jisi("bank", "build", source, "--call", "--config", pool, *HASHING, "-o", tmp_path / "bank")
    assert run.exit_code == 0, run
    for secret in SECRETS.values():
        assert secret not in run.stdout + run.stderr
    return pool


def keys_at(server: Loopback) -> dict[str, str]:
    return {request.model: request.headers.get("authorization", "") for request in server.requests}


def test_two_servers_get_their_own_keys_and_a_third_gets_none(
    loopback: Loopback, second: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for server, models in ((loopback, ("ada", "cyd", "dee")), (second, ("bob",))):
        for model in models:
            server.script(model, text="Answer: 4")
    asked(
        tmp_path,
        entry("ada", loopback, 'api_key_env = "LAB_A_KEY"'),
        entry("bob", second, 'api_key_env = "LAB_B_KEY"'),
        # OpenAI's own key goes to another host only where the entry says so.
        entry("cyd", loopback),
        entry("dee", loopback, 'api_key_env = "OPENAI_API_KEY"'),
    )
    assert keys_at(loopback) == {
        "ada": f"Bearer {SECRETS['LAB_A_KEY']}",
        "cyd": "Bearer none",
        "dee": f"Bearer {SECRETS['OPENAI_API_KEY']}",
    }
    assert keys_at(second) == {"bob": f"Bearer {SECRETS['LAB_B_KEY']}"}


def test_headers_of_an_entry_go_with_its_calls_alone(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("ada", text="Answer: 4")
    loopback.script("bob", text="Answer: 4")
    asked(tmp_path, entry("ada", loopback, 'headers = { "X-Team" = "blue" }'), entry("bob", loopback))
    teams = {request.model: request.headers.get("x-team") for request in loopback.requests}
    assert teams == {"ada": "blue", "bob": None}


def test_what_a_model_can_do_is_as_the_pool_file_says(loopback: Loopback, tmp_path: Path) -> None:
    pool = tmp_path / "jisi.toml"
    pool.write_text(entry("ada", loopback, "tools = true", "vision = false") + entry("bob", loopback), encoding="utf-8")
    run = jisi("models", "--config", pool, "--json")
    assert run.exit_code == 0
    found = {row["name"]: (row["can_call_tools"], row["can_see"]) for row in run.json["models"]}
    assert found == {"ada": (True, False), "bob": (None, None)}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('tools = "yes"', "must be true or false"),
        ('headers = "X-Team: blue"', "must be a table of text"),
        ('headers = { "Host" = "elsewhere" }', "cannot set `Host`"),
        ('headers = { A = "b" }\nparams = { extra_headers = { A = "c" } }', "are the same thing"),
        ('api_key_env = "sk-0123456789abcdef"', "never the key itself"),
    ],
)
def test_what_cannot_be_meant_is_told_with_the_entry(loopback: Loopback, tmp_path: Path, line: str, words: str) -> None:
    pool = tmp_path / "jisi.toml"
    pool.write_text(entry("ada", loopback, line), encoding="utf-8")
    says_one_error(jisi("models", "--config", pool), 2, "[[models]] number 1", words, secrets=["sk-0123456789abcdef"])


def test_headers_of_a_pool_file_that_came_with_the_folder_need_permission(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JISI_CONFIG", raising=False)
    source = write_lines(tmp_path / "q.jsonl", [QUESTION])
    pool = '[[models]]\nname = "ada"\nlitellm = "openai/ada"\nheaders = { "X-Team" = "blue" }\n'
    (tmp_path / "jisi.toml").write_text(pool, encoding="utf-8")
    monkeypatch.setenv("OPENAI_API_KEY", SECRETS["OPENAI_API_KEY"])
    run = jisi("bank", "build", source, "--call", *HASHING, "-o", "bank")
    says_one_error(run, 2, "extra_headers", "jisi trust")


def test_a_map_names_the_columns_of_what_is_asked(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("ada", text="Answer: 4")
    pool = tmp_path / "jisi.toml"
    pool.write_text(entry("ada", loopback), encoding="utf-8")
    rows = [
        {"id": "x", "problem": "What is 2 + 2?", "solution": "4"},
        {"id": "y", "problem": "1 + 3?", "solution": "4"},
    ]
    source = write_lines(tmp_path / "any.jsonl", rows)
    call = ("--call", "--config", pool, *HASHING, "--grader", "numeric", "-o", tmp_path / "bank")
    build = ("bank", "build", source, *call)
    says_one_error(jisi(*build), 2, "no question")
    assert jisi(*build, "--map", "query=problem,gt=solution", "--map", "index=id").exit_code == 0
    assert loopback.count() == 2
    asked = (
        "--bank",
        tmp_path / "bank",
        "--config",
        pool,
        "-m",
        "model:ada",
        "--live",
        "--grader",
        "numeric",
        "--json",
    )
    run = jisi("eval", source, *asked, "--map", "query=problem,gt=solution,index=id")
    assert run.exit_code == 0 and run.json["methods"][0]["scored"] == 2
    assert loopback.count() == 2
