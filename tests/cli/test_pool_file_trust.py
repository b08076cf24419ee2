"""A pool file that merely lies in the current folder is announced, and reaches nobody before it is trusted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from jisi_cli import trust
from jisi_cli.config import config_in_force
from tests.cli.commands import ROOT, jisi, pool_file, recorded_answers, says_one_error, write_lines
from tests.loopback import Loopback

QUESTION = "What is 6 plus 9?"


def test_only_a_file_of_the_current_folder_is_not_the_user_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home):
        folder.mkdir()
        (folder / "jisi.toml").write_text('bank = "x"\n')
    monkeypatch.setenv("JISI_CONFIG_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    assert config_in_force().trusted
    monkeypatch.chdir(home)
    assert config_in_force().trusted
    monkeypatch.chdir(here)
    assert config_in_force(Path("jisi.toml")).trusted
    assert not config_in_force().trusted

    trust.trust("pool_files", config_in_force().identity, "here")
    assert config_in_force().trusted
    (here / "jisi.toml").write_text('bank = "y"\n')
    assert not config_in_force().trusted
    monkeypatch.setenv("JISI_CONFIG", "jisi.toml")
    assert config_in_force().trusted


def test_a_file_in_a_folder_above_is_found_as_git_finds_its_own_and_is_trusted_no_more_than_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "project" / "src" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "jisi.toml").write_text('bank = "farther"\n')
    (tmp_path / "project" / "jisi.toml").write_text('bank = "nearer"\n')
    monkeypatch.chdir(deep)
    config = config_in_force()
    assert (config.path, config.bank) == (tmp_path / "project" / "jisi.toml", tmp_path / "project" / "nearer")
    assert config.found_here and not config.trusted
    trust.trust("pool_files", config.identity, "project")
    assert config_in_force().trusted
    (deep / "jisi.toml").write_text('bank = "nearest"\n')
    assert config_in_force().path == Path("jisi.toml")
    assert not config_in_force().trusted


def test_what_others_left_in_a_folder_above_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "jisi.toml").write_text('bank = "theirs"\n')
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert config_in_force().path is None


def test_a_folder_on_another_file_system_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounted").mkdir()
    (tmp_path / "jisi.toml").write_text('bank = "outside"\n')
    monkeypatch.chdir(tmp_path / "mounted")
    look = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = look(path, **options)
        return found if path.name == "mounted" else os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))

    monkeypatch.setattr(Path, "stat", stat)
    assert config_in_force().path is None


def test_nothing_is_found_where_the_current_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert config_in_force().path is None


def test_a_planted_file_above_gets_neither_question_nor_key(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-planted-0123456789")
    loopback.script("ada", text="It is 15.")
    path = pool_file(tmp_path / "jisi.toml", loopback, ["ada"], key="GROQ_API_KEY")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    line = says_one_error(jisi("ask", QUESTION), 2, str(path), "GROQ_API_KEY", f"jisi trust {path}")
    assert "gsk-planted" not in line and loopback.count() == 0
    assert jisi("trust", path).exit_code == 0
    assert jisi("ask", QUESTION).exit_code == 0


def test_a_pool_file_that_is_not_the_user_s_own_is_named_on_stderr(
    small_bank: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pool_file(tmp_path / "jisi.toml", loopback)
    monkeypatch.chdir(tmp_path)
    run = jisi("route", QUESTION, "--bank", small_bank, "--quiet")
    assert run.exit_code == 0
    assert any("jisi.toml" in line and str(tmp_path) in line and "jisi trust" in line for line in run.warnings)
    assert jisi("route", QUESTION, "--bank", small_bank, "--config", path).warnings == []


@pytest.fixture
def planted(loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pool file in the current folder, which nobody named, with a key of the environment's and a server."""
    monkeypatch.setenv("GROQ_API_KEY", "gsk-planted-0123456789")
    folder = tmp_path / "cloned"
    folder.mkdir()
    monkeypatch.chdir(folder)
    loopback.script("ada", text="It is 15.")
    return pool_file(folder / "jisi.toml", loopback, ["ada"], key="GROQ_API_KEY")


def test_a_planted_pool_file_gets_neither_question_nor_key(planted: Path, small_bank: Path, loopback: Loopback) -> None:
    run = jisi("ask", "Review this.", "--bank", small_bank, stdin="a secret diff")
    line = says_one_error(run, 2, "jisi.toml", "sends questions to http://127.0.0.1", "GROQ_API_KEY", "jisi trust")
    assert "gsk-planted" not in line
    assert loopback.count() == 0


@pytest.mark.parametrize(
    "command",
    [
        ("ask", QUESTION),
        ("route", QUESTION, "--probe"),
        ("eval", "--live"),
        ("bank", "grade", "--grader", "judge", "--judge", "ada"),
    ],
    ids=lambda command: command[0],
)
def test_no_command_calls_where_a_planted_pool_file_leads(
    command: tuple[str, ...], planted: Path, small_bank: Path, loopback: Loopback
) -> None:
    where = (small_bank,) if command[0] == "eval" else ("--bank", small_bank)
    if command[0] == "bank":
        where = (small_bank,)
    says_one_error(jisi(*command, *where), 2, "jisi trust")
    assert loopback.count() == 0


def test_a_collection_calls_nobody_whom_a_planted_pool_file_names(planted: Path, loopback: Loopback) -> None:
    source = write_lines(Path("q.jsonl"), [{"dataset": "d", "index": 1, "query": QUESTION, "gt": "15"}])
    run = jisi("bank", "build", source, "--call", "-o", "bank", "--embedder", "hashing:64")
    says_one_error(run, 2, "jisi trust")
    assert loopback.count() == 0


def test_no_question_is_written_to_a_bucket_that_a_planted_pool_file_names(planted: Path) -> None:
    store = 'batch_store = "s3://theirs/questions"\nbatch_role = "arn:aws:iam::123456789012:role/theirs"\n'
    planted.write_text(f'[[models]]\nname = "ada"\nlitellm = "openai/ada"\n{store}')
    source = write_lines(Path("q.jsonl"), [{"dataset": "d", "index": 1, "query": QUESTION, "gt": "15"}])
    run = jisi("bank", "build", source, "--call", "--batch", "-o", "bank", "--embedder", "hashing:64")
    says_one_error(run, 2, "s3://theirs/questions", "arn:aws:iam::123456789012:role/theirs", "jisi trust")
    allowed = "`ada` writes the questions of --batch to s3://theirs/questions"
    assert allowed in jisi("trust").stderr


def test_no_text_goes_to_an_embedder_s_address_in_a_planted_pool_file(loopback: Loopback, planted: Path) -> None:
    loopback.script("vec", text="")
    planted.write_text(f'[embedder]\nname = "litellm:openai/vec"\napi_base = "{loopback.api_base}"\n')
    source = write_lines(Path("a.jsonl"), recorded_answers({"ada": 1}, questions=2))
    run = jisi("bank", "build", source, "-o", "bank", "--embedder", "litellm:openai/vec")
    says_one_error(run, 2, "jisi trust")
    assert loopback.count() == 0


def test_a_pool_file_that_is_allowed_works_until_it_changes(
    planted: Path, small_bank: Path, loopback: Loopback
) -> None:
    allowed = jisi("trust")
    assert allowed.exit_code == 0
    assert allowed.stdout == ""
    assert (
        f"`ada` sends questions to {loopback.api_base.removesuffix('/v1')}, sends the key GROQ_API_KEY"
        in allowed.stderr
    )
    run = jisi("ask", QUESTION, "--bank", small_bank)
    assert run.exit_code == 0
    assert run.stdout == "It is 15.\n"
    assert "pool file in force" not in run.stderr
    assert "the pool file in force is jisi.toml in " in jisi("ask", QUESTION, "--bank", small_bank, "-v").stderr
    assert loopback.requests[0].headers["authorization"] == "Bearer gsk-planted-0123456789"

    planted.write_text(planted.read_text() + "# changed\n")
    says_one_error(jisi("ask", "Another question?", "--bank", small_bank), 2, "jisi trust")
    assert "has changed" in jisi("trust", "--list").stdout

    assert jisi("trust", planted).exit_code == 0
    assert jisi("trust", "--list").stdout.count(str(planted)) == 1
    assert "as it was" in jisi("trust", "--list").stdout
    assert jisi("trust", planted.parent, "--forget").exit_code == 0
    assert jisi("trust", "--list").stdout == ""
    says_one_error(jisi("ask", "Another question?", "--bank", small_bank), 2, "jisi trust")
    says_one_error(jisi("trust", "--forget"), 2, "was not allowed")


def test_a_pool_file_that_the_user_names_needs_no_leave(planted: Path, small_bank: Path) -> None:
    assert jisi("ask", QUESTION, "--bank", small_bank, "--config", "jisi.toml").exit_code == 0


def test_a_planted_pool_file_that_leads_nowhere_else_is_used(small_bank: Path, planted: Path) -> None:
    planted.write_text('[[models]]\nname = "ada"\nlitellm = "openrouter/ada"\nparams = { temperature = 0.2 }\n')
    line = says_one_error(jisi("ask", QUESTION, "--bank", small_bank), 4, "OPENROUTER_API_KEY")
    assert "jisi trust" not in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('litellm = "openai/a"\napi_key_env = "AWS_SECRET_ACCESS_KEY"', "AWS_SECRET_ACCESS_KEY"),
        (
            'litellm = "openai/a"\nparams = { extra_headers = { Authorization = "Bearer theirs" } }',
            "params.extra_headers",
        ),
        ('litellm = "openai/a"\nparams = { extra_body = { data_sources = ["x"] } }', "params.extra_body"),
        ('litellm = "openai/a"\nparams = { tools = [{ type = "mcp" }] }', "params.tools"),
        ('litellm = "openai/a"\nparams = { stop = ["http://h.example"] }', "params.stop"),
        ('litellm = "local:./theirs.gguf"', "./theirs.gguf"),
        ('litellm = "bedrock/arn:aws:bedrock:us-east-1:1:x/y"', "arn:aws"),
    ],
)
def test_what_leads_beyond_the_provider_needs_leave(text: str, words: str, small_bank: Path, planted: Path) -> None:
    planted.write_text(f'[[models]]\nname = "ada"\n{text}\n')
    says_one_error(jisi("ask", QUESTION, "--bank", small_bank), 2, words, "jisi trust")


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_a_person_at_a_terminal_is_asked(
    answer: str, code: int, planted: Path, small_bank: Path, loopback: Loopback
) -> None:
    command = [sys.executable, "-m", "jisi_cli", "ask", QUESTION, "--bank", str(small_bank)]
    master, slave = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=slave, stderr=slave, stdout=subprocess.PIPE, cwd=planted.parent, env=env)
    os.close(slave)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(master, 65536)
    assert b"GROQ_API_KEY" in shown
    os.write(master, answer.encode() + b"\n")
    with suppress(OSError):
        while chunk := os.read(master, 65536):
            shown += chunk
    assert process.wait(timeout=120) == code, shown
    assert loopback.count() == (1 if code == 0 else 0)
