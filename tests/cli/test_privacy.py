"""Keys are nowhere but in the request; with --no-store questions and answers are nowhere but in what was asked for."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jisi_cli.models.ledger import Ledger, ledger_path
from jisi_cli.models.live import query_hash
from jisi_cli.paths import cache_folder, data_folder
from tests.cli.commands import Run, jisi, pool_file, write_lines
from tests.faults.forked import start_here
from tests.loopback import Fault, Loopback
from tests.models.asking import everything_written

KEY, PASSWORD, HEADER = "sk-planted-key-0123456789", "planted-password-0123", "planted-header-0123"
SECRETS = (KEY, PASSWORD, HEADER, base64.b64encode(f"me:{PASSWORD}".encode()).decode())
QUESTION, ANSWER = "Is the sequoia older than the oak?", "The walrus says 7."


@pytest.fixture
def pool(loopback: Loopback, tmp_path: Path) -> Path:
    """A model that fails every second time and then says all that it was sent, and one behind a password."""
    told = Fault("status", status=400, message=f"not with {{authorization}}, {HEADER}, http://me:{PASSWORD}@host/v1")
    loopback.script("ada", text=ANSWER, every=2, every_fault=told)
    loopback.script("bob", text=ANSWER)
    loopback.script("vec", text="")
    path = pool_file(tmp_path / "jisi.toml", loopback, ("ada", "bob"), key="OPENAI_API_KEY")
    headers = f'params = {{ max_tokens = 1000, extra_headers = {{ X-Secret = "{HEADER}" }} }}'
    text = path.read_text().replace("params = { max_tokens = 1000 }", headers, 1)
    guarded = loopback.api_base.replace("//", f"//me:{PASSWORD}@")
    embedder = f'[embedder]\nname = "litellm:openai/vec"\napi_base = "{loopback.api_base}"\nprice = {{ input = 1 }}\n'
    embedder += 'api_key_env = "OPENAI_API_KEY"\n'
    path.write_text(guarded.join(text.rsplit(loopback.api_base, 1)) + embedder)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    lines = [{"dataset": "d", "index": n, "query": f"{QUESTION} {n}", "gt": "7", "grader": "numeric"} for n in range(4)]
    return write_lines(tmp_path / "questions.jsonl", lines)


def command(*arguments: str | Path) -> Run:
    return start_here(*arguments, env={"OPENAI_API_KEY": KEY}).finish()


def parquet_texts(folder: Path) -> bytes:
    """Return all texts in the Parquet files of a folder, which are compressed there."""
    columns = [
        table.column(name).to_pylist()
        for table in map(pq.read_table, folder.rglob("*.parquet"))
        for name in table.column_names
        if str(table.schema.field(name).type) == "string"
    ]
    return "\n".join(str(value) for column in columns for value in column).encode()


def test_planted_secrets_are_in_no_file_and_in_no_output_of_any_command(
    pool: Path, source: Path, loopback: Loopback, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    bank, results, page = home / "bank", home / "results.jsonl", home / "page.html"
    shared = ("--config", pool, "--verbose")
    runs = [
        command("bank", "build", source, "--call", "-o", bank, "--save-answers", home / "answers.jsonl", *shared),
        command("ask", QUESTION, "--bank", bank, "--explain", *shared),
        command("eval", source, "--bank", bank, "--live", "--out", results, "--report", page, *shared[:2]),
        command("cost"),
    ]
    assert [run.exit_code for run in runs] == [0, 0, 0, 0], runs
    assert any("HTTP 400: not with" in run.stderr for run in runs)
    sent = [request.headers for request in loopback.requests]
    assert any(headers.get("authorization") == f"Bearer {KEY}" for headers in sent)
    assert any(headers.get("x-secret") == HEADER for headers in sent)
    written = everything_written(home) + parquet_texts(home)
    written += everything_written(cache_folder()) + everything_written(data_folder())
    assert ANSWER.encode() in written
    assert b"not with" in written
    for secret in SECRETS:
        assert secret.encode() not in written, secret
        assert not [run for run in runs if secret in run.stdout + run.stderr], secret


def test_no_store_keeps_questions_and_answers_out_of_cache_and_ledger(
    pool: Path, source: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    pool.write_text(pool.read_text().replace(f"me:{PASSWORD}@", "").partition("[embedder]")[0])
    bank, config = tmp_path / "bank", ("--config", pool)
    build = ("bank", "build", source, "--call", "--no-store", "--embedder", "hashing:64", *config)
    assert jisi(*build, "-o", bank).exit_code == 0
    run = jisi("ask", QUESTION, "--bank", bank, "--no-store", *config)
    assert run.stdout.strip() == ANSWER, run
    live = ("eval", source, "--bank", bank, "--live", "--method", "jisi-query,jisi", "--json", "--no-store")
    assert jisi(*live, *config).exit_code == 0
    assert jisi("route", QUESTION, "--bank", bank, "--probe", "--no-store", *config).exit_code == 0
    kept = everything_written(cache_folder()) + everything_written(data_folder())
    for words in (QUESTION, ANSWER, "sequoia", "walrus", "not with", query_hash(QUESTION)):
        assert words.encode() not in kept, words
    rows = list(Ledger(ledger_path(), warn=pytest.fail).rows())
    assert {row.command for row in rows} == {"bank build", "ask", "eval", "route"}
    # Nothing was kept, so every call was made anew, and every one is in the books.
    assert len(rows) == loopback.count()
    assert {row.query_hash for row in rows} == {None}
    assert "failed (words not stored)" in {row.error for row in rows}
